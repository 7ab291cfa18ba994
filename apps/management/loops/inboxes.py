"""Removes the Kafka inboxes of instances that are gone for good.

An instance that ends in order removes its own. One that died leaves it, and so does one whose end
nobody heard of; whoever has no attendance at two looks in a row is gone (the first look may come
between the making of an inbox and the attendance).
"""

import asyncio
import logging

from apps.sessions.store import SessionStore
from blueengine.settings.kafka import KafkaSettings
from blueengine.transport import kafka_topics

log = logging.getLogger(__name__)


class Inboxes:
    """Looks at all inboxes now and then. Any number of replicas may do so at the same time."""

    def __init__(self, store: SessionStore, kafka: KafkaSettings, *, every: float) -> None:
        """Look every so many seconds; an instance attends sooner after it made its inbox."""
        self._store = store
        self._kafka = kafka
        self._every = every
        self._orphans: set[str] = set()

    async def step(self) -> None:
        """Look once, then sleep."""
        await self.look()
        await asyncio.sleep(self._every)

    async def look(self) -> list[str]:
        """Remove what had no owner at this look and the one before; whose inboxes these were."""
        async with kafka_topics.topics(self._kafka) as topics:
            owners = await topics.owners()
            orphans = set(owners) - await self._store.attending(owners)
            gone = sorted(orphans & self._orphans)
            await topics.remove(gone)
        self._orphans = orphans.difference(gone)
        if gone:
            log.info("removed the inboxes of %d instances that are gone", len(gone))
        return gone
