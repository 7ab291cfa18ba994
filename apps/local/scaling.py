"""The rule by which engines are started and stopped. Pure: facts and times in, a decision out.

Starting: as many instances as the demand (sessions that wait and sessions in work) needs at the
engine's concurrency, no more than the maximum. Stopping: only idle instances, and only when so
many were not needed at any moment of the last ``cooldown`` seconds.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from blueengine.kit.backoff import delays

HEALTHY_SECONDS: Final = 10.0
"""An instance that attended for so long was no failed start, however it ended."""
RETRY_FIRST_SECONDS: Final = 1.0
RETRY_LONGEST_SECONDS: Final = 60.0


def desired(demand: int, concurrency: int, most: int) -> int:
    """Return how many instances this demand (in slots) needs."""
    return min(most, -(-demand // concurrency))


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One instance as seen now, attending or still starting. Times are seconds of one clock."""

    id: str
    attending: bool
    held: int = 0
    """Sessions it holds."""
    active_at: float = 0.0
    """When it attended or was last given something to do."""
    ours: bool = True
    """Only what was started here can be stopped here."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What to do now."""

    start: int = 0
    stop: tuple[str, ...] = ()
    """Instances to stop if they still are idle."""


@dataclass(kw_only=True)
class Failures:
    """Failed starts of one engine: the next try comes later each time."""

    count: int = 0
    retry_at: float = 0.0
    reason: str = ""
    _waits: Iterator[float] = field(
        default_factory=lambda: delays(RETRY_FIRST_SECONDS, RETRY_LONGEST_SECONDS)
    )

    def add(self, now: float, reason: str) -> float:
        """Note a failure; how many seconds to wait."""
        wait = next(self._waits)
        self.count, self.retry_at, self.reason = self.count + 1, now + wait, reason
        return wait


class Scale:
    """One engine's decisions; it remembers the demand of the last while and nothing else."""

    def __init__(self, *, concurrency: int, most: int, cooldown: float) -> None:
        """Decide for an engine that takes ``concurrency`` sessions an instance."""
        self._concurrency = concurrency
        self._most = most
        self._cooldown = cooldown
        self._needs: deque[tuple[float, int]] = deque()
        """(when, how many were needed), falling: the first is the peak of the cooldown."""
        self.failures = Failures()

    def decide(self, now: float, demand: int, instances: Iterable[Instance]) -> Decision:
        """Return what to do about this demand with these instances."""
        there = list(instances)
        need = desired(demand, self._concurrency, self._most)
        peak = self._remember(now, need)
        if need > len(there):
            return Decision(start=need - len(there) if now >= self.failures.retry_at else 0)
        attending = [instance for instance in there if instance.attending]
        # sessions come and go between two looks; what an instance did tells of those
        busy_lately = any(now - instance.active_at < self._cooldown for instance in attending)
        surplus = len(there) - max(peak, 1 if busy_lately else 0)
        idle = [instance for instance in attending if instance.ours and instance.held == 0]
        idle.sort(key=lambda instance: instance.active_at)
        return Decision(stop=tuple(instance.id for instance in idle[: max(0, surplus)]))

    def _remember(self, now: float, need: int) -> int:
        """Add what is needed now; the most that was needed within the cooldown."""
        while self._needs and self._needs[-1][1] <= need:
            self._needs.pop()
        self._needs.append((now, need))
        while self._needs[0][0] <= now - self._cooldown and len(self._needs) > 1:
            self._needs.popleft()
        return self._needs[0][1]
