"""``python -m apps.management.main``: one replica of management.

It stops on SIGTERM or SIGINT after the step in hand, exit 0. When Redis is not there in time, or a
setting is wrong, it says so in one line, exit 1.
"""

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import AsyncIterator
from typing import Final

from apps.management.loops.janitor import Janitor
from apps.management.loops.matcher import Matcher
from apps.management.loops.orphans import Orphans
from apps.management.loops.reaper import Reaper
from apps.management.loops.uploads import Uploads
from apps.management.loops.webhooks import Deliverer
from apps.management.settings import ManagementSettings
from apps.management.webhooks.sender import Sender
from apps.sessions import outbox, outside, store
from apps.sessions.vault import Vault
from blueengine import ledger
from blueengine.errors import BlueEngineError
from blueengine.ids import nanoid
from blueengine.kit import aio, logs
from blueengine.kit.clock import SystemClock
from blueengine.kit.redis_link import Link, Subscription
from blueengine.transport.blob_stores import store_of
from blueengine.wire import names

log = logging.getLogger("apps.management")

FORGET_CONSUMERS_SECONDS: Final = 300.0


@contextlib.asynccontextmanager
async def opened(link: Link) -> AsyncIterator[Link]:
    """Open a link for the time of the context."""
    await link.open()
    try:
        yield link
    finally:
        await link.close()


@contextlib.asynccontextmanager
async def delivering(
    settings: ManagementSettings, link: Link, sessions: store.SessionStore
) -> AsyncIterator[Deliverer]:
    """Make what delivers webhooks, and have it woken when an event waits."""
    timeout = settings.webhook_timeout_seconds
    rules = outside.Rules.parse(settings.system.outside_allow)
    clock = SystemClock()
    async with outside.client(rules) as client:
        deliverer = Deliverer(
            outbox.Outbox(link, Vault.parse(settings.secret_key)),
            sessions,
            Sender(client, clock, timeout=timeout),
            clock=clock,
            lease=2 * timeout + 10,
        )
        news = Link(
            settings.system.redis,
            subscription=Subscription(
                [names.HOOK_WAKE],
                on_message=lambda _: deliverer.wake(),
                on_connect=deliverer.wake,
            ),
            patience=settings.system.patience_seconds,
        )
        async with opened(news):
            try:
                yield deliverer
            finally:
                await deliverer.close()


async def serve(settings: ManagementSettings, *, stop: asyncio.Event) -> bool:
    """Run all loops until ``stop`` is set: True; False when one ended, which none should."""
    system = settings.system
    replica = nanoid(os.urandom, 12)
    block = settings.wake_block_seconds
    acting = Link(
        system.redis,
        scripts=ledger.load(*store.SCRIPTS, *outbox.SCRIPTS),
        patience=system.patience_seconds,
    )
    reading = Link(system.redis, patience=system.patience_seconds, reply_timeout=block + 15)
    sessions = store.SessionStore(acting)
    async with (
        opened(acting),
        opened(reading),
        delivering(settings, acting, sessions) as deliverer,
        aio.Tasks() as tasks,
    ):
        matcher = Matcher(
            sessions,
            acting,
            reading,
            consumer=replica,
            block_seconds=block,
            claim_seconds=settings.wake_claim_seconds,
        )
        reaper = Reaper(
            sessions,
            heartbeat_timeout=system.heartbeat_timeout,
            tick_seconds=settings.tick_seconds,
        )
        blobs = store_of(system, os.environ, patience=system.patience_seconds)
        janitor = Janitor(sessions, blobs, every=settings.janitor_seconds)

        async def take_over() -> None:
            await matcher.take_over()
            await asyncio.sleep(settings.wake_claim_seconds / 2)

        async def sweep() -> None:
            if await sessions.lease("sweep", replica, seconds=settings.sweep_seconds * 0.9):
                await matcher.sweep()
            await asyncio.sleep(settings.sweep_seconds)

        async def remove_orphans() -> None:
            every = settings.orphan_seconds
            if blobs and await sessions.lease("orphans", replica, seconds=every * 0.9):
                older = settings.orphan_age_seconds
                await Orphans(sessions, blobs, SystemClock(), older=older).remove()
                older = settings.upload_age_seconds
                await Uploads(blobs, SystemClock(), older=older).remove()
            await asyncio.sleep(every)

        async def forget_dead() -> None:
            await asyncio.sleep(FORGET_CONSUMERS_SECONDS)
            await matcher.forget_dead()

        steps = {
            "janitor": janitor.step,
            "forget-dead": forget_dead,
            "orphans": remove_orphans,
            "sweep": sweep,
            "take-over": take_over,
            "reaper": reaper.step,
            "webhooks": deliverer.step,
            "matcher": matcher.take,
        }
        if system.kafka:
            # a third of a second to import, for those who use it
            from apps.management.loops.inboxes import Inboxes  # noqa: PLC0415

            inboxes = Inboxes(sessions, system.kafka, every=settings.inboxes_seconds)
            steps["inboxes"] = inboxes.step
        for name, step in steps.items():
            tasks.start(aio.forever(step, name=name), name=name)
        log.info("management replica %s works on Redis at %s", replica, system.redis)
        return await tasks.until(stop)


async def _run(settings: ManagementSettings) -> int:
    async with aio.stop_signals() as stop:
        working = asyncio.ensure_future(serve(settings, stop=stop))
        stopping = asyncio.ensure_future(stop.wait())
        # a stop must not wait for a Redis that never comes
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not working.done():
            await asyncio.wait((working,), timeout=5.0)
        if not working.done():
            await aio.cancel(working)
            return 0
        asked = working.result()
        log.info("stopped")
        return 0 if asked else 1


def main() -> int:
    """Run one replica; the exit code."""
    try:
        settings = ManagementSettings.load(os.environ)
        logs.configure("management", settings.system.log_level)
        return aio.run(_run(settings))
    except BlueEngineError as exc:
        sys.stderr.write(f"error: {exc}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
