"""A short run of the chaos suite; ``python -m tests.chaos --minutes 30`` is the long one."""

import os
import random
from pathlib import Path

import msgspec
import pytest

from tests.chaos import faults
from tests.chaos.__main__ import Plan
from tests.chaos.run import run
from tests.chaos.sessions import GENERATION, a_session, engines
from tests.kit.fixtures import need_kafka

SEED = int(os.environ.get("CHAOS_SEED", "1"))
SECONDS = 20.0
TIMEOUT = 5.0
CLIENTS = 6


async def live_through(folder: Path, *, kafka: bool = False) -> None:
    """Run what one seed makes, and find nothing."""
    plan = faults.plan(SEED, SECONDS, every=1.0, timeout=TIMEOUT, kafka=kafka)
    told: list[str] = []
    report = await run(
        folder,
        plan,
        seed=SEED,
        seconds=SECONDS,
        clients=CLIENTS,
        heartbeat_timeout=TIMEOUT,
        kafka=kafka,
        say=told.append,
    )
    story = "\n".join([*told, *report.findings])
    again = f"--seed {SEED} --round {SECONDS:g} --every 1 --clients {CLIENTS}"
    assert not report.findings, f"python -m tests.chaos {again}{' --kafka' * kafka}\n{story}"
    assert sum(report.sessions.values()) >= CLIENTS, report
    assert len(report.faults) > 8, report
    assert report.deliveries >= report.events > 0, report


@pytest.mark.timeout(400)
async def test_sessions_survive_whatever_goes_wrong(tmp_path: Path) -> None:
    """One terminal status each, none missing, results complete, webhooks told, nothing left over."""
    await live_through(tmp_path)


@pytest.mark.timeout(900)  # Kafka may have to be fetched first
async def test_sessions_survive_whatever_goes_wrong_over_kafka(tmp_path: Path) -> None:
    """The same with data over a broker, which is killed, paused and cut off, too."""
    need_kafka()
    await live_through(tmp_path, kafka=True)


def test_a_seed_makes_one_plan() -> None:
    plans = [faults.plan(seed, 120, every=2, timeout=5) for seed in (3, 3, 4)]
    assert plans[0] == plans[1] != plans[2]
    targets = {(fault.target, fault.kind) for fault in plans[0]}
    assert len(targets) > 12


def test_a_plan_knows_of_kafka_where_it_is_used() -> None:
    for kafka in (False, True):
        plan = faults.plan(3, 200, every=1, timeout=5, kafka=kafka)
        assert ("kafka" in {fault.target for fault in plan}) == kafka


def test_a_plan_may_be_of_few_kinds() -> None:
    plan = faults.plan(1, 60, every=1, timeout=5, only=["redis", "engine-kill"])
    assert {fault.target for fault in plan} == {"redis", "engine"}
    assert {fault.kind for fault in plan if fault.target == "engine"} == {"kill"}


def test_a_plan_of_an_older_suite_meets_the_engines_and_sessions_of_then() -> None:
    old = Plan(1, 10.0, 2, 5.0, [])
    kept = msgspec.json.decode(msgspec.json.encode(old))
    del kept["generation"]
    assert msgspec.convert(kept, Plan).generation == 1
    kinds = {}
    for generation in (1, GENERATION):
        rng = random.Random(1)
        made = [a_session(rng, receivers=2, generation=generation) for _ in range(300)]
        kinds[generation] = {wanted.kind for wanted in made}
    assert kinds[GENERATION] - kinds[1] == {"silent", "socket"}
    assert engines(GENERATION).keys() - engines(1).keys() == {"s"}
