"""A worker that is no process and no thread: the parent's event loop calls it, for the lightest steps.

A message meets the author's code in the turn of the loop that read it, and what comes of it is
written at the end of that turn: no other process or thread is woken. While the author's code is at
work nothing else happens in the instance, so a call should take less than a millisecond.
"""

import asyncio
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from blueengine.errors import DeclarationError
from blueengine.kit.turn import Turn
from blueengine.runtime import frames
from blueengine.runtime.child import Worker
from blueengine.runtime.context import Flags
from blueengine.runtime.declare import BlueEngine
from blueengine.runtime.line import Line
from blueengine.runtime.workers import WorkerProcess

log = logging.getLogger(__name__)

TURN_SECONDS: Final = 0.005
"""After so long at work the loop is given a turn for other things, such as heartbeats."""
HEAVY_SECONDS: Final = 0.5
"""A call that takes longer does not belong here."""


class InlineLine(Line):
    """A line to the parent that is just here."""

    def __init__(self, take: Callable[[list[frames.FromWorker]], None], turn: Turn) -> None:
        """Hand frames to ``take``; what a timer leads to is done in a ``turn`` of its own."""
        super().__init__()
        self._take = take
        self._turn = turn
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def begin(self) -> None:
        """Note that work begins: what comes of it in a short while is handed on together."""
        self._flushed_at = time.monotonic()

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something after a while, in the loop."""
        self._loop.call_later(seconds, self._do, do)

    def _do(self, do: Callable[[], None]) -> None:
        with self._turn:
            do()
            self.flush()

    def flush(self) -> None:
        """Hand on what is queued; from a thread of the author's code, soon."""
        if threading.get_ident() == self._thread:
            super().flush()
        else:
            self._loop.call_soon_threadsafe(super().flush)

    def _flush_later(self) -> None:
        if threading.get_ident() != self._thread:
            self.flush()  # in the loop, whoever has called it does so when the call is done

    def _deliver(self, out: list[frames.FromWorker]) -> None:
        self._take(out)


class WorkerInline(WorkerProcess):
    """The parent's end of such a worker, and the worker itself."""

    def __init__(
        self,
        engine: BlueEngine,
        index: int,
        on_frame: Callable[[WorkerProcess, frames.FromWorker], None],
        on_lost: Callable[[WorkerProcess, str], None],
        turn: Turn,
    ) -> None:
        """Work for the step at ``index``."""
        super().__init__(engine.steps[index].name, index, on_frame, on_lost, turn)
        self._engine = engine
        self._line = InlineLine(self._on_frames, turn)
        self._flags: Flags | None = None
        self._worker: Worker | None = None
        self._todo: deque[frames.ToWorker] = deque()
        self._due = False
        """Whether what is to do will be done without anybody asking."""
        self._warned = False

    async def start(self, target: str, flags_fd: int) -> None:
        """Call init_func; ``target`` is not needed, the engine is here."""
        self._flags = Flags(os.dup(flags_fd))
        worker = Worker(self._engine, self._engine.steps[self.index], self._line, self._flags)
        worker.make_loop = _no_loop
        well = worker.begin()
        self._line.flush()
        if well:
            self._worker = worker
            self._work_on()
        else:
            self._lose("could not begin")

    def send(self, frame: frames.ToWorker) -> None:
        """Do what the frame asks for at the end of this turn."""
        if self._gone:
            return
        self._todo.append(frame)
        if not self._due:
            self._due = True
            self._turn.soon(self._work)

    def post(self, frame: frames.ToWorker) -> None:
        """As ``send``: nothing is saved by waiting."""
        self.send(frame)

    async def quit(self, grace: float) -> None:
        """Call terminate_func."""
        self._told_to_quit = True
        if self._worker is not None:
            self._worker.take(frames.Quit())
        self._part_ways()

    async def kill(self, why: str, grace: float = 1.0) -> None:
        """Part ways with it; its code is not at work, else nobody could say this."""
        self._part_ways()
        self._lose(why)

    def _part_ways(self) -> None:
        self._worker = None
        self._todo.clear()
        if self._flags is not None:
            self._flags.close()
            self._flags = None

    def _work_on(self) -> None:
        with self._turn:
            self._work()

    def _work(self) -> None:
        """Do what is to do, or as much as others can wait for."""
        began = time.monotonic()
        self._line.begin()
        while self._todo and self._worker is not None:
            self._worker.take(self._todo.popleft())
            seconds = time.monotonic() - began
            if seconds > TURN_SECONDS or not self._todo:
                self._line.flush()  # which may lead to more
            if seconds > HEAVY_SECONDS and not self._warned:
                self._warn(seconds)
            if seconds > TURN_SECONDS and self._todo:
                self._loop.call_soon(self._work_on)
                return
        self._due = False

    def _warn(self, seconds: float) -> None:
        self._warned = True
        log.warning(
            "step %r runs inline and kept the whole instance waiting for %.1f s; "
            "run_in='process' is for work like that",
            self.step,
            seconds,
        )

    def _on_frames(self, out: Sequence[frames.FromWorker]) -> None:
        for frame in out:
            self._on_frame(self, frame)


def _no_loop() -> NoReturn:
    raise DeclarationError("a step that runs inline cannot wait; use run_in='process' or 'thread'")
