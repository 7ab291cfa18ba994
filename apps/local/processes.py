"""Child processes that cannot outlive this one, with their output kept in a bounded log file."""

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from blueengine.kit import parent_death
from blueengine.kit.backoff import delays

LOG_BYTES: Final = 5_000_000
"""A log file larger than this becomes ``<name>.log.1``, of which there is one."""
TAIL_LINES: Final = 20
KEEP_FIRST_SECONDS: Final = 0.2
KEEP_LONGEST_SECONDS: Final = 10.0


@dataclass(frozen=True, kw_only=True)
class Program:
    """What to run."""

    name: str
    """Unique among those that run; its log is ``<name>.log``."""
    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to this process' own."""


class LogFile:
    """The output of one program: a file of bounded size, and the last lines in memory."""

    def __init__(self, path: Path, *, limit: int = LOG_BYTES) -> None:
        """Append to ``path``."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._limit = limit
        self._file = path.open("ab", buffering=0)
        self._size = self._file.tell()
        self._rest = b""

    def write(self, data: bytes) -> None:
        """Add output as it came."""
        if self._size + len(data) > self._limit:
            self._file.close()
            self.path.rename(self.path.with_name(self.path.name + ".1"))
            self._file = self.path.open("ab", buffering=0)
            self._size = 0
        self._file.write(data)
        self._size += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-4096:]
        self.tail.extend(text for line in lines if (text := line.decode(errors="replace").rstrip()))

    def close(self) -> None:
        """Close the file; a last line without its end counts too."""
        if rest := self._rest.decode(errors="replace").strip():
            self.tail.append(rest)
        self._rest = b""
        self._file.close()


class Child:
    """One running program."""

    def __init__(self, program: Program, process: asyncio.subprocess.Process, log: LogFile) -> None:
        """Wrap what ``start`` has made."""
        self.program = program
        self.pid = process.pid
        self._process = process
        self._log = log
        self._pump = asyncio.create_task(self._drain_output(), name=f"output-{program.name}")

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.returncode

    @property
    def tail(self) -> list[str]:
        """The last lines it wrote."""
        return list(self._log.tail)

    @property
    def last_line(self) -> str:
        """The last line it wrote, or where to look when it wrote none."""
        return self._log.tail[-1] if self._log.tail else f"(no output; see {self._log.path})"

    def send(self, number: signal.Signals) -> None:
        """Send a signal; a process that is gone takes none."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def wait(self) -> int:
        """Wait for its end and all it wrote; the exit code."""
        code = await self._process.wait()
        await asyncio.wait([self._pump], timeout=1.0)  # a grandchild may hold the pipe open
        if not self._pump.done():
            self._pump.cancel()
        return code

    async def stop(self, *, grace: float) -> int:
        """Ask it to end, and after ``grace`` seconds make it; the exit code."""
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace):
                return await self.wait()
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> int:
        """End it and everything in its process group; the exit code."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return await self.wait()

    async def _drain_output(self) -> None:
        assert self._process.stdout is not None
        try:
            while data := await self._process.stdout.read(65536):
                self._log.write(data)
        finally:
            self._log.close()


async def start(program: Program, *, logs: Path) -> Child:
    """Start a program in a process group of its own, so that Ctrl-C reaches this process only."""
    log = LogFile(logs / f"{program.name}.log")
    try:
        process = await asyncio.create_subprocess_exec(
            *program.argv,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **program.environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=parent_death.before_exec(os.getpid()),
        )
    except BaseException:
        log.close()
        raise
    return Child(program, process, log)


class Kept:
    """A service that is started again when it ends by itself, later each time."""

    def __init__(
        self,
        program: Program,
        *,
        logs: Path,
        notice: Callable[[str], None],
        healthy_after: float = 10.0,
    ) -> None:
        """Keep ``program`` running.

        Args:
            program: What to run.
            logs: Folder of its log.
            notice: Is told of each unasked end, in one line.
            healthy_after: An end after so many seconds begins the delays anew.
        """
        self.program = program
        self.child: Child | None = None
        self._logs = logs
        self._notice = notice
        self._healthy_after = healthy_after
        self._keeper: asyncio.Task[None] | None = None

    async def start(self, child: Child | None = None) -> Child:
        """Start it, unless ``child`` is it already; from now on it is kept."""
        child = self.child = child or await start(self.program, logs=self._logs)
        self._keeper = asyncio.create_task(self._keep(child), name=f"keep-{self.program.name}")
        return child

    async def stop(self, *, grace: float) -> None:
        """Stop it and start it no more."""
        if self._keeper:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        if self.child:
            await self.child.stop(grace=grace)

    async def _keep(self, child: Child) -> None:
        clock = asyncio.get_running_loop().time
        waits = delays(KEEP_FIRST_SECONDS, KEEP_LONGEST_SECONDS)
        while True:
            started = clock()
            code = await child.wait()
            if clock() - started >= self._healthy_after:
                waits = delays(KEEP_FIRST_SECONDS, KEEP_LONGEST_SECONDS)
            delay = next(waits)
            self._notice(
                f"{self.program.name} {describe_exit(code)}: {child.last_line} "
                f"(starting it again in {delay:.1f} s)"
            )
            await asyncio.sleep(delay)
            child = self.child = await start(self.program, logs=self._logs)


def describe_exit(code: int) -> str:
    """Return an exit code in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


async def all_of(work: Sequence[Awaitable[object]]) -> None:
    """Wait for all; an error of one does not keep the others from being waited for."""
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
