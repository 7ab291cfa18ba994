"""What an engine instance counts: its sessions and calls, and what its author counts and times."""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from blueengine.wire.report import Outcome

MOST_NAMES: Final = 200
"""Names an author may count under in one engine; a name for each customer, say, would fill memory."""


@dataclass
class Timed:
    """How often something was timed, and the seconds in all."""

    count: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Traffic:
    """What went through one channel of the engine."""

    messages: int = 0
    bytes: int = 0

    def count(self, messages: int, size: int) -> None:
        """Count messages of so many bytes in all."""
        self.messages += messages
        self.bytes += size


class Traffics(dict[str, Traffic]):
    """Name of an engine's channel -> what went through it; engine.yml bounds the names."""

    def __missing__(self, name: str) -> Traffic:
        """Begin to count for a channel."""
        found = self[name] = Traffic()
        return found


RUN_SECONDS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 1800.0)
"""Bounds of the histogram of run times."""


@dataclass
class Spread:
    """A histogram: how many were up to each of ``RUN_SECONDS``, how many in all, and their sum."""

    buckets: list[int] = field(default_factory=lambda: [0] * len(RUN_SECONDS))
    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.count += 1
        self.seconds += seconds
        at = bisect_left(RUN_SECONDS, seconds)
        if at < len(RUN_SECONDS):
            self.buckets[at] += 1


@dataclass
class Numbers:
    """Grow from the start of the instance. Caller: its event loop, so counting needs no lock."""

    sessions: dict[str, int] = field(default_factory=lambda: {o.value: 0 for o in Outcome})
    """By how its part of them ended."""
    refused: int = 0
    calls: int = 0
    busy: int = 0
    """Microseconds inside process functions."""
    workers: Callable[[], Mapping[str, int]] = dict
    """Step -> its worker processes now."""
    came: Traffics = field(default_factory=Traffics)
    went: Traffics = field(default_factory=Traffics)
    """Through inputs and outputs, as it passes."""
    run_time: Spread = field(default_factory=Spread)
    """From the release of its input to the end of a part."""
    missed_heartbeats: int = 0
    lost_workers: int = 0
    counters: dict[tuple[str, str], float] = field(default_factory=dict)
    """(step, name) -> sum."""
    timers: dict[tuple[str, str], Timed] = field(default_factory=dict)

    def ended(self, outcome: Outcome, seconds: float | None) -> None:
        """Count a session that has ended here, ``seconds`` after its input was released, if it was."""
        self.sessions[outcome.value] += 1
        if seconds is not None:
            self.run_time.add(seconds)

    def counted(
        self, step: str, counts: dict[str, float], times: dict[str, tuple[int, float]]
    ) -> None:
        """Add what a worker counted and timed."""
        for name, amount in counts.items():
            key = (step, name)
            if key in self.counters or len(self.counters) < MOST_NAMES:
                self.counters[key] = self.counters.get(key, 0.0) + amount
        for name, (count, seconds) in times.items():
            key = (step, name)
            if key in self.timers or len(self.timers) < MOST_NAMES:
                timed = self.timers.setdefault(key, Timed())
                timed.count += count
                timed.seconds += seconds
