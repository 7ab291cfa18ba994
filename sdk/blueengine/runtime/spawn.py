"""Starting a worker process. Apart from what feeds it, so that it can start before that is loaded."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from blueengine.runtime.declare import UNHEARD, WORKER_VARIABLE, BlueEngine


@dataclass(frozen=True, slots=True)
class Spawned:
    """A worker process that was started, and the parent's end of its socket."""

    process: subprocess.Popen[bytes]
    """Its standard error is a pipe."""
    sock: socket.socket

    def discard(self) -> None:
        """End it if it is still there, whoever has it."""
        self.process.kill()
        self.process.wait()
        self.sock.close()
        if self.process.stderr:
            self.process.stderr.close()


def spawn(target: str, step: str, flags_fd: int) -> Spawned:
    """Start a worker of ``step`` for the engine at ``target`` (a .py file or a module).

    It ends with the thread that calls this.

    Raises:
        OSError: The system has no room for it.
    """
    ours, theirs = socket.socketpair()
    try:
        fds = (theirs.fileno(), flags_fd)
        # what the whole process group is sent is the parent's to act on, also while the worker has
        # not come so far as to say that it takes no notice
        before = signal.pthread_sigmask(signal.SIG_BLOCK, UNHEARD)
        try:
            process = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-m", "blueengine.runtime", target],
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                bufsize=0,
                env={**os.environ, WORKER_VARIABLE: f"{os.getpid()},{fds[0]},{fds[1]},{step}"},
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return Spawned(process, ours)


@contextmanager
def spawned(engine: BlueEngine, target: str, flags_fd: int) -> Generator[dict[str, list[Spawned]]]:
    """Start the workers that an engine begins with, by the names of its steps.

    Whoever takes one out feeds it; all that are there at the end of the context are killed.
    """
    every: list[Spawned] = []
    begun: dict[str, list[Spawned]] = {}
    try:
        with suppress(OSError):  # tried again, and told of, when one is missing
            for step in engine.steps:
                begun[step.name] = []
                if step.run_in == "process":
                    for _ in range(engine.settings.default_worker_count):
                        every.append(spawn(target, step.name, flags_fd))
                        begun[step.name].append(every[-1])
        yield begun
    finally:
        for worker in every:
            worker.discard()
