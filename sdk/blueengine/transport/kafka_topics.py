"""Inboxes as Kafka topics: how to make, list and remove them.

Used by an instance for its own inbox, and by management for those that dead instances left.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, UnknownTopicOrPartitionError, for_code

from blueengine.errors import ChannelError
from blueengine.settings.kafka import KafkaSettings
from blueengine.transport.kafka_client import (
    BROKEN,
    OVERHEAD_BYTES,
    REQUEST_MS,
    at_most,
    away,
    client_options,
    last_word,
)
from blueengine.wire import names

SEGMENT_BYTES: Final = 32 << 20
"""Brokers remove what was read in files of this size."""
INDEX_BYTES: Final = 1 << 20
LONGEST_SECONDS: Final = 60.0
"""How long what is asked of one connection may take together; each request has its own limit."""
CLOSE_SECONDS: Final = 2.0


class Topics:
    """Makes, lists and removes inboxes over one connection; from ``topics``."""

    def __init__(self, admin: AIOKafkaAdminClient, settings: KafkaSettings) -> None:
        """Use a client that is connected."""
        self._admin = admin
        self._settings = settings

    async def make(self, instance: str) -> bool:
        """Make an instance's inbox; False when there was one already."""
        topic = names.inbox_topic(self._settings.topic_prefix, instance)
        most = self._settings.max_message_bytes + OVERHEAD_BYTES
        configs = {
            "cleanup.policy": "delete",
            "compression.type": "producer",
            "max.message.bytes": str(most),
            "retention.ms": str(int(self._settings.retention_seconds * 1000)),
            "retention.bytes": "-1",
            "segment.bytes": str(max(SEGMENT_BYTES, most)),
            "segment.index.bytes": str(INDEX_BYTES),
        }
        new = NewTopic(
            topic,
            num_partitions=1,
            replication_factor=self._settings.replication or -1,
            replica_assignments=None if self._settings.replication else {},
            topic_configs=configs,
        )
        response: Any = await self._admin.create_topics([new], timeout_ms=REQUEST_MS)
        for _, code, *words in response.topic_errors:
            error = for_code(code)
            if error is TopicAlreadyExistsError:
                return False
            if code and error.retriable:
                raise error
            if code:
                told = words[0] if words and words[0] else error.__name__
                raise ChannelError(f"Kafka does not make the topic {topic}: {told}")
        return True

    async def remove(self, instances: Iterable[str]) -> None:
        """Remove inboxes; those that are gone already are fine."""
        prefix = self._settings.topic_prefix
        wanted = [names.inbox_topic(prefix, instance) for instance in instances]
        if not wanted:
            return
        response: Any = await self._admin.delete_topics(wanted, timeout_ms=REQUEST_MS)
        for topic, code in response.topic_error_codes:
            error = for_code(code)
            if code and error is not UnknownTopicOrPartitionError:
                raise ChannelError(f"Kafka does not remove the topic {topic}: {error.__name__}")

    async def owners(self) -> list[str]:
        """Return the instances that have an inbox."""
        prefix = self._settings.topic_prefix
        found = [names.instance_of(prefix, topic) for topic in await self._admin.list_topics()]
        return [instance for instance in found if instance is not None]

    async def ping(self) -> None:
        """See that a broker answers."""
        await self._admin.describe_cluster()


@asynccontextmanager
async def topics(settings: KafkaSettings) -> AsyncGenerator[Topics]:
    """Connect for the time of the context, a minute at most.

    Raises:
        ChannelsAwayError: No broker can be reached, or the connection was lost.
        SettingsError: A file for TLS cannot be read.
    """
    admin = AIOKafkaAdminClient(**client_options(settings))
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            await admin.start()
            yield Topics(admin, settings)
    except BROKEN as exc:  # TimeoutError is an OSError
        raise away(settings, last_word.text or repr(exc)) from exc
    finally:
        await at_most(admin.close(), CLOSE_SECONDS)
