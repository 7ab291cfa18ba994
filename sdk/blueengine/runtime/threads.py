"""A worker that is a thread of the parent: for steps too light for a process, and for tests.

It speaks the same frames over the same kind of socket as a process, and runs the same code. What it
cannot do is die alone: a crash in it is a crash of the instance, and code that ignores a stop goes
on beside everything else, for a thread cannot be killed.
"""

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass

from blueengine.kit import aio
from blueengine.kit.turn import Turn
from blueengine.runtime import frames
from blueengine.runtime.child import Worker, serve
from blueengine.runtime.context import Flags
from blueengine.runtime.declare import BlueEngine
from blueengine.runtime.line import SocketLine
from blueengine.runtime.workers import LAST_WORDS_SECONDS, WorkerProcess


@dataclass(frozen=True, kw_only=True)
class Time:
    """How time passes for workers in threads; tests make it virtual."""

    make_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    """Makes the loop of async functions."""
    hurry: bool = False
    """Whether what waits for a time need not wait."""


class WorkerThread(WorkerProcess):
    """The parent's end of a worker in a thread of the same process."""

    def __init__(
        self,
        engine: BlueEngine,
        index: int,
        on_frame: Callable[[WorkerProcess, frames.FromWorker], None],
        on_lost: Callable[[WorkerProcess, str], None],
        turn: Turn,
        *,
        time: Time | None = None,
    ) -> None:
        """Work for the step at ``index``."""
        super().__init__(engine.steps[index].name, index, on_frame, on_lost, turn)
        self._engine = engine
        self._time = time or Time()
        self._ended = asyncio.Event()
        self._given_up = False

    async def start(self, target: str, flags_fd: int) -> None:
        """Start the thread; ``target`` is not needed, the engine is here."""
        ours, theirs = socket.socketpair()
        threading.Thread(
            target=self._work, args=(theirs, os.dup(flags_fd)), name=self.step, daemon=True
        ).start()
        await self._loop.create_connection(lambda: self, sock=ours)

    async def quit(self, grace: float) -> None:
        """Let it end in order, or leave it alone after ``grace`` seconds."""
        self._told_to_quit = True
        self.send(frames.Quit())
        self._flush()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._ended.wait()
        self._part_ways()

    async def kill(self, why: str, grace: float = 1.0) -> None:
        """Part ways with a worker that does not listen; its thread ends when its code returns."""
        self.give_up(why)

    def give_up(self, why: str) -> None:
        """Behave as if it had crashed."""
        if not self._given_up and not self._ended.is_set():
            self._given_up = True
            self._part_ways()
            self._lose(why)

    def _part_ways(self) -> None:
        if self._transport:
            self._transport.close()

    def _work(self, sock: socket.socket, flags_fd: int) -> None:
        flags = Flags(flags_fd)
        line = SocketLine(sock)
        line.hurry = self._time.hurry
        worker = Worker(self._engine, self._engine.steps[self.index], line, flags)
        worker.make_loop = self._time.make_loop
        code = 1
        try:
            code = serve(worker, line)
        finally:
            worker.close()
            sock.close()
            flags.close()
            aio.call_soon(self._loop, self._on_end, code)

    def _on_end(self, code: int) -> None:
        self._ended.set()
        if not self._told_to_quit and not self._given_up:
            self._given_up = True
            self._watch = self._loop.create_task(self._lose_after_last_words(code))

    async def _lose_after_last_words(self, code: int) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await self._closed.wait()
        self._lose(f"ended with code {code}")
