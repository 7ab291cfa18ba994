"""A session whose branches wait for each other goes on; what runs ahead is bounded, in memory and on disk."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from blueengine.runtime.part import WINDOW_MESSAGES
from blueengine.runtime.scratch import MEMORY, PREFIX
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
        for branch in (
            "split",
            "gather",
            "late",
            "strict",
            "passing",
            "beside",
            "paired",
            "summing",
        ):
            environment = {"BRANCH": branch, "SPOOL_BYTES": str(ALLOWED)}
            site.launch("branches", branch, environment=environment)
        few = {"SPOOL_BYTES": "100000"}
        site.launch("branches", "small", environment={"BRANCH": "late", **few})
        site.launch("branches", "passing-little", environment={"BRANCH": "passing", **few})
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


LATE: Final = pytest.mark.parametrize("late", ["late", "passing"])
"""An engine whose one step joins what two others write, and one that joins what its own step forwards."""


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


def in_shared_memory(engine: EngineProcess) -> int:
    """Return the bytes of what its steps have forwarded there."""
    total = 0
    for folder in MEMORY.glob(f"{PREFIX}{engine.instance}-*"):
        for place, _, files in os.walk(folder):  # which minds nothing that is removed meanwhile
            for name in files:
                with contextlib.suppress(FileNotFoundError):
                    total += Path(place, name).stat().st_size
    return total


async def got_all(platform: Platform, session: str, count: int) -> None:
    items = await platform.finished(session, seconds=120)
    assert [item["n"] for item in items] == list(range(count)), "all, in order"
    assert all(item["whole"] and item["total"] == count for item in items)


@LATE
@pytest.mark.parametrize("one_channel", [True, False], ids=["one channel", "two channels"])
async def test_a_branch_that_needs_all_before_it_writes_anything(
    platform: Platform, one_channel: bool, late: str
) -> None:
    count = 5 * WINDOW_MESSAGES
    session = await platform.submit(
        branches(late, one_channel=one_channel), {"count": count, "size": 2000}
    )
    await got_all(platform, session, count)
    assert spooled(an_engine(platform, late)) == 0


@LATE
async def test_a_branch_that_hears_of_the_session_only_behind_all_of_the_other(
    platform: Platform, late: str
) -> None:
    count = 3 * WINDOW_MESSAGES
    session = await platform.submit(branches(late), {"count": count, "size": 400, "apart": True})
    await got_all(platform, session, count)


async def test_large_messages(platform: Platform) -> None:
    count = 200  # of 1 MiB by reference; the window is 64 of these
    session = await platform.submit(branches(), {"count": count, "size": MIB})
    await got_all(platform, session, count)


async def test_what_is_forwarded_in_shared_memory_does_not_fill_it(platform: Platform) -> None:
    engine, most, count = an_engine(platform, "passing"), 0, 100  # of 1 MiB
    session = await platform.submit(branches("passing"), {"count": count, "size": MIB})

    async def over() -> bool:
        nonlocal most
        most = max(most, in_shared_memory(engine))
        return await platform.status(session) == "finished"

    await until(over, 120)
    await got_all(platform, session, count)
    assert 0 < most < 40 * MIB
    assert in_shared_memory(engine) == 0
    assert not list(engine.temp.rglob("waiting-*"))


@LATE
async def test_memory_stays_bounded_while_much_waits(platform: Platform, late: str) -> None:
    engine = an_engine(platform, late)
    before, most, on_disk = memory(engine), 0, 0
    count = 20_000
    session = await platform.submit(branches(late), {"count": count, "size": 4000})  # 80 MB

    async def over() -> bool:
        nonlocal most, on_disk
        most, on_disk = max(most, memory(engine)), max(on_disk, spooled(engine))
        return await platform.status(session) == "finished"

    await until(over, 120)
    await got_all(platform, session, count)
    assert on_disk > 40 * MIB, "most of it waited on disk"
    assert most - before < 40 * MIB


@pytest.mark.parametrize(
    ("late", "waiting"), [("small", "'Fast'"), ("passing-little", "'forward'")]
)
async def test_more_than_the_disk_may_hold_is_an_error_that_names_the_channels(
    platform: Platform, late: str, waiting: str
) -> None:
    session = await platform.submit(branches(late), {"count": 6 * WINDOW_MESSAGES, "size": 2000})
    record = await platform.ended(session, 60)
    assert record.status == "failed"
    assert record.fault
    assert record.fault.code == "spool-full"
    assert "'Total'" in record.fault.message
    assert waiting in record.fault.message
    assert "SPOOL_BYTES" in record.fault.message
    assert spooled(an_engine(platform, late)) == 0


@LATE
async def test_a_session_that_is_stopped_leaves_nothing_on_disk(
    platform: Platform, late: str
) -> None:
    engine = an_engine(platform, late)
    session = await platform.submit(branches(late), {"count": 30_000, "size": 4000})
    await until(lambda: spooled(engine), 60)
    await platform.store.stop(session, "enough")
    assert (await platform.ended(session, 30)).status == "canceled"
    await until(lambda: spooled(engine) == 0, 10)


def beside_few(late: str, port: str) -> Plan:
    """Return a plan in which an engine reads a stream, and at ``port`` what the client gave."""
    return a_graph(
        {
            "split": ("split", {"Control": "In"}, {"Data": "Fast"}),
            "late": (late, {"Data": "Fast", port: "Few"}, {"Results": "Out"}),
        },
        fed=("In", "Few"),
        types=TYPES,
    )


async def test_a_step_that_forwards_at_the_end_of_an_input_that_has_no_room_till_then(
    platform: Platform,
) -> None:
    """The part waits for nobody but itself."""
    feeds = {"In": [{"count": 3000, "size": 2000}], "Few": [0] * 3000}
    session = await platform.submit(beside_few("summing", "Control"), feeds=feeds)
    await got_all(platform, session, 3000)


async def test_messages_whose_partners_cannot_come_end_a_session_that_could_not_end(
    platform: Platform,
) -> None:
    feeds = {"In": [{"count": 5000, "size": 2000}], "Few": [7]}
    session = await platform.submit(beside_few("strict", "Total"), feeds=feeds)
    record = await platform.ended(session, 60)
    assert record.status == "failed"
    assert record.fault
    assert record.fault.code == "no-partner"
    assert "on 'Data'" in record.fault.message


async def test_what_is_forwarded_to_a_step_that_is_not_called_any_more_is_let_go(
    platform: Platform,
) -> None:
    feeds = {"In": [{"count": 5000, "size": 2000}], "Few": [7]}
    session = await platform.submit(beside_few("beside", "Total"), feeds=feeds)
    assert await platform.finished(session, seconds=60) == [7]


@pytest.mark.parametrize(
    ("engine", "ports"), [("pair", ("Left", "Right")), ("paired", ("Control", "Total"))]
)
async def test_a_partner_that_is_merely_slow_slows_the_other_branch(
    platform: Platform, gate: Gate, engine: str, ports: tuple[str, str]
) -> None:
    """Nobody stands still while somebody is at work: then windows are the bound, as ever."""
    gate.close()
    pair = an_engine(platform, engine)
    fast, slow = ports
    plan = a_graph(
        {
            "source": ("echo", {"Control": "In"}, {"Results": "All"}),
            "slow": ("gate", {"Control": "All"}, {"Results": "Through"}),
            "pair": (engine, {fast: "All", slow: "Through"}, {"Results": "Out"}),
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
