"""The fault proxy does to real connections what it says."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from blueengine.kit.redis_address import RedisAddress
from blueengine.kit.redis_link import Link
from tests.kit.fault_proxy import FaultProxy
from tests.kit.servers import RealRedis
from tests.kit.wait import until


@pytest.fixture
def proxy(redis_server: RealRedis) -> Iterator[FaultProxy]:
    with FaultProxy(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
async def link(proxy: FaultProxy) -> AsyncIterator[Link]:
    link = Link(RedisAddress(host="127.0.0.1", port=proxy.port, password=""), patience=20)
    await link.open()
    yield link
    await link.close()


async def test_everything_passes_while_nothing_is_wrong(proxy: FaultProxy, link: Link) -> None:
    body = bytes(range(256)) * 40_000
    await link.send("SET", "large", body)
    assert await link.send("GET", "large") == body
    assert proxy.passed > 2 * len(body)
    assert proxy.connections == 1


async def test_a_reset_breaks_connections_and_lets_new_ones_in(
    proxy: FaultProxy, link: Link
) -> None:
    first = link._wire
    proxy.reset()
    await until(lambda: link._wire not in {first, None}, 10)
    assert await link.send("ECHO", "x") == b"x"


async def test_nobody_comes_through_a_cut(proxy: FaultProxy, link: Link) -> None:
    with proxy.cut():
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)
        waiting = link.send("INCR", "times")
        await until(lambda: proxy.connections == 0)
        assert not waiting.done()
    assert await asyncio.wait_for(waiting, 20) == 1


async def test_what_is_sent_into_a_freeze_arrives_after_it(proxy: FaultProxy, link: Link) -> None:
    with proxy.frozen():
        waiting = link.send("INCR", "times")
        done, _ = await asyncio.wait({waiting}, timeout=0.2)
        assert not done
        assert proxy.connections == 1
    assert await asyncio.wait_for(waiting, 20) == 1


async def test_a_delay_holds_for_both_ways(proxy: FaultProxy, link: Link) -> None:
    loop = asyncio.get_running_loop()
    proxy.delay(0.1)
    began = loop.time()
    await link.send("PING")
    assert loop.time() - began >= 0.2
    proxy.heal()


async def test_the_port_stays_the_same_after_a_cut(proxy: FaultProxy, link: Link) -> None:
    port = proxy.port
    with proxy.cut():
        pass
    assert proxy.port == port
    assert await link.send("ECHO", "x") == b"x"
