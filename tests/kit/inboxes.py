"""Look into instances' inboxes, and put things in, whatever transport carries them."""

import asyncio
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from blueengine.kit.redis_link import Link
from blueengine.settings.kafka import KafkaSettings
from blueengine.settings.system import SystemSettings
from blueengine.transport.kafka import HEADER, SIZES
from blueengine.wire import names

ROUGHLY: Final = 1 << 15


class Inboxes(Protocol):
    """The inboxes of the instances of one platform."""

    async def put(self, instance: str, header: bytes, payload: bytes) -> None:
        """Put a message in, however wrong it may be."""

    async def newest(self, instance: str) -> object:
        """Return something that is another one after each message, or after a few."""

    async def kept(self, instance: str) -> int:
        """Return how many messages are kept, read or not."""


class RedisInboxes:
    def __init__(self, link: Link) -> None:
        self._link = link

    async def put(self, instance: str, header: bytes, payload: bytes) -> None:
        key = names.inbox(instance)
        await self._link.send("XADD", key, "NOMKSTREAM", "*", "h", header, "p", payload)

    async def newest(self, instance: str) -> object:
        facts = await self._link.send("XINFO", "STREAM", names.inbox(instance))
        return dict(zip(facts[::2], facts[1::2], strict=True))[b"last-generated-id"]

    async def kept(self, instance: str) -> int:
        length: int = await self._link.send("XLEN", names.inbox(instance))
        return length


class DirectInboxes(RedisInboxes):
    """Of engines on one host: what is put in comes the far way, what they write themselves does not."""

    async def newest(self, instance: str) -> object:
        """Return how much the process has read, so roughly that heartbeats make no difference."""
        pid = await self._link.send("HGET", names.instance(instance), "pid")
        facts = await asyncio.to_thread(Path("/proc", pid.decode(), "io").read_text)
        return int(facts.split()[1]) // ROUGHLY  # after "rchar:"


class KafkaInboxes:
    def __init__(self, settings: KafkaSettings, producer: Any, consumer: Any) -> None:
        self._settings = settings
        self._producer = producer
        self._consumer = consumer

    async def put(self, instance: str, header: bytes, payload: bytes) -> None:
        topic = names.inbox_topic(self._settings.topic_prefix, instance)
        headers = [(HEADER, header), (SIZES, struct.pack("<I", len(payload)))]
        await self._producer.send_and_wait(topic, payload, headers=headers)

    async def newest(self, instance: str) -> object:
        inbox = self._inbox(instance)
        return (await self._consumer.end_offsets([inbox]))[inbox]

    async def kept(self, instance: str) -> int:
        inbox = self._inbox(instance)
        first = await self._consumer.beginning_offsets([inbox])
        last = await self._consumer.end_offsets([inbox])
        kept: int = last[inbox] - first[inbox]
        return kept

    def _inbox(self, instance: str) -> TopicPartition:
        return TopicPartition(names.inbox_topic(self._settings.topic_prefix, instance), 0)


@asynccontextmanager
async def inboxes(channels: Mapping[str, str], link: Link) -> AsyncIterator[Inboxes]:
    """Open the inboxes that engines with these settings have."""
    system = SystemSettings.load(channels, config_variable="")
    settings = system.kafka
    if settings is None:
        yield DirectInboxes(link) if system.local_channels else RedisInboxes(link)
        return
    producer = AIOKafkaProducer(bootstrap_servers=settings.addresses)
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.addresses)
    try:
        await producer.start()
        await consumer.start()
        yield KafkaInboxes(settings, producer, consumer)
    finally:
        await producer.stop()
        await consumer.stop()
