"""Running an engine so that it restarts when its files change. For development."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from types import FrameType
from typing import Final

from blueengine.errors import DeclarationError
from blueengine.kit import parent_death

GRACE_SECONDS: Final = 3.0
"""How long sessions that run may go on when a file has changed."""
_SUFFIXES: Final = (".py", ".yml", ".yaml", ".toml", ".json")

Say = Callable[[str], None]


def run_reloading(file: Path, *, say: Say) -> int:
    """Run the engine in ``file`` until a signal, again after each change below its folder.

    An engine that ends by itself, because of a mistake perhaps, waits for the next change.
    """
    from watchfiles import watch

    if not file.is_file():
        raise DeclarationError(f"{file} is no file; name an engine's .py file")
    folder = file.resolve().parent
    stop = threading.Event()
    process = _start(file)
    with _on_signals(stop):
        changes = watch(
            folder,
            watch_filter=lambda _, path: path.endswith(_SUFFIXES) and "__pycache__" not in path,
            stop_event=stop,
            raise_interrupt=False,
        )
        for changed in changes:
            names = sorted({os.path.relpath(path, folder) for _, path in changed})
            say(f"reload: {', '.join(names)} changed")
            _end(process, GRACE_SECONDS)
            process = _start(file)
    return _end(process, None)


def _start(file: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "blueengine.cli.main", "engine", "run", str(file)],
        start_new_session=True,  # Ctrl-C comes here alone, and is passed on once
        preexec_fn=parent_death.before_exec(os.getpid()),  # noqa: PLW1509 - it calls no Python of others
    )


def _end(process: "subprocess.Popen[bytes]", grace: float | None) -> int:
    """Drain an engine; when that takes longer than ``grace``, end it at once. Its exit code."""
    for _ in ("drain", "at once"):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(grace)
    process.kill()
    return process.wait()


@contextlib.contextmanager
def _on_signals(stop: threading.Event) -> Generator[None]:
    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {n: signal.signal(n, on_signal) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
