"""Inboxes as Kafka topics: how to make, list, shorten and remove them.

Used by an instance for its own inbox, and by management for those that dead instances left.
"""

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from blueengine.errors import ChannelError
from blueengine.settings.kafka import KafkaSettings
from blueengine.transport.kafka_client import (
    OVERHEAD_BYTES,
    REQUEST_SECONDS,
    Complaints,
    answer,
    away,
    error_of,
    in_thread,
    make,
)
from blueengine.wire import names

SEGMENT_BYTES: Final = 32 << 20
"""Brokers remove what was read in files of this size."""
INDEX_BYTES: Final = 1 << 20


class Topics:
    """Makes, lists, shortens and removes inboxes.

    Every method raises ChannelsAwayError when no broker does it in time, and ChannelError when
    one refuses.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        """Connect in the background.

        Raises:
            SettingsError: A file for TLS cannot be used.
        """
        self._settings = settings
        self._complaints = Complaints()
        self._admin = [make(AdminClient, settings, self._complaints, {})]

    async def make(self, instance: str) -> bool:
        """Make an instance's inbox; False when there was one already."""
        topic = self._topic(instance)
        most = self._settings.max_message_bytes + OVERHEAD_BYTES
        config = {
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
            config=config,
        )
        asked = self._client.create_topics([new], request_timeout=REQUEST_SECONDS)
        code = await self._told(f"make the topic {topic}", asked[topic])
        return code != KafkaError.TOPIC_ALREADY_EXISTS

    async def remove(self, instances: Iterable[str]) -> None:
        """Remove inboxes; those that are gone already are fine."""
        wanted = [self._topic(instance) for instance in instances]
        if not wanted:
            return
        asked = self._client.delete_topics(wanted, request_timeout=REQUEST_SECONDS)
        for topic in wanted:
            await self._told(f"remove the topic {topic}", asked[topic])

    async def shorten(self, instance: str, offset: int) -> None:
        """Remove what an inbox held before an offset."""
        until = TopicPartition(self._topic(instance), 0, offset)
        asked = self._client.delete_records([until], request_timeout=REQUEST_SECONDS)
        await self._told(f"remove what was read of {until.topic}", *asked.values())

    async def owners(self) -> list[str]:
        """Return the instances that have an inbox."""
        prefix, listed = self._settings.topic_prefix, await self._listed()
        found = [names.instance_of(prefix, topic) for topic in listed]
        return [instance for instance in found if instance is not None]

    async def is_there(self, topic: str) -> bool:
        """Whether brokers know of a topic."""
        listed = await self._listed(topic)
        return listed[topic].error is None

    async def ping(self) -> None:
        """See that a broker answers."""
        client = self._client
        try:
            await answer(client.describe_cluster(request_timeout=REQUEST_SECONDS))
        except KafkaException as exc:
            raise self._away(error_of(exc)) from exc

    async def close(self) -> None:
        """Disconnect."""
        if self._admin:
            await in_thread(self._admin.clear)  # which waits for threads of the client to end

    @property
    def _client(self) -> AdminClient:
        return self._admin[0]

    def _topic(self, instance: str) -> str:
        return names.inbox_topic(self._settings.topic_prefix, instance)

    async def _listed(self, topic: str | None = None) -> dict[str, Any]:
        client = self._client
        try:
            listed = await in_thread(lambda: client.list_topics(topic, timeout=REQUEST_SECONDS))
        except KafkaException as exc:
            raise self._away(error_of(exc)) from exc
        topics: dict[str, Any] = listed.topics
        return topics

    async def _told(self, what: str, asked: Any) -> int:
        """Wait for an answer; return what it says as a code of Kafka, 0 when it was done."""
        try:
            await answer(asked)
        except KafkaException as exc:
            error = error_of(exc)
            code: int = error.code()
            if code in {KafkaError.TOPIC_ALREADY_EXISTS, KafkaError.UNKNOWN_TOPIC_OR_PART}:
                return code
            if code < 0 or error.retriable():  # below 0: of the client itself, not of a broker
                raise self._away(error) from exc
            raise ChannelError(f"Kafka does not {what}: {error.str()}") from exc
        return 0

    @property
    def complaint(self) -> str:
        """What the client last complained of."""
        self._client.poll(0)  # it says so to whoever polls it
        return self._complaints.text

    def _away(self, error: KafkaError) -> ChannelError:
        return away(self._settings, self.complaint or error.str())


@asynccontextmanager
async def topics(settings: KafkaSettings) -> AsyncGenerator[Topics]:
    """Have a connection for the time of the context.

    Raises:
        SettingsError: A file for TLS cannot be used.
    """
    connected = Topics(settings)
    try:
        yield connected
    finally:
        await connected.close()
