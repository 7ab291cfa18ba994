"""What an engine instance counts: its sessions and calls, and what its author counts and times."""

from dataclasses import dataclass, field
from typing import Final

from blueengine.wire.report import Outcome, Tally

MOST_NAMES: Final = 200
"""Names an author may count under in one engine; a name for each customer, say, would fill memory."""


@dataclass
class Timed:
    """How often something was timed, and the seconds in all."""

    count: int = 0
    seconds: float = 0.0


@dataclass
class Numbers:
    """Grow from the start of the instance."""

    sessions: dict[str, int] = field(default_factory=lambda: {o.value: 0 for o in Outcome})
    """By how its part of them ended."""
    refused: int = 0
    calls: int = 0
    busy_seconds: float = 0.0
    messages_in: int = 0
    messages_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    missed_heartbeats: int = 0
    lost_workers: int = 0
    counters: dict[tuple[str, str], float] = field(default_factory=dict)
    """(step, name) -> sum."""
    timers: dict[tuple[str, str], Timed] = field(default_factory=dict)

    def ended(self, outcome: Outcome, tally: Tally) -> None:
        """Count a session that has ended here."""
        self.sessions[outcome.value] += 1
        self.calls += tally.calls
        self.busy_seconds += tally.busy / 1e6
        self.messages_in += tally.messages_in
        self.messages_out += tally.messages_out
        self.bytes_in += tally.bytes_in
        self.bytes_out += tally.bytes_out

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
