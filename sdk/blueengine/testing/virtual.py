"""Virtual time for async functions: a sleep is over at once, and the clock says it was not."""

import asyncio
import selectors
from typing import Any


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits for its clock: it puts the clock forward.

    It waits for real only when nothing but the outside (a socket, a thread) can wake it.
    """

    def __init__(self) -> None:
        """Begin at 0 seconds."""
        self.now = 0.0
        super().__init__(_Hurried(self))

    def time(self) -> float:
        """Return the seconds that have passed, slept ones included."""
        return self.now


class _Hurried(selectors.DefaultSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            return super().select(None)
        if not (ready := super().select(0)) and timeout > 0:
            self._loop.now += timeout
        return ready
