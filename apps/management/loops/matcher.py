"""Gives free slots to sessions that wait for them, as soon as both are there.

The ledger writes an engine's id to the wake stream whenever it has capacity and waiting sessions.
One replica takes each entry (a consumer group), matches the engine, and deletes the entry after.
What a dead replica took is taken over, and a sweep now and then finds engines whose wake-up was
lost altogether (Redis came back with an older state).
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from apps.sessions.store import SessionStore
from blueengine.errors import StoreReplyError
from blueengine.kit.redis_link import Link, Reply
from blueengine.wire import names

log = logging.getLogger(__name__)

ENTRIES_AT_ONCE: Final = 64
FORGET_CONSUMER_MS: Final = 600_000
"""A replica that has not read for so long is gone; a living one reads every few seconds."""


class Matcher:
    """Takes wake-ups as one consumer. ``take``, ``take_over`` and ``sweep`` are steps of loops."""

    def __init__(
        self,
        store: SessionStore,
        link: Link,
        reading: Link,
        *,
        consumer: str,
        block_seconds: float,
        claim_seconds: float,
    ) -> None:
        """Match in ``store``.

        Args:
            store: Where sessions are placed.
            link: For short commands.
            reading: For nothing but the blocking read; its reply timeout is above the block.
            consumer: Name of this replica, used by no other.
            block_seconds: How long one read waits.
            claim_seconds: After this time an unanswered wake-up of another replica is taken over.
        """
        self._store = store
        self._link = link
        self._reading = reading
        self._consumer = consumer
        self._block_ms = int(block_seconds * 1000)
        self._claim_ms = int(claim_seconds * 1000)

    async def take(self) -> None:
        """Wait for wake-ups and act on them."""
        try:
            reply = await self._reading.send(
                "XREADGROUP", "GROUP", names.WAKE_GROUP, self._consumer,
                "COUNT", ENTRIES_AT_ONCE, "BLOCK", self._block_ms, "STREAMS", names.WAKE, ">",
            )  # fmt: skip
        except StoreReplyError as exc:
            # NOGROUP at first; UNBLOCKED when the stream was deleted under the read
            if not str(exc).startswith(("NOGROUP", "UNBLOCKED")):
                raise
            await self._make_group()
            return
        if reply:
            await self._act(reply[0][1])

    async def take_over(self) -> int:
        """Act on wake-ups that their replica did not answer; how many entries these were."""
        try:
            reply = await self._link.send(
                "XAUTOCLAIM", names.WAKE, names.WAKE_GROUP, self._consumer, self._claim_ms, "0-0",
                "COUNT", ENTRIES_AT_ONCE,
            )  # fmt: skip
        except StoreReplyError as exc:
            if not str(exc).startswith("NOGROUP"):
                raise
            await self._make_group()
            return 0
        # Redis 6.2 answers nil for entries that are deleted meanwhile; they need no more than an ack
        entries = [entry for entry in reply[1] if entry]
        if entries:
            log.info("took over %d wake-ups", len(entries))
            await self._act(entries)
        return len(entries)

    async def sweep(self) -> int:
        """Match every engine that has sessions waiting and free slots; how many were placed."""
        engines = [word.decode() for word in await self._link.send("SMEMBERS", names.ENGINES)]
        looks = [
            (
                engine,
                self._link.send("ZCARD", names.waiting(engine)),
                self._link.send("ZCOUNT", names.free(engine), 1, "+inf"),
            )
            for engine in engines
        ]
        placed = 0
        for engine, waiting, free in looks:
            # both are awaited, or a reply that is an error would be nobody's
            if all([await waiting, await free]):
                placed += await self._store.match(engine)
        if placed:
            log.warning("the sweep placed %d sessions that no wake-up had", placed)
        return placed

    async def forget_dead(self) -> None:
        """Remove consumers of replicas that are long gone and left nothing unanswered."""
        for flat in await self._link.send("XINFO", "CONSUMERS", names.WAKE, names.WAKE_GROUP):
            facts = dict(zip(flat[::2], flat[1::2], strict=True))
            if facts[b"pending"] == 0 and facts[b"idle"] > FORGET_CONSUMER_MS:
                await self._link.send(
                    "XGROUP", "DELCONSUMER", names.WAKE, names.WAKE_GROUP, facts[b"name"]
                )

    async def _act(self, entries: Sequence[Reply]) -> None:
        """Match the engines of these entries, each once, then delete the entries."""
        ids = [entry_id for entry_id, _ in entries]
        engines = dict.fromkeys(flat[1].decode() for _, flat in entries if flat and flat[0] == b"e")
        matches = [self._store.match(engine) for engine in engines]
        outcomes = await asyncio.gather(*matches, return_exceptions=True)
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if errors:
            raise errors[0]  # the entries stay and are taken over in a while
        replies = (
            self._link.send("XACK", names.WAKE, names.WAKE_GROUP, *ids),
            self._link.send("XDEL", names.WAKE, *ids),
        )
        await asyncio.gather(*replies)

    async def _make_group(self) -> None:
        try:
            await self._link.send("XGROUP", "CREATE", names.WAKE, names.WAKE_GROUP, "0", "MKSTREAM")
        except StoreReplyError as exc:
            if not str(exc).startswith("BUSYGROUP"):
                raise
