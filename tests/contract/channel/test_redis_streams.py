"""The suites against Redis Streams."""

from collections.abc import AsyncIterator

import pytest

from blueengine.kit.redis_address import RedisAddress
from blueengine.kit.redis_link import Link
from blueengine.transport import redis_streams
from blueengine.transport.base import Transport
from blueengine.transport.redis_streams import RedisStreams
from blueengine.wire import names
from tests.contract.channel.suite import LIMIT, ChannelContract, Line, ReconnectContract
from tests.kit.servers import RealRedis


class RedisLine(Line):
    def __init__(self, server: RealRedis) -> None:
        self._server = server
        self._links: list[Link] = []
        self._attending: set[str] = set()

    async def attend(self, instance: str) -> Transport:
        links = await self.link(), await self.link()
        transport = RedisStreams(*links, instance, max_message_bytes=LIMIT)
        await transport.open()
        self._attending.add(instance)
        return transport

    async def leave(self, instance: str) -> None:
        await (await self.link()).send("DEL", names.inbox(instance))
        self._attending.discard(instance)

    async def left_over(self) -> list[str]:
        keys = [key.decode() for key in await (await self.link()).send("KEYS", "*")]
        return [key for key in keys if key not in map(names.inbox, self._attending)]

    async def kept(self, instance: str) -> int:
        length: int = await (await self.link()).send("XLEN", names.inbox(instance))
        return length

    async def break_connections(self) -> None:
        self._server.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    async def restart(self) -> None:
        self._server.restart()

    async def link(self) -> Link:
        link = Link(RedisAddress.from_url(self._server.url), patience=20)
        await link.open()
        self._links.append(link)
        return link

    async def close(self) -> None:
        for link in self._links:
            await link.close()


class TestRedisStreams(ChannelContract):
    @pytest.fixture
    async def line(
        self, redis_server: RealRedis, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[Line]:
        monkeypatch.setattr(redis_streams, "BLOCK_MS", 200)  # what is idle tidies up soon
        line = RedisLine(redis_server)
        yield line
        await line.close()


class TestRedisStreamsAway(ReconnectContract):
    @pytest.fixture
    async def line(self, own_redis: RealRedis) -> AsyncIterator[Line]:
        line = RedisLine(own_redis)
        yield line
        await line.close()
