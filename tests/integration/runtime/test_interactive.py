"""Interactive sessions: a client pushes more input while they run, and ends it."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import msgspec
import orjson
import pytest

from apps.sessions.live import WINDOW_MESSAGES, LiveStore, NewPush, Pushed, Target
from blueengine.transport.blobs import BlobFolder, pushed_ref
from blueengine.wire import names
from blueengine.wire.envelope import Stored
from blueengine.wire.plan import Feed, Plan
from tests.integration.runtime.site import Platform, Site, a_chain, a_graph, a_site
from tests.kit.engines.process import Gate
from tests.kit.wait import until, wait_until


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    return Gate(tmp_path_factory.mktemp("gate"))


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, gate: Gate, channels: Mapping[str, str]
) -> Iterator[Site]:
    with a_site(
        tmp_path_factory.mktemp("site"), ["echo", "deeds", "blobs", "pair"], channels=channels
    ) as site:
        engine = site.launch("gate", environment={"GATE": str(gate.path)})
        wait_until(partial(site.attends, engine), 40)
        yield site


def interactive(plan: Plan, *, fed: tuple[str, ...] = ()) -> Plan:
    return msgspec.structs.replace(plan, interactive=True, fed=fed)


class Client:
    """Pushes to one session."""

    def __init__(self, platform: Platform, target: Target) -> None:
        self.target = target
        self.pushes = LiveStore(platform.link)

    async def push(self, *values: object, channel: str = "In", **more: object) -> Pushed:
        pushed = Pushed("nothing")
        for value in values:
            feed = Feed(channel, orjson.dumps(value))
            new = NewPush(channel=channel, feed=feed, weight=len(feed.payload), **more)  # type: ignore[arg-type]
            pushed = await self.pushes.push(self.target, new)
        return pushed

    async def end(self, channel: str = "In") -> Pushed:
        return await self.pushes.push(self.target, NewPush(channel=channel))


async def a_client(platform: Platform, session: str) -> Client:
    target = await LiveStore(platform.link).target(session)
    assert target
    return Client(platform, target)


async def test_what_is_pushed_follows_the_start_data_until_the_end(platform: Platform) -> None:
    session = await platform.submit(interactive(a_chain("echo", "echo"), fed=("In",)), 1, 2)
    client = await a_client(platform, session)
    for value in range(3, 200):
        assert await client.push(value) == Pushed("ok", value - 3)
        if value % 50 == 0:
            await until(lambda value=value: has_results(platform, session, value))  # type: ignore[misc]
    assert await platform.status(session) == "processing"
    assert await client.end() == Pushed("ok", 197)
    assert await platform.finished(session) == list(range(1, 200))
    assert await client.push("late") == Pushed("ended", status="finished")


async def runs(platform: Platform, session: str) -> bool:
    status = await platform.status(session)
    assert status in {"pending", "queuing", "processing"}, await platform.store.read(session)
    return status == "processing"


async def has_results(platform: Platform, session: str, count: int) -> bool:
    return await platform.store.result_count(session, "Out") >= count


async def test_what_is_pushed_before_the_session_runs_is_released_with_its_input(
    platform: Platform,
) -> None:
    session = await platform.submit(interactive(a_chain("echo", "later"), fed=("In",)), 0)
    client = await a_client(platform, session)
    await client.push(1, 2)
    assert await platform.status(session) == "pending"
    engine = await platform.start("echo", "later")
    await until(lambda: runs(platform, session))
    await until(lambda: has_results(platform, session, 3))
    await client.push(3)
    await client.end()
    assert await platform.finished(session) == [0, 1, 2, 3]
    engine.end()


async def test_a_channel_ended_before_the_session_runs_ends_it(platform: Platform) -> None:
    session = await platform.submit(interactive(a_chain("echo", "still-later")))
    client = await a_client(platform, session)
    await client.push(1)
    await client.end()
    assert await client.push(2) == Pushed("closed")
    engine = await platform.start("echo", "still-later")
    assert await platform.finished(session) == [1]
    engine.end()


async def test_a_slow_engine_lets_only_a_window_wait(platform: Platform, gate: Gate) -> None:
    session = await platform.submit(interactive(a_chain("gate")))
    client = await a_client(platform, session)
    sent = 0
    while (await client.push(sent)).word == "ok":
        sent += 1
    assert sent == WINDOW_MESSAGES
    assert await client.push("more") == Pushed("full")
    gate.open()
    try:
        await until(lambda: accepted(client, sent))
        await client.end()
        assert await platform.finished(session) == list(range(sent + 1))
    finally:
        gate.close()


async def accepted(client: Client, value: object) -> bool:
    return (await client.push(value)).word == "ok"


async def test_a_message_is_taken_once_by_number_and_by_key(platform: Platform) -> None:
    session = await platform.submit(interactive(a_chain("echo")))
    client = await a_client(platform, session)
    assert await client.push("a", number=0) == Pushed("ok", 0)
    assert await client.push("a", number=0) == Pushed("again", 0)
    assert await client.push("c", number=2) == Pushed("gap", 1)
    assert await client.push("b", key="k", key_hash="h") == Pushed("ok", 1)
    assert await client.push("b", key="k", key_hash="h") == Pushed("again", 1)
    assert await client.push("x", key="k", key_hash="other") == Pushed("conflict")
    assert await client.end() == Pushed("ok", 2)
    assert (await client.end()).word in {"again", "ended"}
    assert await platform.finished(session) == ["a", "b"]


async def test_only_the_newest_keys_are_remembered(platform: Platform) -> None:
    session = await platform.submit(interactive(a_chain("echo")))
    client = await a_client(platform, session)
    for number in range(1100):
        await until(lambda n=number: accepted_once(client, n))  # type: ignore[misc]
    facts = await platform.link.send("HKEYS", names.pushes(session))
    assert sum(fact.startswith(b"k:") for fact in facts) == 1000
    assert (await client.push(1099, key="1099", key_hash="h")).word == "again"
    await client.end()
    assert await platform.finished(session) == list(range(1100))


async def accepted_once(client: Client, number: int) -> bool:
    pushed = await client.push(number, key=str(number), key_hash="h")
    return pushed in {Pushed("ok", number), Pushed("again", number)}


async def test_every_reader_gets_each_message_and_the_slowest_sets_the_pace(
    platform: Platform, gate: Gate
) -> None:
    plan = interactive(
        a_graph(
            {
                "fast": ("echo", {"Control": "In"}, {"Results": "Out"}),
                "slow": ("gate", {"Control": "In"}, {"Results": "Late"}),
            },
            stored=("Out", "Late"),
        )
    )
    session = await platform.submit(plan)
    client = await a_client(platform, session)
    for number in range(WINDOW_MESSAGES):
        assert (await client.push(number)).word == "ok"
    await until(lambda: has_results(platform, session, WINDOW_MESSAGES))
    assert await client.push("more") == Pushed("full")
    gate.open()
    try:
        await until(lambda: accepted(client, WINDOW_MESSAGES))
        await client.end()
        want = list(range(WINDOW_MESSAGES + 1))
        assert await platform.finished(session) == want
        assert await platform.results(session, "Late") == want
    finally:
        gate.close()


async def test_large_messages_are_files_that_go_when_they_are_consumed(
    platform: Platform, tmp_path: Path
) -> None:
    plan = interactive(
        a_graph(
            {"n1": ("blobs", {"DataIn": "In"}, {"Sums": "Out"})},
            types={"In": "Bytes"},
        )
    )
    session = await platform.submit(plan)
    client = await a_client(platform, session)
    folder = BlobFolder(platform.site.blobs)
    for number in range(3):
        ref = pushed_ref(session, f"x{number}")
        folder.write(ref, [bytes([number]) * 100_000])
        new = NewPush(channel="In", feed=Feed("In", b"", b"", ref), weight=12_500)
        assert (await client.pushes.push(client.target, new)).word == "ok"
    await until(lambda: not list(platform.site.blobs.glob("sessions/*/pushed/*")))
    await client.end()
    assert [sums["size"] for sums in await platform.finished(session)] == [100_000] * 3


async def test_a_message_on_a_stored_channel_is_a_result(platform: Platform) -> None:
    plan = interactive(a_graph({"n1": ("echo", {"Control": "In"}, {})}, stored=("In",)))
    session = await platform.submit(plan)
    client = await a_client(platform, session)
    for value in (b"1", b"2"):
        new = NewPush(channel="In", feed=Feed("In", value), stored=Stored("JSON", value, size=1))
        await client.pushes.push(client.target, new)
    await client.end()
    assert await platform.finished(session, "In") == [1, 2]


async def test_an_engine_that_is_done_takes_nothing_more(platform: Platform) -> None:
    session = await platform.submit(interactive(a_chain("deeds")))
    client = await a_client(platform, session)
    await client.push({"do": "finish"})
    await platform.finished(session)
    assert (await client.push(1)).word == "ended"


async def test_a_session_that_is_stopped_keeps_nothing_of_what_was_pushed(
    platform: Platform,
) -> None:
    session = await platform.submit(interactive(a_chain("deeds")))
    client = await a_client(platform, session)
    await client.push({"do": "wait"}, {"do": "wait"})
    await platform.store.stop(session, "enough")
    assert (await platform.ended(session)).status == "canceled"
    assert (
        await platform.link.send("EXISTS", names.pushes(session), names.pushed(session, "In")) == 0
    )


async def test_what_a_refusing_engine_did_not_take_goes_to_the_next_one(
    platform: Platform,
) -> None:
    both = [await platform.start("picky", "choosy") for _ in range(2)]
    picked_first = max(engine.instance for engine in both)
    plan = interactive(a_chain("choosy", labels={"refused-by": picked_first}))
    session = await platform.submit(plan)
    client = await a_client(platform, session)
    await client.push(1, 2, 3)
    await client.end()
    assert [found["got"] for found in await platform.finished(session)] == [1, 2, 3]
    record = await platform.store.read(session)
    assert record is not None
    assert (record.refused, record.attempt) == (1, 2)
    for engine in both:
        engine.end()
