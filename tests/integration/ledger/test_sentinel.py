"""A real Sentinel, a primary and a replica: the link follows when the primary changes."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from blueengine.errors import StoreAwayError
from blueengine.kit.redis_address import RedisAddress
from blueengine.kit.redis_link import Link, Script
from tests.kit.servers import RealRedis, RealSentinel
from tests.kit.wait import until, wait_until

PASSWORD = "sentinels-own"
COUNT = Script("count", "return redis.call('INCR', 'counted')")


@pytest.fixture
def replica() -> Iterator[RealRedis]:
    with RealRedis() as server:
        yield server


@pytest.fixture
def sentinel(own_redis: RealRedis, replica: RealRedis) -> Iterator[RealSentinel]:
    replica.call("REPLICAOF", "127.0.0.1", str(own_redis.port))
    with RealSentinel(own_redis, password=PASSWORD) as sentinel:
        # it must know the replica before it can name it primary
        wait_until(lambda: "+slave slave" in sentinel.log(), 20)
        wait_until(lambda: _follows(own_redis), 20)
        yield sentinel


def _follows(primary: RealRedis) -> bool:
    """Whether the replica has taken over everything; WAIT answers how many have."""
    return primary.call("SET", "seen", "1") == "+OK" and primary.call("WAIT", "1", "100") == ":1"


def address(sentinel: RealSentinel, **changes: str) -> RedisAddress:
    # the first one is not there, as one in production may not be
    hosts = f"127.0.0.1:1,127.0.0.1:{sentinel.port}"
    url = f"redis+sentinel://{hosts}/{sentinel.name}/0"
    found = RedisAddress.from_url(url)
    return RedisAddress(
        sentinels=found.sentinels,
        primary=changes.get("primary", found.primary),
        sentinel_password=changes.get("password", PASSWORD),
    )


@pytest.fixture
async def link(sentinel: RealSentinel) -> AsyncIterator[Link]:
    link = Link(address(sentinel), patience=30, scripts={"count": COUNT})
    await link.open()
    yield link
    await link.close()


async def port(link: Link) -> int:
    return int((await link.send("CONFIG", "GET", "port"))[1])


async def test_the_primary_is_found_and_its_death_is_survived(
    own_redis: RealRedis, replica: RealRedis, link: Link
) -> None:
    assert await port(link) == own_redis.port
    assert await link.run("count") == 1
    assert await link.send("WAIT", 1, 5000) == 1
    own_redis.kill()
    # all of it waits, and goes to the new primary in its order
    counts = await asyncio.gather(*(link.run("count") for _ in range(3)))
    assert counts == [2, 3, 4]
    assert await port(link) == replica.port


async def test_a_planned_change_is_followed(
    own_redis: RealRedis, replica: RealRedis, sentinel: RealSentinel, link: Link
) -> None:
    assert await link.run("count") == 1
    asked = Link(RedisAddress(port=sentinel.port, password=PASSWORD))
    await asked.open()

    async def promotable() -> bool:
        """Whether Sentinel has asked the replica how it is; one it knows only by name is not fit."""
        [facts] = await asked.send("SENTINEL", "REPLICAS", sentinel.name)
        return dict(zip(facts[::2], facts[1::2], strict=True))[b"master-link-status"] == b"ok"

    await until(promotable, 20)
    await asked.send("SENTINEL", "FAILOVER", sentinel.name)
    await asked.close()
    await until(lambda: "+switch-master" in sentinel.log(), 20)

    async def moved() -> bool:
        await link.run("count")
        return await port(link) == replica.port

    await until(moved, 20)
    # the old one is a replica now: a write that still came to it would be refused
    await until(lambda: "READONLY" in own_redis.call("SET", "x", "1"), 20)


async def test_a_wrong_name_or_password_is_said(sentinel: RealSentinel) -> None:
    for changes, words in (
        ({"primary": "other"}, "it does not know that name"),
        ({"password": "wrong"}, "WRONGPASS"),
    ):
        link = Link(address(sentinel, **changes), patience=0.5)
        with pytest.raises(StoreAwayError, match=words):
            await link.open()
