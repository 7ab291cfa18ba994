"""Wake-ups on a real Redis: each is acted on, whoever dies."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from apps.management.loops.matcher import Matcher
from apps.sessions.store import SessionStore
from blueengine.kit import aio
from blueengine.kit.redis_link import Link
from blueengine.ledger.instance import InstanceLedger
from blueengine.wire import names
from tests.kit.builders import a_session, an_engine_spec
from tests.kit.wait import until

Attend = Callable[..., Awaitable[None]]


@pytest.fixture
async def reading(link: Link) -> AsyncIterator[Link]:
    second = Link(link.address)
    await second.open()
    yield second
    await second.close()


@pytest.fixture
def attend(link: Link) -> Attend:
    async def attend(instance: str = "i1", engine: str = "echo", concurrency: int = 1) -> None:
        spec = an_engine_spec(engine, concurrency=concurrency)
        await InstanceLedger(link, instance, heartbeat_timeout=60).attend(spec, {})

    return attend


def matcher(
    store: SessionStore, link: Link, reading: Link, name: str = "m1", claim_seconds: float = 0.05
) -> Matcher:
    return Matcher(
        store, link, reading, consumer=name, block_seconds=0.3, claim_seconds=claim_seconds
    )


@asynccontextmanager
async def matching(*matchers: Matcher) -> AsyncIterator[None]:
    async with aio.Tasks() as tasks:
        for number, each in enumerate(matchers):
            tasks.start(aio.forever(each.take, name="matcher", first=0.01), name=f"m{number}")
        yield


async def status(store: SessionStore, session: str) -> str:
    record = await store.read(session)
    assert record
    return record.status


async def test_a_waiting_session_is_placed_when_its_engine_comes(
    store: SessionStore, link: Link, reading: Link, attend: Attend
) -> None:
    async with matching(matcher(store, link, reading)):
        waiting = await store.submit(a_session(), specs_version=-1, gateway="")
        assert waiting.status == "pending"
        await attend()
        await until(lambda: _is(store, waiting.session, "queuing"))
        await until(lambda: _empty(link))


async def _is(store: SessionStore, session: str, wanted: str) -> bool:
    return await status(store, session) == wanted


async def _empty(link: Link) -> bool:
    """Whether no wake-up is left, taken or not."""
    length = await link.send("XLEN", names.WAKE)
    pending = await link.send("XPENDING", names.WAKE, names.WAKE_GROUP)
    return bool(length == 0 and pending[0] == 0)


async def test_wake_ups_from_before_the_first_replica_are_acted_on(
    store: SessionStore, link: Link, reading: Link, attend: Attend
) -> None:
    waiting = await store.submit(a_session(), specs_version=-1, gateway="")
    await attend()
    async with matching(matcher(store, link, reading)):
        await until(lambda: _is(store, waiting.session, "queuing"))


async def test_what_a_dead_replica_took_is_taken_over(
    store: SessionStore, link: Link, reading: Link, attend: Attend
) -> None:
    alive = matcher(store, link, reading)
    await alive.take()  # makes the group
    waiting = await store.submit(a_session(), specs_version=-1, gateway="")
    await attend()
    taken = await link.send(
        "XREADGROUP", "GROUP", names.WAKE_GROUP, "dead", "STREAMS", names.WAKE, ">"
    )
    assert len(taken[0][1]) == 1
    await until(alive.take_over)
    assert await status(store, waiting.session) == "queuing"
    assert await _empty(link)


async def test_what_a_living_replica_just_took_is_left_to_it(
    store: SessionStore, link: Link, reading: Link, attend: Attend
) -> None:
    other = matcher(store, link, reading, claim_seconds=60)
    await other.take()
    await store.submit(a_session(), specs_version=-1, gateway="")
    await attend()
    await link.send("XREADGROUP", "GROUP", names.WAKE_GROUP, "busy", "STREAMS", names.WAKE, ">")
    assert await other.take_over() == 0


async def test_a_lost_wake_up_is_found_by_the_sweep(
    store: SessionStore, link: Link, reading: Link, attend: Attend
) -> None:
    waiting = await store.submit(a_session(), specs_version=-1, gateway="")
    await attend()
    await link.send("DEL", names.WAKE)
    one = matcher(store, link, reading)
    assert await one.sweep() == 1
    assert await status(store, waiting.session) == "queuing"
    assert await one.sweep() == 0


async def test_take_over_and_sweep_begin_on_an_empty_redis(
    store: SessionStore, link: Link, reading: Link
) -> None:
    one = matcher(store, link, reading)
    assert await one.take_over() == 0
    assert await one.sweep() == 0


async def test_a_stream_deleted_under_the_read_is_made_anew(
    store: SessionStore, link: Link, reading: Link, attend: Attend
) -> None:
    async with matching(matcher(store, link, reading)):
        await until(lambda: link.send("EXISTS", names.WAKE))
        await link.send("FLUSHALL")
        waiting = await store.submit(a_session(), specs_version=-1, gateway="")
        await attend()
        await until(lambda: _is(store, waiting.session, "queuing"))


async def test_two_replicas_place_each_session_once(
    store: SessionStore, link: Link, reading: Link, attend: Attend
) -> None:
    third = Link(link.address)
    await third.open()
    try:
        async with matching(matcher(store, link, reading, "m1"), matcher(store, link, third, "m2")):
            sessions = [
                (await store.submit(a_session(), specs_version=-1, gateway="")).session
                for _ in range(20)
            ]
            await asyncio.gather(*[attend(f"i{n}", concurrency=2) for n in range(10)])
            for session in sessions:
                await until(lambda sid=session: _is(store, sid, "queuing"))  # type: ignore[misc]  # a default is no argument
    finally:
        await third.close()
    state = await store.engine("echo")
    assert state
    assert (state.used_slots, state.free_slots, state.waiting) == (20, 0, 0)


async def test_consumers_of_replicas_long_gone_are_forgotten(
    store: SessionStore,
    link: Link,
    reading: Link,
    attend: Attend,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = matcher(store, link, reading)
    await one.take()
    group = (names.WAKE, names.WAKE_GROUP)
    await link.send("XGROUP", "CREATECONSUMER", *group, "gone")
    await store.submit(a_session(), specs_version=-1, gateway="")
    await attend()
    await link.send("XREADGROUP", "GROUP", names.WAKE_GROUP, "owes", "STREAMS", names.WAKE, ">")
    await one.forget_dead()
    assert len(await link.send("XINFO", "CONSUMERS", *group)) == 2
    monkeypatch.setattr("apps.management.loops.matcher.FORGET_CONSUMER_MS", -1)
    await one.forget_dead()
    left = [flat[1] for flat in await link.send("XINFO", "CONSUMERS", *group)]
    assert left == [b"owes"], "what somebody owes is kept until it is taken over"
