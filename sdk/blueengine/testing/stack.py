"""The real platform for a test: ``blueengine up`` as a process, on a free port, gone at the end."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blueengine.errors import BlueEngineError

UP_SECONDS: Final = 60.0
END_SECONDS: Final = 30.0


class PlatformNotStartedError(BlueEngineError):
    """``blueengine up`` did not come up; the message ends with what it printed."""

    code = "not-started"


@dataclass(frozen=True)
class Platform:
    """A running platform.

    Attributes:
        url: Where its REST API is; ``Client(platform.url)`` speaks to it.
    """

    url: str


@contextlib.contextmanager
def start_platform(*engines: str | Path, options: tuple[str, ...] = ()) -> Generator[Platform]:
    """Run the platform on its embedded default inside ``with``; needs ``blueengine[platform]``.

    Args:
        engines: Folders of engines that it may start when a session needs them.
        options: More words for ``blueengine up``.

    Raises:
        PlatformNotStartedError: It did not come up.
    """
    port = _free_port()
    words = [word for folder in engines for word in ("--engines", str(folder))]
    with tempfile.TemporaryDirectory(prefix="blueengine-", ignore_cleanup_errors=True) as data:
        log = Path(data, "up.log")
        with log.open("wb") as out:
            process = subprocess.Popen(  # noqa: S603 - our own command
                [
                    *(sys.executable, "-m", "blueengine.cli.main", "up"),
                    *("--port", str(port), "--data", str(Path(data, "data"))),
                    *words,
                    *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=dict(os.environ),
            )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_ready(process, url, log)
            yield Platform(url)
        finally:
            _end(process)


def _wait_ready(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    import httpx

    deadline = time.monotonic() + UP_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        time.sleep(0.05)
    told = log.read_text(errors="replace").strip()
    raise PlatformNotStartedError(f"blueengine up did not come up:\n{told}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
