"""Whatever happens, in whatever order, the ledger does what the model says.

``LEDGER_STEPS=100000`` walks that far; ``LEDGER_SEED`` repeats a walk. A walk that fails is cut
down to the few steps that matter before it is shown.
"""

import os
import random
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blueengine.kit.redis_link import Link
from tests.integration.ledger.walk import WIDEST, MismatchError, Step, Walk

STEPS = int(os.environ.get("LEDGER_STEPS", "4000"))
SEED = int(os.environ.get("LEDGER_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
IN_ONE_WALK = 250

number = st.integers(0, WIDEST - 1)
a_walk = st.lists(st.tuples(number, number, number, number, number), min_size=1, max_size=60)


async def fails(link: Link, steps: Sequence[Step]) -> str:
    """Walk; what went wrong, or nothing."""
    walk = Walk(link)
    try:
        await walk.run(steps)
    except MismatchError as exc:
        return "\n".join([*walk.told[-60:], str(exc)])
    return ""


async def cut_down(link: Link, steps: list[Step]) -> list[Step]:
    """Leave out steps as long as the walk still fails."""
    size = len(steps) // 2
    while size:
        at = 0
        while at < len(steps):
            fewer = steps[:at] + steps[at + size :]
            if fewer and await fails(link, fewer):
                steps = fewer
            else:
                at += size
        size //= 2
    return steps


@pytest.mark.timeout(max(60, STEPS / 4))  # on a machine that is very busy
async def test_a_long_random_walk(link: Link) -> None:
    rng = random.Random(SEED)
    counts: dict[str, int] = {}
    for walked in range(0, STEPS, IN_ONE_WALK):
        steps = [tuple(rng.randrange(WIDEST) for _ in range(5)) for _ in range(IN_ONE_WALK)]
        walk = Walk(link)
        try:
            await walk.run(steps)  # type: ignore[arg-type]  # five numbers each
        except MismatchError:
            few = await cut_down(link, steps)  # type: ignore[arg-type]  # five numbers each
            pytest.fail(
                f"LEDGER_SEED={SEED}, walk {walked // IN_ONE_WALK}, {len(few)} steps matter:\n"
                f"{await fails(link, few)}",
                pytrace=False,
            )
        for name, count in walk.counts.items():
            counts[name] = counts.get(name, 0) + count
    print(f"{STEPS} steps, seed {SEED}: {counts}")  # noqa: T201 - shown with -s


@settings(
    max_examples=25,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=a_walk)
async def test_short_walks_of_any_kind(every_link: Link, steps: list[Step]) -> None:
    assert not await fails(every_link, steps)
