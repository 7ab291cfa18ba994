"""Servers that tests start do not outlive the tests, even those killed by ``kill -9``.

A small process watches for us: it is told of every server, and hears through a pipe that this process
is gone, however that came about. (The kernel's signal at a parent's death is no use here: it comes
at the death of the *thread* that started a child, and tests start and restart servers in threads.)
"""

import atexit
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class _Guardian:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._owner = 0

    def tell(self, order: dict[str, Any]) -> None:
        with self._lock:
            process = self._process
            if process is None or self._owner != os.getpid():
                process = self._begin()
            assert process.stdin
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()

    def _begin(self) -> "subprocess.Popen[str]":
        self._owner = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.kit.guardian"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            cwd=Path(__file__).parents[2],
            start_new_session=True,  # a signal to our group is not for it
        )
        return self._process

    def dismiss(self) -> None:
        """Have it end what is left, now."""
        if self._process is not None and self._owner == os.getpid():
            self.tell({"over": True})  # not only closed: there may be a copy of the pipe's end
            assert self._process.stdin
            self._process.stdin.close()
            self._process.wait()


_guardian = _Guardian()
atexit.register(_guardian.dismiss)


def guard(pid: int, folder: Path | None = None, *, kill: Sequence[str] = ()) -> None:
    """Have a process end with this one, and its folder go.

    Args:
        pid: The process.
        folder: What it keeps its data in.
        kill: A command that ends what a signal to ``pid`` does not.
    """
    _guardian.tell(
        {"pid": pid, "born": _born(pid), "folder": str(folder or ""), "kill": list(kill)}
    )


def begin() -> None:
    """Have it watch from now on, so that no test seems to have started it."""
    release(0)


def release(pid: int) -> None:
    """Say that a process has ended."""
    _guardian.tell({"gone": pid})


def _born(pid: int) -> str:
    """Return what tells a process from a later one of the same number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def watch() -> None:
    """Read orders until it is over, or the pipe closes; then end what is left."""
    guarded: dict[int, dict[str, Any]] = {}
    folders: set[str] = set()
    for line in sys.stdin:
        order = json.loads(line)
        if "over" in order:
            break
        if "gone" in order:
            guarded.pop(order["gone"], None)
        else:
            guarded[order["pid"]] = order
            folders.add(order["folder"])
    for pid, order in guarded.items():
        if order["kill"]:
            subprocess.run(order["kill"], capture_output=True, check=False)
        if order["born"] and _born(pid) == order["born"]:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
    for folder in folders - {""}:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    watch()
