"""Worker processes of one step: started, fed, watched and ended by the parent.

Caller of everything here: the parent's event loop.
"""

import asyncio
import contextlib
import logging
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from blueengine.kit.child_exit import exit_code
from blueengine.kit.framing import Splitter
from blueengine.kit.turn import Turn
from blueengine.runtime import frames
from blueengine.runtime.last_words import LastWords
from blueengine.runtime.spawn import Spawned, spawn

if TYPE_CHECKING:
    from blueengine.runtime.part import Part, StepRun

log = logging.getLogger(__name__)

PREFETCH_CALLS = 64
PREFETCH_BYTES = 1 << 20
"""Calls and bytes sent to a worker ahead of its answers: enough to keep it busy."""
POST_SECONDS = 0.02
"""How long a frame that nobody waits for may wait for another to share a write with."""
LAST_WORDS_SECONDS = 1.0
"""How long what an ended worker has written may take to be read; a child of it may hold the line."""


@dataclass(slots=True, eq=False)
class _Owed:
    """A frame that was sent and is not answered."""

    no: int
    size: int
    count: int
    """Answers that are missing."""


class WorkerProcess(asyncio.Protocol):
    """One worker process and the parent's end of its socket."""

    def __init__(
        self,
        step: str,
        index: int,
        on_frame: Callable[["WorkerProcess", frames.FromWorker], None],
        on_lost: Callable[["WorkerProcess", str], None],
        turn: Turn,
        *,
        spawned: Spawned | None = None,
    ) -> None:
        """Hand its frames to ``on_frame``; tell ``on_lost`` when it ends without being told to.

        ``step`` is the name and ``index`` the place of its step. What one read leads to is written
        at the end of the ``turn``. The process may have been ``spawned`` already.
        """
        self._turn = turn
        self.step = step
        self.index = index
        self.sessions: set[int] = set()
        self.idle_since = 0.0
        """By the loop's clock: when its last session left."""
        self.on_idle: Callable[[], None] = _nothing
        """Called when its last session leaves."""
        self.hungry: deque[tuple[Part, StepRun]] = deque()
        """Those who have calls for it but found no room, longest first."""
        self._owed: deque[_Owed] = deque()
        """What was sent and is not answered, oldest first."""
        self._answers: dict[int, int] = {}
        """Session -> answers that are missing, if any are."""
        self._held: set[int] = set()
        """Sessions whose calls it has put aside."""
        self._ahead = self._ahead_bytes = 0
        """Calls and bytes among what is owed, those put aside left out."""
        self.inited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.process: subprocess.Popen[bytes] | None = None
        self._spawned = spawned
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._splitter = Splitter()
        self._transport: asyncio.Transport | None = None
        self._out: list[frames.ToWorker] = []
        self._flushing = self._posted = False
        """Whether a write is due: at the end of this turn of the loop, after a while."""
        self._told_to_quit = False
        self._why = ""
        self._gone = False
        self._closed = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None
        self._words = LastWords()
        self.last_words = ""
        """The last lines it wrote to standard error, once it has ended."""
        self._loop = asyncio.get_running_loop()

    async def start(self, target: str, flags_fd: int) -> None:
        """Take over the process, or start it for the engine at ``target`` (a .py file or a module)."""
        try:
            spawned = self._spawned or spawn(target, self.step, flags_fd)
        except OSError as exc:
            self._lose(f"could not be started: {exc}")
            return
        self.process = spawned.process
        self._watch = self._loop.create_task(self._wait(), name=f"worker-{self.process.pid}")
        await self._loop.connect_read_pipe(lambda: self._words, self.process.stderr)
        await self._loop.create_connection(lambda: self, sock=spawned.sock)

    @property
    def has_room(self) -> bool:
        """Whether another call may be sent ahead."""
        return self._ahead < PREFETCH_CALLS and self._ahead_bytes < PREFETCH_BYTES

    @property
    def at_work_on(self) -> int | None:
        """The session whose code it runs, as far as one can tell from here; None when idle."""
        return next((owed.no for owed in self._owed if owed.no not in self._held), None)

    @property
    def is_idle(self) -> bool:
        """Whether it has no session and owes no answer."""
        return not self.sessions and not self._owed

    def part_from(self, no: int) -> None:
        """Note that it has nothing to do with a session any more."""
        self.sessions.discard(no)
        if not self.sessions:
            self.idle_since = self._loop.time()
            self.on_idle()

    def owes(self, no: int) -> bool:
        """Whether something sent for this session is not answered."""
        return no in self._answers

    def ask(self, no: int, frame: frames.ToWorker, size: int = 0, count: int = 1) -> None:
        """Send a frame that asks for ``count`` answers of the same session."""
        if self._gone:
            return
        self._owed.append(_Owed(no, size, count))
        self._answers[no] = self._answers.get(no, 0) + count
        if no not in self._held:
            self._ahead += count
            self._ahead_bytes += size
        self.send(frame)

    def answered(self, no: int, count: int = 1) -> None:
        """Note that the oldest frames of this session were answered, ``count`` times in all."""
        missing = self._answers.pop(no) - count
        if missing:
            self._answers[no] = missing
        while count:
            owed = self._owed[0]
            if owed.no != no:  # a session before it is held
                owed = next(owed for owed in self._owed if owed.no == no)
            answers = min(count, owed.count)
            count -= answers
            owed.count -= answers
            ahead = no not in self._held
            if ahead:
                self._ahead -= answers
            if not owed.count:
                self._owed.remove(owed)
                if ahead:
                    self._ahead_bytes -= owed.size

    def hold(self, no: int) -> None:
        """Note that the session's calls are put aside: their room is for others."""
        if no not in self._held:
            self._held.add(no)
            self._go_ahead(no, -1)

    def let_go(self, no: int) -> None:
        """Have it go on with a session that was held."""
        if no in self._held:
            self._held.discard(no)
            self._go_ahead(no, 1)
            self.send(frames.Resume(no))

    def _go_ahead(self, no: int, sign: int) -> None:
        """Count what is owed to a session among what was sent ahead, or no more."""
        for owed in self._owed:
            if owed.no == no:
                self._ahead += sign * owed.count
                self._ahead_bytes += sign * owed.size

    def send(self, frame: frames.ToWorker) -> None:
        """Queue a frame; those of one turn of the loop share a write. None reaches a dead worker."""
        if self._gone:
            return
        if not self._flushing:
            self._flushing = True
            self._turn.soon(self._flush)
        self._out.append(frame)

    def post(self, frame: frames.ToWorker) -> None:
        """Queue a frame that nobody waits for: it goes with the next one, or after a while."""
        if not self._gone:
            self._out.append(frame)
            if not self._posted:
                self._posted = True
                self._loop.call_later(POST_SECONDS, self._flush_posted)

    async def quit(self, grace: float) -> None:
        """Let it end in order, or kill it after ``grace`` seconds."""
        self._told_to_quit = True
        self.send(frames.Quit())
        self._flush()
        await self._end(grace)

    async def kill(self, why: str, grace: float = 1.0) -> None:
        """End a worker that does not listen: SIGTERM, then SIGKILL after ``grace`` seconds."""
        if self.process and self.process.returncode is None:
            self._why = why
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGTERM)
            await self._end(grace)

    async def _end(self, grace: float) -> None:
        if self.process is None or self._watch is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await asyncio.shield(self._watch)
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
        await self._watch
        if self._transport:
            self._transport.close()

    async def _wait(self) -> None:
        if self.process is None:
            return
        code = await exit_code(self.process)
        with contextlib.suppress(TimeoutError):  # its last frames come first
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await self._closed.wait()
        self.last_words = await self._words.heard(LAST_WORDS_SECONDS)
        if not self._told_to_quit:
            self._lose(self._why or _how(code))

    def _lose(self, how: str) -> None:
        self._gone = True
        self._owed.clear()
        self._answers.clear()
        self._held.clear()
        self._ahead = self._ahead_bytes = 0
        self._on_lost(self, how)

    def _flush_posted(self) -> None:
        self._posted = False
        self._flush()

    def _flush(self) -> None:
        if self._transport is None:
            return  # not connected: sent when it is
        self._flushing = False
        if self._out and not self._transport.is_closing():
            self._transport.write(frames.pack(self._out))
        self._out.clear()

    # -- asyncio.Protocol -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket and send what waited for it."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class is none by name
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Hand on every frame that is whole."""
        with self._turn:
            for body in self._splitter.feed(data):
                for frame in frames.from_worker(body):
                    self._on_frame(self, frame)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that nothing more will come."""
        self._closed.set()


def _how(code: int) -> str:
    if code >= 0:
        return f"exited with code {code}"
    name = signal.Signals(-code).name if -code in signal.valid_signals() else str(-code)
    hint = " (out of memory?)" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"


def _nothing() -> None:
    pass


class Pool:
    """The worker processes of one step: more of them with sessions, fewer when they idle."""

    def __init__(
        self,
        start: Callable[[], WorkerProcess],
        retire: Callable[[WorkerProcess], None],
        *,
        least: int,
        most: int,
        idle_seconds: float,
    ) -> None:
        """Keep ``least`` to ``most`` workers.

        ``start`` makes one and begins to start it; ``retire`` is given one that had no session for
        ``idle_seconds`` and is not in the pool any more.
        """
        self._start = start
        self._retire = retire
        self._least = least
        self._most = most
        self._idle_seconds = idle_seconds
        self._will_look = False
        self.workers: list[WorkerProcess] = []

    def fill(self) -> Sequence[WorkerProcess]:
        """Start what is missing to the least number; return the workers."""
        while len(self.workers) < self._least:
            self._add()
        return self.workers

    def assign(self, no: int) -> WorkerProcess:
        """Return the worker for a session: an idle one, a new one, or the least busy one."""
        worker = min(self.workers, key=lambda w: len(w.sessions), default=None)
        if worker is None or (worker.sessions and len(self.workers) < self._most):
            worker = self._add()
        worker.sessions.add(no)
        return worker

    def _add(self) -> WorkerProcess:
        worker = self._start()
        worker.on_idle = self._on_idle
        self.workers.append(worker)
        return worker

    def _on_idle(self) -> None:
        if len(self.workers) > self._least and not self._will_look:
            self._look_in(self._idle_seconds)

    def _look_in(self, seconds: float) -> None:
        self._will_look = True
        asyncio.get_running_loop().call_later(seconds, self._shrink)

    def _shrink(self) -> None:
        """Let go of workers that idle for long; the last made first, for the first are asked first."""
        self._will_look = False
        now, soonest = asyncio.get_running_loop().time(), self._idle_seconds
        for worker in reversed(self.workers[:]):
            if len(self.workers) <= self._least:
                return
            if not worker.is_idle:
                continue
            left = worker.idle_since + self._idle_seconds - now
            if left > 0:
                soonest = min(soonest, left)
                continue
            self.workers.remove(worker)
            self._retire(worker)
        if len(self.workers) > self._least and any(not w.sessions for w in self.workers):
            self._look_in(soonest)

    def drop(self, worker: WorkerProcess) -> None:
        """Forget a worker that ended."""
        with contextlib.suppress(ValueError):
            self.workers.remove(worker)
