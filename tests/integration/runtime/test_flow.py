"""Bounded lag: a slow reader slows its writer, nothing is lost, and nobody else waits for it."""

import asyncio
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from blueengine.runtime.part import WINDOW_MESSAGES
from tests.integration.runtime.site import Platform, Site, a_chain, a_graph, a_site
from tests.kit.engines.process import EngineProcess, Gate
from tests.kit.wait import until, wait_until

MANY = 20_000
SIZE = 2_000
"""Together 40 MB: more than the window, every socket buffer and every read-ahead."""
SPARE = 3 * WINDOW_MESSAGES
"""The window, and what was read and is trimmed in portions."""


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    return Gate(tmp_path_factory.mktemp("gate"))


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, gate: Gate, channels: Mapping[str, str]
) -> Iterator[Site]:
    with a_site(tmp_path_factory.mktemp("site"), ["echo"], channels=channels) as site:
        for kind, settings in (("deeds", {"MAX_WORKER": 1, "CONCURRENCY": 4}), ("gate", {})):
            engine = site.launch(kind, environment={"GATE": str(gate.path)}, settings=settings)
            wait_until(partial(site.attends, engine), 40)
        yield site


def memory(engine: EngineProcess) -> int:
    """Return the resident bytes of the parent and its workers."""
    pids = [engine.pid, *engine.workers()]
    return sum(
        int(line.split()[1]) * 1024
        for pid in pids
        for line in Path("/proc", str(pid), "status").read_text().splitlines()
        if line.startswith("VmRSS")
    )


async def came_to_rest(platform: Platform, reader: EngineProcess, before: object) -> None:
    """Wait until messages came after ``before`` and then no more come."""
    seen: list[object] = []

    async def still() -> bool:
        seen.append(await platform.inboxes.newest(reader.instance))
        return seen[-1] != before and len(seen) > 20 and len(set(seen[-20:])) == 1

    await until(still, 30)


async def test_a_slow_reader_slows_its_writer_and_nothing_is_lost(
    platform: Platform, gate: Gate
) -> None:
    _, deeds, slow = platform.site.engines
    gate.close()
    before = memory(deeds) + memory(slow)
    plan = a_chain("deeds", "gate")
    before_all = await platform.inboxes.newest(slow.instance)
    session = await platform.submit(plan, {"do": "many", "count": MANY, "size": SIZE})
    await came_to_rest(platform, slow, before_all)

    async def little_is_kept() -> bool:
        return await platform.inboxes.kept(slow.instance) <= SPARE

    await until(little_is_kept, 20)
    assert memory(deeds) + memory(slow) - before < 24 << 20
    gate.open()
    got = await platform.finished(session, seconds=50)
    assert [item["n"] for item in got] == list(range(MANY))


async def test_a_held_writer_holds_up_no_other_session_of_its_worker(
    platform: Platform, gate: Gate
) -> None:
    """Both sessions run in the one worker process of ``deeds``."""
    _, _, slow = platform.site.engines
    gate.close()
    before_all = await platform.inboxes.newest(slow.instance)
    held = await platform.submit(
        a_chain("deeds", "gate"), {"do": "many", "count": 3000, "size": SIZE}
    )
    await came_to_rest(platform, slow, before_all)
    other = await platform.submit(a_chain("deeds", "echo"), *[{"do": "echo"}] * 500)
    assert len(await platform.finished(other)) == 500
    gate.open()
    assert len(await platform.finished(held)) == 3000


async def test_an_engine_that_writes_to_itself_does_not_stand_still(platform: Platform) -> None:
    """Writer and reader share one worker, and more is written than fits the window."""
    plan = a_graph(
        {
            "writer": ("deeds", {"Control": "In"}, {"Results": "Mid"}),
            "reader": ("deeds", {"Control": "Mid"}, {"Results": "Out"}),
        }
    )
    orders = [{"do": "spread", "count": 3000, "size": SIZE}]
    session = await platform.submit(plan, *orders)
    got = await platform.finished(session, seconds=30)
    assert [item["n"] for item in got] == list(range(3000))


async def test_two_engines_that_write_to_each_other_in_two_sessions_go_on(
    platform: Platform,
) -> None:
    there = a_graph(
        {
            "w": ("deeds", {"Control": "In"}, {"Results": "Mid"}),
            "r": ("echo", {"Control": "Mid"}, {"Results": "Out"}),
        }
    )
    back = a_graph(
        {
            "w": ("echo", {"Control": "In"}, {"Results": "Mid"}),
            "r": ("deeds", {"Control": "Mid"}, {"Results": "Out"}),
        }
    )
    first = await platform.submit(there, {"do": "many", "count": 3000, "size": SIZE})
    second = await platform.submit(back, *[{"do": "echo", "n": n} for n in range(3000)])
    got = await asyncio.gather(*(platform.finished(s, seconds=40) for s in (first, second)))
    assert [[item["n"] for item in items] for items in got] == [list(range(3000))] * 2


async def test_a_stop_reaches_a_writer_that_is_held(platform: Platform, gate: Gate) -> None:
    _, deeds, slow = platform.site.engines
    gate.close()
    workers = set(deeds.workers())
    before_all = await platform.inboxes.newest(slow.instance)
    session = await platform.submit(
        a_chain("deeds", "gate"), {"do": "many", "count": MANY, "size": SIZE}
    )
    await came_to_rest(platform, slow, before_all)
    await platform.store.stop(session, "enough")
    assert (await platform.ended(session)).status == "canceled"
    assert set(deeds.workers()) == workers


async def test_results_that_cannot_be_stored_yet_slow_their_writer(
    site: Site, platform: Platform
) -> None:
    deeds = site.engines[1]
    session = await platform.submit(
        a_chain("deeds"), {"do": "many", "count": MANY * 3, "size": SIZE}
    )
    await until(lambda: platform.store.result_count(session, "Out"))
    before = memory(deeds)
    with site.redis.paused():
        readings: list[int] = []

        def still() -> bool:
            readings.append(memory(deeds))
            return len(readings) > 20 and len({r >> 20 for r in readings[-20:]}) == 1

        await until(still, 15)
    assert readings[-1] - before < 48 << 20
    got = await platform.finished(session, seconds=50)
    assert [item["n"] for item in got] == list(range(MANY * 3))
