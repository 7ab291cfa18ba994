"""Taps: a live view of a channel that costs nothing when nobody looks, and never much."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from apps.restful.service import taps as watching
from apps.restful.service.taps import Taps, Watcher
from apps.sessions.live import LiveStore
from blueengine.kit.redis_address import RedisAddress
from blueengine.wire import names
from blueengine.wire.envelope import Copy
from tests.integration.runtime.site import Platform, Site, a_chain, a_graph, a_site
from tests.integration.runtime.test_interactive import a_client, interactive, runs
from tests.kit.wait import until


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with a_site(tmp_path_factory.mktemp("site"), ["echo", "deeds", "blobs"]) as site:
        yield site


@pytest.fixture
async def taps(platform: Platform) -> AsyncIterator[Taps]:
    address = RedisAddress.from_url(platform.site.redis.url)
    taps = Taps(address, LiveStore(platform.link), "gateway-test")
    yield taps
    await taps.close()


async def a_watcher(platform: Platform, taps: Taps, session: str, *channels: str) -> Watcher:
    target = await LiveStore(platform.link).target(session)
    assert target
    return taps.watch(target, channels)


async def seen(watcher: Watcher, count: int) -> list[Copy]:
    async with asyncio.timeout(20):
        return [await watcher.next() for _ in range(count)]


async def test_what_an_engine_and_the_client_write_is_shown(platform: Platform, taps: Taps) -> None:
    session = await platform.submit(interactive(a_chain("echo", "echo")))
    client = await a_client(platform, session)
    await until(lambda: runs(platform, session))
    async with await a_watcher(platform, taps, session, "In", "Ch1") as watcher:
        await client.push(1, 2)
        copies = await seen(watcher, 4)
    shown = sorted((copy.channel, copy.sender, copy.payload) for copy in copies)
    assert shown == [("Ch1", "n1", b"1"), ("Ch1", "n1", b"2"), ("In", "", b"1"), ("In", "", b"2")]
    await client.end()
    assert await platform.finished(session) == [1, 2]


async def test_a_message_of_the_client_with_two_readers_is_shown_once(
    platform: Platform, taps: Taps
) -> None:
    plan = a_graph(
        {
            "a": ("echo", {"Control": "In"}, {"Results": "Out"}),
            "b": ("echo", {"Control": "In"}, {"Results": "Other"}),
        }
    )
    session = await platform.submit(interactive(plan))
    client = await a_client(platform, session)
    await until(lambda: runs(platform, session))
    async with await a_watcher(platform, taps, session, "In") as watcher:
        await client.push(*range(10))
        copies = await seen(watcher, 10)
    assert [int(copy.payload) for copy in copies] == list(range(10))
    await client.end()
    await platform.finished(session)


async def test_a_watcher_is_shown_a_part_of_a_flood_and_told_of_the_rest(
    platform: Platform, taps: Taps
) -> None:
    session = await platform.submit(interactive(a_chain("deeds", "deeds")))
    client = await a_client(platform, session)
    await until(lambda: runs(platform, session))
    async with await a_watcher(platform, taps, session, "Ch1") as watcher:
        await client.push({"do": "spread", "count": 5000})
        await until(lambda: has_results(platform, session, 5000), 30)
        await client.push({"do": "spread", "count": 1})
        await client.end()
        await platform.finished(session)
        shown = list(watcher._copies)
    assert 0 < len(shown) <= watching.KEPT
    assert sum(copy.skipped for copy in shown) > 1000


async def has_results(platform: Platform, session: str, count: int) -> bool:
    return await platform.store.result_count(session, "Out") >= count


async def test_of_a_large_message_only_the_facts_are_shown(platform: Platform, taps: Taps) -> None:
    plan = a_graph({"n1": ("blobs", {"Control": "In"}, {"Data": "Out"})}, types={"Out": "Bytes"})
    session = await platform.submit(interactive(plan))
    client = await a_client(platform, session)
    await until(lambda: runs(platform, session))
    async with await a_watcher(platform, taps, session, "Out") as watcher:
        await client.push({"size": 100_000}, {"size": 10})
        large, small = await seen(watcher, 2)
    assert (large.payload, large.size) == (b"", 100_000)
    assert (small.payload, small.size) == (b"\0" * 10, 10)
    await client.end()
    await platform.ended(session)


async def test_an_engine_stops_to_show_when_nobody_listens_or_renews(
    platform: Platform, taps: Taps, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await platform.submit(interactive(a_chain("echo")))
    client = await a_client(platform, session)
    await until(lambda: runs(platform, session))
    live = LiveStore(platform.link)
    target = await live.target(session)
    assert target
    # a gateway that is gone: the first copy finds nobody, and there is no second
    assert await live.tap(target, "Out", gateway="gone", seconds=30) == 1
    await client.push(1)
    await until(lambda: has_results(platform, session, 1))
    async with await a_watcher(platform, taps, session, "Out") as watcher:
        await client.push(2)
        (copy,) = await seen(watcher, 1)
        assert copy.payload == b"2"
    channels = await platform.link.send("PUBSUB", "CHANNELS", names.tap("*"))
    assert channels == [names.tap("gateway-test").encode()]
    await client.end()
    await platform.finished(session)


async def test_a_session_that_does_not_run_yet_is_shown_once_it_does(
    platform: Platform, taps: Taps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "RENEW", 0.05)
    session = await platform.submit(interactive(a_chain("echo", "comes-later")))
    client = await a_client(platform, session)
    async with await a_watcher(platform, taps, session, "Out") as watcher:
        engine = await platform.start("echo", "comes-later")
        await until(lambda: runs(platform, session))
        looking = asyncio.ensure_future(watcher.next())
        await until(lambda: pushed_until(client, looking))
        assert (await looking).channel == "Out"
    await client.end()
    await platform.ended(session)
    engine.end()


async def pushed_until(client: object, looking: "asyncio.Future[Copy]") -> bool:
    await client.push(1)  # type: ignore[attr-defined]
    return looking.done()
