"""A short run of the chaos suite; ``python -m tests.chaos --minutes 30`` is the long one."""

import os
from pathlib import Path

import pytest

from tests.chaos import faults
from tests.chaos.run import run

SEED = int(os.environ.get("CHAOS_SEED", "1"))
SECONDS = 25.0
TIMEOUT = 5.0


@pytest.mark.timeout(400)
async def test_sessions_survive_whatever_goes_wrong(tmp_path: Path) -> None:
    """One terminal status each, none missing, results complete, nothing left over."""
    plan = faults.plan(SEED, SECONDS, every=1.0, timeout=TIMEOUT)
    told: list[str] = []
    report = await run(
        tmp_path,
        plan,
        seed=SEED,
        seconds=SECONDS,
        clients=6,
        heartbeat_timeout=TIMEOUT,
        say=told.append,
    )
    story = "\n".join([*told, *report.findings])
    assert not report.findings, (
        f"python -m tests.chaos --seed {SEED} --round {SECONDS:g} --every 1\n{story}"
    )
    assert sum(report.sessions.values()) > 20, report
    assert len(report.faults) > 8, report


def test_a_seed_makes_one_plan() -> None:
    plans = [faults.plan(seed, 120, every=2, timeout=5) for seed in (3, 3, 4)]
    assert plans[0] == plans[1] != plans[2]
    targets = {(fault.target, fault.kind) for fault in plans[0]}
    assert len(targets) > 12


def test_a_plan_may_be_of_few_kinds() -> None:
    plan = faults.plan(1, 60, every=1, timeout=5, only=["redis", "engine-kill"])
    assert {fault.target for fault in plan} == {"redis", "engine"}
    assert {fault.kind for fault in plan if fault.target == "engine"} == {"kill"}
