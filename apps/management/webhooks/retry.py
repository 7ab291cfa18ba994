"""When a delivery that failed is tried again: later each time, at random, for a day.

All of the delay is random (full jitter), so that many events for a receiver that was away do not come
back as one wave. What the receiver itself asks for by Retry-After is respected.
"""

import random
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

GIVE_UP_SECONDS: Final = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long to wait between tries; seconds."""

    first: float = 5.0
    longest: float = 3600.0
    least: float = 1.0
    give_up: float = GIVE_UP_SECONDS
    """An event is given up when a try fails that is made so long after it happened."""
    rng: random.Random = field(default_factory=random.Random)

    def wait(self, *, tries: int, age: float, asked: float = 0.0) -> float | None:
        """Return the time until the next try, None when there is none.

        Args:
            tries: Made before the one that failed now.
            age: Of the event.
            asked: What the receiver asked for.
        """
        left = self.give_up - age
        if left <= 0:
            return None
        ceiling = min(self.longest, self.first * 2.0 ** min(tries, 30))
        pause = self.rng.uniform(min(self.least, ceiling), ceiling)
        if asked > 0:
            # never before it, and not all at that moment
            pause = max(self.least, asked + pause / 10)
        return min(pause, left)  # the last try is made when the day is over


def retry_after(value: str, *, now: float) -> float:
    """Return the seconds that a Retry-After header asks for; 0 when it says nothing sensible.

    Args:
        value: Seconds, or a date.
        now: Seconds since the epoch.
    """
    value = value.strip()
    if value.isascii() and value.isdecimal():
        return float(value[:9])
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max(0.0, at.replace(tzinfo=at.tzinfo or UTC).timestamp() - now)
