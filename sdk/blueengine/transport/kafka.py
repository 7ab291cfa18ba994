"""Data channels over Kafka: an instance's inbox is a topic of one partition, read without a group.

A message's header travels as one Kafka header; the payload is the record's value, untouched. Of messages
that share a record the payloads follow each other, and so do their headers, each with the lengths of what
goes under it. What was read is removed before its retention is over, so brokers keep little of it.
"""

import asyncio
import logging
import struct
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from blueengine.errors import BlueEngineError, ChannelError, ChannelsAwayError, DecodeError
from blueengine.kit import aio
from blueengine.kit.backoff import delays
from blueengine.kit.redis_link import Reply
from blueengine.settings.kafka import KafkaSettings
from blueengine.transport.base import Run, refusal, refused, singly, too_large
from blueengine.transport.kafka_client import OVERHEAD_BYTES
from blueengine.transport.kafka_inbox import KafkaInbox
from blueengine.transport.kafka_outbox import KafkaOutbox
from blueengine.transport.kafka_topics import Topics
from blueengine.wire import codec, names
from blueengine.wire.envelope import Header

if TYPE_CHECKING:
    from confluent_kafka import Message

log = logging.getLogger(__name__)

SETTING: Final = "KAFKA_MAX_MESSAGE_BYTES"
HEADER: Final = "be"
"""Name of the Kafka header that holds a message's header."""
SIZES: Final = "n"
"""Name of the one behind it: the length of each payload that goes under it."""
FRAMING_BYTES: Final = 4096
"""What Kafka itself puts round a message, at most."""
TRIM_BYTES: Final = 16 << 20
"""What was read is removed when it is more than this, or when nothing comes for a while."""
STOP_SECONDS: Final = 2.0


class KafkaTransport:
    """The transport of one instance."""

    separate = True

    def __init__(self, settings: KafkaSettings, instance: str, *, patience: float) -> None:
        """Speak for ``instance``; what cannot be delivered within ``patience`` seconds fails."""
        self._settings = settings
        self._instance = instance
        self._patience = patience
        self._topic = names.inbox_topic(settings.topic_prefix, instance)
        self._topics: Topics | None = None
        self._outbox = KafkaOutbox(settings, patience=patience, is_there=self._is_there)
        self._inbox = KafkaInbox(settings, self._topic, patience=patience)
        self._untrimmed = self._untrimmed_bytes = 0
        self._trimming: asyncio.Task[None] | None = None
        self._made = False

    # -- life -------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Make the inbox and connect, waiting for Kafka as long as the patience says.

        Raises:
            ChannelsAwayError: It did not answer in time.
            ChannelError: It refuses to make the topic.
            SettingsError: A file for TLS cannot be read.
        """
        error: BlueEngineError | None = None
        self._topics = Topics(self._settings)
        try:
            async with asyncio.timeout(self._patience):
                for delay in delays(0.1, 2.0):
                    try:
                        await self._connect(self._topics)
                    except ChannelsAwayError as exc:
                        error = exc
                        await asyncio.sleep(delay)
                    else:
                        return
        except TimeoutError:
            why = error or self._topics.complaint
            raise ChannelsAwayError(
                f"no Kafka at {self._settings} within {self._patience:g} s; is it running there?"
                + (f" ({why})" if why else "")
            ) from error

    async def _connect(self, topics: Topics) -> None:
        fresh = await topics.make(self._instance) or self._made
        self._made = True
        await self._outbox.open(self._topic)
        # what is in an older one was for an earlier process of this name
        await self._inbox.open(0 if fresh else None)

    async def close(self) -> None:
        """Disconnect and remove the inbox; what was not acknowledged yet fails."""
        if self._trimming:
            await aio.cancel(self._trimming)
        await asyncio.gather(self._inbox.close(), self._outbox.close())
        if self._topics is None:
            return
        if self._made:
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await self._topics.remove([self._instance])
            except (ChannelError, TimeoutError) as exc:
                log.warning("the inbox is left to be removed by management: %s", exc)
        await self._topics.close()

    async def _is_there(self, topic: str) -> bool:
        return self._topics is not None and await self._topics.is_there(topic)

    # -- writing ----------------------------------------------------------------------------------

    def send(
        self, instance: str, header: Header, payload: bytes, *more: bytes
    ) -> "asyncio.Future[Reply]":
        """Queue messages as one record."""
        limit = self._settings.max_message_bytes
        if above := refusal(limit, SETTING, header, payload, *more):
            return above
        value = payload
        if more:
            value = b"".join((payload, *more))
            if len(value) > limit:
                messages = singly(header, (payload, *more))
                return asyncio.gather(*(self.send(instance, *message) for message in messages))
        encoded = codec.encode(header)
        if len(encoded) > (most := OVERHEAD_BYTES - FRAMING_BYTES):
            return refused(too_large(header.channel, len(encoded), most, SETTING))
        sizes = struct.pack(f"<{len(more) + 1}I", len(payload), *map(len, more))
        topic = names.inbox_topic(self._settings.topic_prefix, instance)
        # somebody may have made the topic smaller than we asked for
        refusing = partial(too_large, header.channel, len(value), limit, SETTING)
        return self._outbox.send(topic, [(HEADER, encoded), (SIZES, sizes)], value, refusing)

    def announce(self, _instance: str, _header: Header) -> None:
        """It would cost a record."""

    # -- reading ----------------------------------------------------------------------------------

    async def receive(self) -> list[Run]:
        """Wait for messages and return them, oldest first.

        Raises:
            ChannelsAwayError: Kafka has been silent for longer than the patience.
            InboxLostError: The topic was removed, or what it held was before it was read.
        """
        records = await self._inbox.read()
        messages: list[Run] = []
        for record in records:
            self._untrimmed_bytes += len(record)
            try:
                messages += _runs(record)
            except (DecodeError, TypeError, ValueError, struct.error):
                log.exception("dropped a message that this version cannot read")
        self._untrimmed += len(records)
        if self._untrimmed_bytes > TRIM_BYTES or (self._untrimmed and not records):
            self._trim()
        return messages

    def _trim(self) -> None:
        """Have brokers remove what was read, beside everything else."""
        if self._topics is not None and (self._trimming is None or self._trimming.done()):
            self._untrimmed = self._untrimmed_bytes = 0
            until = self._inbox.position
            self._trimming = asyncio.get_running_loop().create_task(
                self._remove_until(self._topics, until), name="kafka-trim"
            )

    async def _remove_until(self, topics: Topics, offset: int) -> None:
        try:
            await topics.shorten(self._instance, offset)
        except ChannelError as exc:
            log.info("what was read is removed later: %s", exc)


def _runs(record: "Message[bytes, bytes]") -> list[Run]:
    value = record.value() or b""
    named = cast("list[tuple[str, bytes]]", record.headers() or [])
    headers = [data for _, data in named]
    runs: list[Run] = []
    end = 0
    for header, sizes in zip(headers[::2], headers[1::2], strict=True):
        payloads = []
        for (size,) in struct.iter_unpack("<I", sizes):
            payloads.append(value[end : end + size])
            end += size
        runs.append((codec.decode(Header, header), payloads))
    return runs
