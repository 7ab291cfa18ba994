"""A Redis and services on it beside the stack, for what must not meet the rest."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from apps.local import redis_server
from apps.local.redis_server import free_port
from apps.sessions.store import SCRIPTS, SessionStore
from bench.stack import Stack, is_ready, tell
from blueengine import ledger
from blueengine.kit.redis_address import RedisAddress
from blueengine.kit.redis_link import Link


@dataclass(frozen=True)
class World:
    """What it is spoken to by."""

    name: str
    port: int
    """Of its gateway."""
    link: Link
    store: SessionStore
    environment: dict[str, str]
    """Of its services, beside that of the stack."""


@contextlib.asynccontextmanager
async def a_world(stack: Stack, name: str, **environment: str) -> AsyncIterator[World]:
    """Start a Redis for the time of the context."""
    logs, port = stack.root / "logs", free_port()
    redis = await redis_server.run(stack.root / name, logs=logs / name, notice=tell)
    async with contextlib.AsyncExitStack() as opened:
        opened.push_async_callback(redis.stop)
        link = Link(RedisAddress.from_url(redis.url), scripts=ledger.load(*SCRIPTS))
        await link.open()
        opened.push_async_callback(link.close)
        settings = {"REDIS_URL": redis.near_url, "RESTFUL_PORT": str(port), **environment}
        yield World(name, port, link, SessionStore(link), settings)


@contextlib.asynccontextmanager
async def a_gateway(stack: Stack, world: World) -> AsyncIterator[None]:
    """Run a gateway in a world."""
    name = f"gateway-{world.name}"
    await stack.launch(name, ["-m", "apps.restful.main"], **world.environment)
    try:
        await stack.until(name, lambda _: is_ready(world.port))
        yield
    finally:
        await stack.stop(name)


@contextlib.asynccontextmanager
async def managements(stack: Stack, world: World, count: int) -> AsyncIterator[None]:
    """Run so many replicas of management in a world."""
    replicas = [f"management-{world.name}-{number}" for number in range(count)]
    for name in replicas:
        await stack.launch(name, ["-m", "apps.management.main"], **world.environment)
    try:
        for name in replicas:
            await stack.until(name, lambda name: _works(stack, name))
        yield
    finally:
        await stack.stop(*replicas)


async def _works(stack: Stack, name: str) -> bool:
    return any("management replica" in line for line in stack.children[name].tail)
