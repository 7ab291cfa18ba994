"""Redis is full (maxmemory, noeviction): what would grow is refused whole, what frees goes on."""

from collections.abc import AsyncIterator

import pytest

from blueengine import ledger
from blueengine.errors import ReadOnlyStoreError
from blueengine.kit.redis_address import RedisAddress
from blueengine.kit.redis_link import Link
from tests.integration.ledger.world import LONG, World
from tests.kit.servers import RealRedis


@pytest.fixture
async def own_world(own_redis: RealRedis) -> AsyncIterator[World]:
    link = Link(RedisAddress.from_url(own_redis.url), scripts=ledger.load())
    await link.open()
    yield World(link)
    await link.close()


async def test_nothing_is_half_done_while_redis_is_full(own_world: World) -> None:
    world = own_world
    first, second = await world.attend("a", 2), await world.attend("b", 1)
    ending, staying = await world.submit("a"), await world.submit(["a", "b"])
    waiting = await world.submit(["b"])
    [part] = await world.run(ending)
    parts = await world.run(staying)
    expired = await world.submit("c")
    await world.store.stop(expired, "enough")
    await world.link.send("CONFIG", "SET", "maxmemory", "1")

    before = await world.view()
    with pytest.raises(ReadOnlyStoreError, match="maxmemory"):
        await world.submit("a")
    for refused in (
        world.output(parts[0], 0, b"1"),
        world.attend("d"),
        world.store.stop(staying, "enough"),
        world.store.reap(heartbeat_timeout=LONG),
    ):
        with pytest.raises(ReadOnlyStoreError, match="maxmemory"):
            await refused
    assert await world.view() == before, "what was refused has left nothing"

    assert await world.instance(first).beat() == b"ok"
    assert await world.finish(part) == "finished"
    assert await world.store.forget(expired)
    assert not (await world.view()).faults()

    await world.link.send("CONFIG", "SET", "maxmemory", "0")
    assert (await world.submitted("a")).status == "queuing"
    for one in parts:
        await world.finish(one)
    await world.manage()
    assert await world.status(waiting) != "pending"
    assert not (await world.view()).faults()
    assert {first, second} <= set((await world.view()).records)
