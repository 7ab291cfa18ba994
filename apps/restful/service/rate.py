"""A token bucket: a steady rate, and what was saved up for a second may come at once."""

import math


class Bucket:
    """Requests of one key at one gateway. Times are seconds of a monotonic clock."""

    __slots__ = ("_at", "_tokens", "burst", "rate")

    def __init__(self, rate: float, now: float) -> None:
        """Begin full; ``rate`` is tokens per second, above 0."""
        self.rate = rate
        self.burst = float(max(1, math.ceil(rate)))
        self._tokens = self.burst
        self._at = now

    def take(self, now: float) -> float:
        """Take a token: 0.0; or none, and the seconds until there is one."""
        self._tokens = min(self.burst, self._tokens + max(0.0, now - self._at) * self.rate)
        self._at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self.rate
