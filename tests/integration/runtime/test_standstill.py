"""A session whose branches wait for each other goes on; what runs ahead is bounded, in memory and on disk."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from blueengine.runtime.part import WINDOW_MESSAGES
from blueengine.wire.plan import Plan
from tests.integration.runtime.site import Platform, Site, a_graph, a_site
from tests.kit.engines.process import EngineProcess, Gate
from tests.kit.wait import until, wait_until

MIB: Final = 1 << 20
ALLOWED: Final = 200 * MIB
TYPES: Final = {"Fast": "Bytes", "Slow": "Bytes"}


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    return Gate(tmp_path_factory.mktemp("gate"))


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, gate: Gate, channels: Mapping[str, str]
) -> Iterator[Site]:
    with a_site(tmp_path_factory.mktemp("site"), channels=channels) as site:
        for branch in ("split", "gather", "late"):
            environment = {"BRANCH": branch, "SPOOL_BYTES": str(ALLOWED)}
            site.launch("branches", branch, environment=environment)
        site.launch("branches", "small", environment={"BRANCH": "late", "SPOOL_BYTES": "100000"})
        site.launch("gate", environment={"GATE": str(gate.path)})
        site.launch("echo")
        site.launch("pair")
        for engine in site.engines:
            wait_until(partial(site.attends, engine), 60)
        yield site


def branches(late: str = "late", *, one_channel: bool = False) -> Plan:
    writes = {"Data": "Fast"} if one_channel else {"Data": "Fast", "More": "Slow"}
    return a_graph(
        {
            "split": ("split", {"Control": "In"}, writes),
            "gather": ("gather", {"Data": writes.get("More", "Fast")}, {"Total": "Total"}),
            "late": (late, {"Data": "Fast", "Total": "Total"}, {"Results": "Out"}),
        },
        types=TYPES,
    )


def an_engine(platform: Platform, engine: str) -> EngineProcess:
    return next(e for e in platform.site.engines if e.id == engine)


def spooled(engine: EngineProcess) -> int:
    """Return the bytes of the files without a name that the parent process has open."""
    total = 0
    for fd in Path("/proc", str(engine.pid), "fd").iterdir():
        try:
            name = str(fd.readlink())
            if str(engine.temp) in name and name.endswith("(deleted)"):
                total += fd.stat().st_size
        except FileNotFoundError:
            continue
    return total


def memory(engine: EngineProcess) -> int:
    status = Path("/proc", str(engine.pid), "status").read_text()
    return next(
        int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS")
    )


async def got_all(platform: Platform, session: str, count: int) -> None:
    items = await platform.finished(session, seconds=120)
    assert [item["n"] for item in items] == list(range(count)), "all, in order"
    assert all(item["whole"] and item["total"] == count for item in items)


@pytest.mark.parametrize("one_channel", [True, False], ids=["one channel", "two channels"])
async def test_a_branch_that_needs_all_before_it_writes_anything(
    platform: Platform, one_channel: bool
) -> None:
    count = 5 * WINDOW_MESSAGES
    session = await platform.submit(
        branches(one_channel=one_channel), {"count": count, "size": 2000}
    )
    await got_all(platform, session, count)
    assert spooled(an_engine(platform, "late")) == 0


async def test_a_branch_that_hears_of_the_session_only_behind_all_of_the_other(
    platform: Platform,
) -> None:
    count = 3 * WINDOW_MESSAGES
    session = await platform.submit(branches(), {"count": count, "size": 400, "apart": True})
    await got_all(platform, session, count)


async def test_large_messages(platform: Platform) -> None:
    count = 200  # of 1 MiB by reference; the window is 64 of these
    session = await platform.submit(branches(), {"count": count, "size": MIB})
    await got_all(platform, session, count)


async def test_memory_stays_bounded_while_much_waits(platform: Platform) -> None:
    late = an_engine(platform, "late")
    before, most, on_disk = memory(late), 0, 0
    count = 20_000
    session = await platform.submit(branches(), {"count": count, "size": 4000})  # 80 MB

    async def over() -> bool:
        nonlocal most, on_disk
        most, on_disk = max(most, memory(late)), max(on_disk, spooled(late))
        return await platform.status(session) == "finished"

    await until(over, 120)
    await got_all(platform, session, count)
    assert on_disk > 40 * MIB, "most of it waited on disk"
    assert most - before < 40 * MIB


async def test_more_than_the_disk_may_hold_is_an_error_that_names_the_channels(
    platform: Platform,
) -> None:
    session = await platform.submit(branches("small"), {"count": 3000, "size": 2000})
    record = await platform.ended(session, 60)
    assert record.status == "failed"
    assert record.fault
    assert record.fault.code == "spool-full"
    assert "'Total'" in record.fault.message
    assert "'Fast'" in record.fault.message
    assert "SPOOL_BYTES" in record.fault.message
    assert spooled(an_engine(platform, "small")) == 0


async def test_a_session_that_is_stopped_leaves_nothing_on_disk(platform: Platform) -> None:
    late = an_engine(platform, "late")
    session = await platform.submit(branches(), {"count": 30_000, "size": 4000})
    await until(lambda: spooled(late), 60)
    await platform.store.stop(session, "enough")
    assert (await platform.ended(session, 30)).status == "canceled"
    await until(lambda: spooled(late) == 0, 10)


async def test_a_partner_that_is_merely_slow_slows_the_other_branch(
    platform: Platform, gate: Gate
) -> None:
    """Nobody stands still while somebody is at work: then windows are the bound, as ever."""
    gate.close()
    pair = an_engine(platform, "pair")
    plan = a_graph(
        {
            "source": ("echo", {"Control": "In"}, {"Results": "All"}),
            "slow": ("gate", {"Control": "All"}, {"Results": "Through"}),
            "pair": ("pair", {"Left": "All", "Right": "Through"}, {"Results": "Out"}),
        }
    )
    count = 3000
    session = await platform.submit(plan, *range(count))
    seen: list[object] = []

    async def all_wait() -> bool:
        seen.append(await platform.inboxes.newest(pair.instance))
        return len(seen) > 60 and len(set(map(str, seen[-60:]))) == 1

    await until(all_wait, 30)
    assert spooled(pair) == 0
    gate.open()
    items = await platform.finished(session, seconds=60)
    assert [item[:2] for item in items] == [[n, n] for n in range(count)]
