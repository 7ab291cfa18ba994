"""Long-lived tasks with a name and a guard, sleeps that can be woken, and how a process stops.

A loop of a service is ``forever(step)``: an error is logged and the loop goes on, later each time.
It runs in ``Tasks``, where a task that ends although nobody asked it to is logged and seen by
``until``; the process then stops in order instead of living on without one of its parts.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any, Final, Self, TypeVar

from blueengine.errors import BlueEngineError
from blueengine.kit.backoff import delays

log = logging.getLogger(__name__)

T = TypeVar("T")

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Tasks:
    """The long-lived tasks of one process; as a context manager it closes them at the end.

    Callers: any task of one event loop.
    """

    def __init__(self) -> None:
        """Begin without a task."""
        self._tasks: list[asyncio.Task[Any]] = []
        self._ended = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def start(self, work: Coroutine[Any, Any, Any], *, name: str) -> None:
        """Run ``work`` until ``close``; its end before that counts as a fault of the process."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.append(task)
        task.add_done_callback(self._on_done)

    async def until(self, stop: asyncio.Event) -> bool:
        """Wait until ``stop`` is set (True) or a task has ended by itself (False)."""
        waits = [asyncio.ensure_future(event.wait()) for event in (stop, self._ended)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return stop.is_set()

    async def close(self) -> None:
        """Cancel the tasks, the latest first, and wait for the end of each."""
        while self._tasks:
            await cancel(self._tasks.pop())

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        if task not in self._tasks or task.cancelled():
            return
        if error := task.exception():
            log.error("the task %s failed", task.get_name(), exc_info=error)
        else:
            log.error("the task %s ended by itself", task.get_name())
        self._ended.set()


def call_soon(loop: asyncio.AbstractEventLoop, do: Callable[..., object], *args: Any) -> None:
    """Call something in a loop, from any thread; nothing if the loop is closed."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(do, *args)


def take_note(future: "asyncio.Future[Any]") -> None:
    """Look at how a future ended, for whoever needs to know hears of it in another way."""
    if not future.cancelled():
        future.exception()


async def cancel(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait until it is over; how it ended does not matter any more."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()):
        log.debug("the task %s ended with an error while stopping: %r", task.get_name(), error)


async def forever(
    step: Callable[[], Awaitable[object]], *, name: str, first: float = 0.1, longest: float = 5.0
) -> None:
    """Call ``step`` again and again; after an error wait from ``first`` to ``longest`` seconds."""
    waits = delays(first, longest)
    while True:
        try:
            await step()
        except BlueEngineError as exc:
            log.warning("%s: %s", name, exc)
        except Exception:
            log.exception("%s: unexpected error", name)
        else:
            waits = delays(first, longest)
            continue
        await asyncio.sleep(next(waits))


async def nap(wake: asyncio.Event, seconds: float) -> bool:
    """Sleep until ``wake`` is set (then it is cleared: True) or the time is over (False)."""
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        return False
    wake.clear()
    return True


@contextlib.asynccontextmanager
async def stop_signals(*more: signal.Signals) -> AsyncGenerator[asyncio.Event, None]:
    """Answer an event that SIGTERM, SIGINT and ``more`` set; nothing else happens on them."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (*STOP_SIGNALS, *more):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (*STOP_SIGNALS, *more):
            loop.remove_signal_handler(number)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a program on uvloop where that can be had, else on asyncio's own loop."""
    try:
        import uvloop
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)
