"""Most sessions go a short way through ``submit`` and ``close``: it writes what the long way writes."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import pytest

from apps.sessions.store import PACK, PlacementRule
from blueengine import ledger
from blueengine.kit.redis_address import RedisAddress
from blueengine.kit.redis_link import Link, Reply, Script, Subscription
from blueengine.wire import codec, names
from tests.integration.ledger.world import Part, World
from tests.kit.builders import a_result
from tests.kit.wait import until

GATEWAY: Final = "gateway-1"
CHAIN: Final = ("a", "b", "c")
_TIME: Final = re.compile(rb"\b\d{16}\b")
_STREAM_ID: Final = re.compile(rb"\b\d{13}-\d+\b")

Scripts = Mapping[str, Script]
Story = Callable[[World], Awaitable[None]]


def changed(change: Callable[[str, str], str]) -> Scripts:
    scripts = dict(ledger.load())
    for name in ("submit", "close"):
        text = change(name, scripts[name].text)
        assert text != scripts[name].text
        scripts[name] = Script(name, text)
    return scripts


LONG_WAY: Final = changed(
    lambda name, text: text.replace(
        "\nlocal sid, ", f"\ndo return later().{name}_any() end\nlocal sid, "
    )
)
SHORT_WAY: Final = changed(
    lambda name, text: text.replace(f"return later().{name}_any()", "error('not the short way')")
)
AS_IT_IS: Final = ledger.load()


async def told(address: RedisAddress, scripts: Scripts, story: Story) -> dict[str, Any]:
    """Play a story; all that is in Redis after it, and what the gateway was told, without times."""
    pokes, heard = list[bytes](), list[None]()
    subscription = Subscription([names.poke(GATEWAY)], pokes.append, lambda: heard.append(None))
    link, gateway = Link(address, scripts=scripts), Link(address, subscription=subscription)
    await link.open()
    await gateway.open()
    try:
        await until(lambda: heard)
        await link.send("FLUSHALL")
        await story(World(link))
        await link.send("PUBLISH", names.poke(GATEWAY), "that was all")
        await until(lambda: pokes[-1:] == [b"that was all"])
        found = {"pokes": timeless(pokes)}
        for key in sorted(await link.send("KEYS", "*")):
            found[key.decode()] = timeless(await everything(link, key))
        return found
    finally:
        await link.close()
        await gateway.close()


async def everything(link: Link, key: bytes) -> Reply:
    """Return what a key holds."""
    kind = await link.send("TYPE", key)
    match kind:
        case b"hash":
            flat = await link.send("HGETALL", key)
            return sorted(zip(flat[::2], flat[1::2], strict=True))
        case b"zset":
            return await link.send("ZRANGE", key, 0, -1, "WITHSCORES")
        case b"set":
            return sorted(await link.send("SMEMBERS", key))
        case b"list":
            return await link.send("LRANGE", key, 0, -1)
        case b"stream":
            return await link.send("XRANGE", key, "-", "+")
        case _:
            return [await link.send("GET", key), await link.send("TTL", key) // 100]


def timeless(value: Reply) -> Reply:
    """Return a reply with every time and stream id in it as a word."""
    if isinstance(value, list | tuple):
        return [timeless(each) for each in value]
    if isinstance(value, bytes):
        return _STREAM_ID.sub(b"ID", _TIME.sub(b"TIME", value))
    return value


async def same(address: RedisAddress, story: Story, scripts: Scripts) -> None:
    short, long = await told(address, scripts, story), await told(address, LONG_WAY, story)
    assert short.keys() == long.keys()
    for key, value in long.items():
        assert short[key] == value, key


async def attend(world: World, *engines: str, slots: int = 2) -> None:
    for engine in engines:
        await world.attend(engine, slots, name=f"{engine}-i", eager="1", host="h", zone="z")


async def submit(world: World, *engines: str, number: int = 1, **changes: Any) -> list[Part]:
    """Submit a session that has the same id in every telling; its parts."""
    session = f"session-process-workflow-0-1-{number:021d}"
    answer = await world.submitted(list(engines), session=session, gateway=GATEWAY, **changes)
    assert answer.word == "created"
    return [] if answer.status == "pending" else await world.parts(session)


def results(count: int, channel: str = "Out", first: int = 0) -> dict[str, Any]:
    items = [codec.encode(a_result(b"%d" % i)) for i in range(first, first + count)]
    return {"results": [(channel, first, items)]}


CHANGES: Final[dict[str, dict[str, Any]]] = {
    "plain": {},
    "with a rank": {"rank": 3},
    "with a time limit": {"time_limit": 60.0},
    "of a tenant": {"tenant": "acme"},
    "with an idempotency key": {"idempotency_key": "k", "body_hash": "h"},
    "checked against a version of the specs": {"specs_version": 3},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES.keys())
async def test_a_chain_from_end_to_end(
    redis_address: RedisAddress, changes: dict[str, Any]
) -> None:
    async def story(world: World) -> None:
        await attend(world, *CHAIN)
        first, middle, last = await submit(world, *CHAIN, **changes)
        assert await world.finish(first) == "processing"
        assert await world.finish(middle) == "processing"
        assert await world.finish(last, **results(2)) == "finished"

    await same(redis_address, story, SHORT_WAY)


async def test_a_chain_whose_last_engine_ends_first(redis_address: RedisAddress) -> None:
    async def story(world: World) -> None:
        await attend(world, *CHAIN)
        first, middle, last = await submit(world, *CHAIN)
        assert await world.finish(last, **results(1)) == "processing"
        assert await world.finish(first) == "processing"
        assert await world.finish(middle) == "finished"

    await same(redis_address, story, SHORT_WAY)


async def test_one_engine_with_and_without_results(redis_address: RedisAddress) -> None:
    async def story(world: World) -> None:
        await attend(world, "a")
        (silent,) = await submit(world, "a", number=1)
        (large,) = await submit(world, "a", number=2)
        assert await world.finish(silent) == "finished"
        huge = codec.encode(a_result(b"x" * 20_000))
        assert await world.finish(large, results=[("Out", 0, [huge])]) == "finished"

    await same(redis_address, story, SHORT_WAY)


async def test_a_part_that_ends_for_somebody_who_waits(redis_address: RedisAddress) -> None:
    async def story(world: World) -> None:
        await attend(world, "a", slots=1)
        (part,) = await submit(world, "a", number=1)
        await submit(world, "a", number=2)
        assert await world.finish(part) == "finished"
        assert await world.manage() == 1

    await same(redis_address, story, AS_IT_IS)


async def test_a_part_that_ends_for_a_session_over_its_tenants_quota(
    redis_address: RedisAddress,
) -> None:
    async def story(world: World) -> None:
        await attend(world, "a")
        await world.store.limit_tenant("acme", max_running=1, max_pending=0)
        (part,) = await submit(world, "a", number=1, tenant="acme")
        assert await submit(world, "a", number=2, tenant="acme") == []
        assert await world.finish(part) == "finished"
        assert await world.manage() == 1

    await same(redis_address, story, AS_IT_IS)


async def test_an_instance_that_takes_no_more(redis_address: RedisAddress) -> None:
    async def story(world: World) -> None:
        await attend(world, "a", "b")
        first, last = await submit(world, "a", "b")
        await world.instance(first.instance).drain()
        assert await world.finish(first) == "processing"
        assert await world.finish(last) == "finished"

    await same(redis_address, story, SHORT_WAY)


async def test_what_leaves_the_short_way(redis_address: RedisAddress) -> None:
    async def story(world: World) -> None:
        await attend(world, *CHAIN)
        await world.attend("slow", 2, name="slow-i")
        await submit(world, "a", number=1, placement=PlacementRule(PACK, "zone"))
        await submit(world, "b", "b", number=2)
        (slow,) = await submit(world, "slow", number=3)
        assert await world.finish(slow) == "failed", "it was not ready"
        (part,) = await submit(world, "c", number=4)
        await world.output(part, 0, b"0")
        assert await world.finish(part, **results(1, first=1)) == "finished"
        assert await world.finish(part) == "finished", "said twice"
        (followed,) = await submit(world, "c", number=5)
        await world.store.watch(followed.session, GATEWAY, everything=True)
        assert await world.finish(followed) == "finished"
        two = [("Out", 0, [b"1"]), ("In", 0, [b"2"])]
        (part,) = await submit(world, "c", number=6)
        assert await world.finish(part, results=two) == "finished"
        (part,) = await submit(world, "c", number=7)
        await world.store.stop(part.session, "enough")
        assert await world.finish(part) == "canceled"

    await same(redis_address, story, AS_IT_IS)
