"""Time as a port, so that tests decide what time it is."""

import time
from typing import Protocol


class Clock(Protocol):
    """Where a program gets its time from."""

    def monotonic(self) -> float:
        """Return seconds that never go backwards; only differences mean something."""

    def unix(self) -> float:
        """Return seconds since the epoch."""


class SystemClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        """Return seconds that never go backwards; only differences mean something."""
        return time.monotonic()

    def unix(self) -> float:
        """Return seconds since the epoch."""
        return time.time()
