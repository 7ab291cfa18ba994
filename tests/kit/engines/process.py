"""Run an engine of this folder as a real process, and take it down without a trace."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from tests.conftest import descendants
from tests.kit import guardian

HERE: Final = Path(__file__).parent
_numbers: Final = itertools.count(1)


class Gate:
    """A file that engines wait for (the engine ``gate`` before every message)."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "open"

    def open(self) -> None:
        self.path.touch()

    def close(self) -> None:
        self.path.unlink(missing_ok=True)


def alive(*pids: int) -> bool:
    """Say whether any of these processes is there."""
    return any(Path("/proc", str(pid)).exists() for pid in pids)


@dataclass
class EngineProcess:
    """One instance: ``python engine.py`` with an engine.yml of its own below ``folder``."""

    kind: str
    """Which folder beside this file."""
    folder: Path
    """For its settings, logs, temp folders."""
    redis_url: str
    id: str = ""
    """Of the engine; the folder's name when left out."""
    blob_dir: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Changes of ``ENGINE`` in engine.yml."""
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.id = self.id or self.kind
        self.instance = f"{self.id}-{next(_numbers)}"
        self.home = self.folder / self.instance
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log_file(self) -> Path:
        """Return where ``note`` of the engine ``deeds`` writes."""
        return self.home / "deeds.log"

    @property
    def temp(self) -> Path:
        """Return its TMPDIR: empty again after an orderly end."""
        return self.home / "tmp"

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    @property
    def gone(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self.process.poll() if self.process else None

    def start(self) -> "EngineProcess":
        self.temp.mkdir(parents=True)
        config = yaml.safe_load((HERE / self.kind / "configs" / "engine.yml").read_text())
        config["ENGINE"] |= {"ID": self.id, **self.settings}
        (self.home / "engine.yml").write_text(yaml.safe_dump(config))
        given = {
            "REDIS_URL": self.redis_url,
            "BLOB_DIR": str(self.blob_dir or ""),
            "ENGINE_YML": str(self.home / "engine.yml"),
            "BLUEENGINE_INSTANCE_ID": self.instance,
            "HEARTBEAT_SECONDS": "0.2",
            "HEARTBEAT_TIMEOUT": "2",
            "TMPDIR": str(self.temp),
            "DEEDS_LOG": str(self.log_file),
            **self.environment,
        }
        with (self.home / "stderr").open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / self.kind / "engine.py")],
                stdin=subprocess.DEVNULL,
                stdout=err,
                stderr=err,
                env={**os.environ, **given},
                start_new_session=True,
            )
        guardian.guard(self.pid)
        return self

    def workers(self) -> list[int]:
        """Return the pids of its worker processes."""
        return [pid for pid, parent in descendants().items() if parent == self.pid]

    def signal(self, number: signal.Signals) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Let the parent process do nothing for a while."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        if self.process:
            self.process.wait(10)
            guardian.release(self.pid)

    def wait(self, seconds: float = 10) -> int:
        """Return the exit code."""
        assert self.process
        return self.process.wait(seconds)

    def end(self) -> int:
        """End it in order; the exit code."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            code = self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        guardian.release(self.pid)
        return code

    def output(self) -> str:
        """Return what it wrote to standard output and error."""
        return (self.home / "stderr").read_text(errors="replace")

    def notes(self) -> list[str]:
        """Return what ``deeds`` noted."""
        return self.log_file.read_text().splitlines() if self.log_file.exists() else []
