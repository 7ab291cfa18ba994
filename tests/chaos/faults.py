"""What will go wrong and when: a plan that a seed makes and a file keeps."""

import random
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

Kind = Literal[
    "kill", "term", "pause", "cut", "freeze", "drop", "worker", "away", "sick", "slow", "mute"
]
Target = Literal["engine", "gateway", "management", "redis", "receiver", "kafka"]


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that goes wrong."""

    at: float
    """Seconds after the start."""
    target: Target
    kind: Kind
    which: int
    """Which one of that kind, modulo how many there are."""
    seconds: float = 0.0
    """How long it lasts; 0: it is over at once."""

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.at:7.2f} {self.target} {self.which}: {self.kind}{lasting}"


class Row(msgspec.Struct, frozen=True):
    """One row of the table below."""

    target: Target
    kind: Kind
    weight: int
    shortest: float = 0.0
    """In heartbeat timeouts; below 0.4 nobody may take the target for dead, above 1.5 all must."""
    longest: float = 0.0


TABLE: Final = (
    Row("engine", "kill", 4),
    Row("engine", "worker", 3),
    Row("engine", "term", 3),
    Row("engine", "pause", 3, 0.1, 0.4),
    Row("engine", "pause", 3, 1.8, 2.5),
    Row("engine", "drop", 3),
    Row("engine", "cut", 2, 0.1, 0.4),
    Row("engine", "cut", 2, 1.8, 2.5),
    Row("engine", "freeze", 2, 0.1, 0.4),
    Row("engine", "freeze", 2, 1.8, 2.5),
    Row("gateway", "kill", 3),
    Row("gateway", "term", 2),
    Row("gateway", "pause", 2, 0.2, 1.5),
    Row("gateway", "drop", 2),
    Row("gateway", "cut", 2, 0.1, 1.0),
    Row("gateway", "freeze", 2, 0.1, 1.0),
    Row("management", "kill", 4),
    Row("management", "term", 2),
    Row("management", "pause", 3, 0.2, 2.5),
    Row("management", "drop", 2),
    Row("management", "cut", 2, 0.1, 2.0),
    Row("management", "freeze", 2, 0.1, 2.0),
    Row("redis", "kill", 2),
    Row("redis", "term", 2),
    Row("redis", "away", 1, 0.5, 1.6),
    Row("redis", "pause", 2, 0.1, 1.6),
    # who webhooks are for: not there; answers with an error, late, not at all
    Row("receiver", "away", 2, 0.1, 1.0),
    Row("receiver", "sick", 2, 0.1, 1.0),
    Row("receiver", "slow", 2, 0.1, 1.5),
    Row("receiver", "mute", 2, 0.1, 0.5),
)
KAFKA_TABLE: Final = (
    Row("kafka", "kill", 2),
    Row("kafka", "term", 2),
    Row("kafka", "away", 1, 0.5, 1.6),
    Row("kafka", "pause", 3, 0.1, 1.6),
    Row("kafka", "cut", 3, 0.1, 1.6),
    Row("kafka", "freeze", 3, 0.1, 1.6),
    Row("kafka", "drop", 3),
)
"""Beside those above, where data goes over Kafka."""


def plan(
    seed: int,
    seconds: float,
    *,
    every: float,
    timeout: float,
    kafka: bool = False,
    only: Iterable[str] = (),
) -> list[Fault]:
    """Return the faults of ``seconds`` seconds, one in ``every`` on average.

    Args:
        seed: The same seed makes the same plan.
        seconds: How long the run is.
        every: Mean time between two faults.
        timeout: The heartbeat timeout.
        kafka: Data goes over Kafka, which may go wrong, too.
        only: ``target`` or ``target-kind`` words; all when empty.
    """
    chosen = set(only)
    table = (*TABLE, *KAFKA_TABLE) if kafka else TABLE
    rows = [r for r in table if not chosen or chosen & {r.target, f"{r.target}-{r.kind}"}]
    # first every row once, so that a short run has many kinds, too
    rng = random.Random(seed)
    bag: list[Row] = []
    faults, at = [], every
    while at < seconds:
        if not bag:
            bag = [row for row in rows for _ in range(row.weight)]
            rng.shuffle(bag)
        row = bag.pop()
        faults.append(
            Fault(
                at=round(at, 2),
                target=row.target,
                kind=row.kind,
                which=rng.randrange(1000),
                seconds=round(rng.uniform(row.shortest, row.longest) * timeout, 2),
            )
        )
        at += rng.uniform(0.3, 1.7) * every
    return faults
