"""Webhooks when processes die: management by kill -9 with a delivery under way, and Redis."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager

from apps.sessions.outbox import Outbox
from apps.sessions.store import SessionStore
from blueengine import ledger
from blueengine.kit.redis_address import RedisAddress
from blueengine.kit.redis_link import Link
from blueengine.wire.webhook import SESSION_CHANGED, Webhook
from tests.integration.ledger.world import World
from tests.integration.management.test_process import ended, management
from tests.kit.hooks import Received, Receiver, answer
from tests.kit.servers import RealRedis
from tests.kit.wait import until

ALLOW = {"OUTSIDE_ALLOW": "loopback", "WEBHOOK_TIMEOUT_SECONDS": "0.5"}
"""With so short a timeout, what a dead replica had is taken over after 11 seconds."""


@asynccontextmanager
async def linked(server: RealRedis) -> AsyncIterator[Link]:
    link = Link(RedisAddress.from_url(server.url), scripts=ledger.load(), patience=20)
    await link.open()
    try:
        yield link
    finally:
        await link.close()


async def ended_session(world: World, receiver: Receiver) -> str:
    engine = await world.attend("ocr")
    hook = Webhook(url=receiver.url, receiver=receiver.receiver, types=(SESSION_CHANGED,))
    session = await world.submit("ocr", webhooks=[hook])
    (part,) = await world.parts(session)
    await world.ready(part)
    await world.finish(part)
    await world.instance(engine).leave("done")
    return session


def all_told(link: Link, sessions: list[str]) -> Callable[[], object]:
    async def told() -> bool:
        seen = [(await Outbox(link).watching(session, 1, last=0))[0] for session in sessions]
        return all(hook.delivered == hook.told == 4 for hook in seen)

    return told


def in_order(requests: list[Received]) -> bool:
    """Whether each session's events came in order, once repetitions are left out."""
    by_session: dict[str, list[str]] = {}
    for request in requests:
        by_session.setdefault(request.body["sessionId"], []).append(request.body["status"])
    return all(
        statuses == ["pending", "queuing", "processing", "finished"]
        for statuses in by_session.values()
    )


async def test_another_replica_goes_on_with_what_a_killed_one_had_under_way(
    redis_server: RealRedis, link: Link
) -> None:
    held = asyncio.Event()

    async def hold(_: Received) -> bytes:
        held.set()
        await asyncio.sleep(0.4)
        return answer()

    async with Receiver(hold) as receiver:
        with ExitStack() as stack:
            first = stack.enter_context(management(redis_server.url, **ALLOW))
            session = await ended_session(World(link), receiver)
            await asyncio.wait_for(held.wait(), 30)
            first.send_signal(signal.SIGKILL)
            first.wait()
            second = stack.enter_context(management(redis_server.url, **ALLOW))
            receiver.behave = lambda _: answer()
            await until(all_told(link, [session]), 50)
            assert in_order(receiver.taken())
            ended(second)
    record = await SessionStore(link).read(session)
    assert record is not None
    assert record.status == "finished"


async def test_nothing_is_lost_when_redis_is_killed_and_comes_back(own_redis: RealRedis) -> None:
    async with Receiver(lambda _: answer(503, b"")) as receiver, linked(own_redis) as link:
        world = World(link)
        with management(own_redis.url, **ALLOW) as process:
            sessions = [await ended_session(world, receiver) for _ in range(3)]
            await until(lambda: len(receiver.got) >= 3, 30)
            own_redis.restart(hard=True)
            receiver.behave = lambda _: answer()
            await until(all_told(link, sessions), 50)
            assert in_order(receiver.taken())
            ended(process)
