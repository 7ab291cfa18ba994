"""Data channels over Kafka: an instance's inbox is a topic of one partition, read without a group.

Writers send one batch at a time to each inbox; what comes meanwhile is the next batch, so batches
grow with the load and a single message waits for nothing. In a flow of small messages the next batch
waits as long as the last one took, at most, for more to share it: that is what saves a broker work.
A batch is sent again, in order, until all copies that the brokers want have it (an idempotent producer,
acks=all); where that ends, with a new producer, the reader knows a repetition by its sequence number.

A message's header travels as one Kafka header; the payload is the record's value, untouched. A run
of messages is one record. What was read is removed before its retention is over, so brokers keep little of it.
"""

import asyncio
import logging
import struct
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.client import ConnectionGroup
from aiokafka.errors import MessageSizeTooLargeError, TopicAuthorizationFailedError
from aiokafka.protocol.admin import DeleteRecordsRequest

from blueengine.errors import (
    BlueEngineError,
    ChannelError,
    ChannelsAwayError,
    DecodeError,
)
from blueengine.kit import aio
from blueengine.kit.backoff import delays
from blueengine.kit.redis_link import Reply
from blueengine.settings.kafka import KafkaSettings
from blueengine.transport.base import Run, refusal, refused, singly, too_large
from blueengine.transport.kafka_client import (
    BROKEN,
    OVERHEAD_BYTES,
    REQUEST_MS,
    at_most,
    away,
    check,
    client_options,
    last_word,
    look,
)
from blueengine.transport.kafka_inbox import KafkaInbox
from blueengine.transport.kafka_topics import topics
from blueengine.wire import codec, names
from blueengine.wire.envelope import Header

log = logging.getLogger(__name__)

SETTING: Final = "KAFKA_MAX_MESSAGE_BYTES"
HEADER: Final = "be"
"""Name of the Kafka header that holds a message's header."""
SIZES: Final = "n"
"""Name of the one that a run has, too: the length of each of its payloads, which follow each other
in the value."""
BATCH_BYTES: Final = 1 << 20
ENOUGH_BYTES: Final = 1 << 17
"""A batch of so much waits for no more to come."""
GATHER_SECONDS: Final = 0.01
"""The longest that one waits."""
FRAMING_BYTES: Final = 4096
"""What Kafka itself puts round a message, at most."""
TRIM_BYTES: Final = 16 << 20
"""What was read is removed when it is more than this, or when nothing comes for a while."""
UNKNOWN_SECONDS: Final = 5.0
"""A topic that brokers do not know for so long is gone; a new one is known to all in less."""
LOOK_SECONDS: Final = 1.0
STOP_SECONDS: Final = 2.0


@dataclass
class _Outlet:
    """What is on its way to one instance, in order, and not yet acknowledged."""

    topic: str
    waiting: deque["_Item"] = field(default_factory=deque)
    size: int = 0
    """Bytes of what waits."""
    took: float = 0.0
    """Seconds from the last batch to its acknowledgement."""
    enough: "asyncio.Future[None] | None" = None
    """Whoever gathers a batch waits for this one; set when much has come."""
    task: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True)
class _Item:
    headers: list[tuple[str, bytes]]
    value: bytes
    channel: str
    give_up_at: float
    future: "asyncio.Future[Reply]"


class KafkaTransport:
    """The transport of one instance."""

    separate = True

    def __init__(self, settings: KafkaSettings, instance: str, *, patience: float) -> None:
        """Speak for ``instance``; what cannot be delivered within ``patience`` seconds fails."""
        self._settings = settings
        self._instance = instance
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._outlets: dict[str, _Outlet] = {}
        self._producers = _Producers(settings, patience)
        topic = names.inbox_topic(settings.topic_prefix, instance)
        self._inbox = KafkaInbox(settings, topic, patience=patience, is_there=self._inbox_is_there)
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
        try:
            async with asyncio.timeout(self._patience):
                for delay in delays(0.1, 2.0):
                    try:
                        await self._connect()
                    except ChannelsAwayError as exc:
                        error = exc
                        await asyncio.sleep(delay)
                    else:
                        return
        except TimeoutError:
            raise ChannelsAwayError(
                f"no Kafka at {self._settings} within {self._patience:g} s; is it running there?"
                f" ({error})"
            ) from error

    async def _connect(self) -> None:
        async with topics(self._settings) as admin:
            fresh = await admin.make(self._instance) or self._made
        self._made = True
        connecting = self._loop.create_task(self._producers.get(), name="kafka-producer")
        try:
            # what is in an older one was for an earlier process of this name
            await self._inbox.open(0 if fresh else None)
            await connecting
        except BROKEN as exc:
            await self._inbox.close()
            raise away(self._settings, exc) from exc
        finally:
            await aio.cancel(connecting)

    async def close(self) -> None:
        """Disconnect and remove the inbox; what was not acknowledged yet fails."""
        for outlet in list(self._outlets.values()):
            if outlet.task:
                await aio.cancel(outlet.task)
            self._fail(outlet, ChannelsAwayError("the connection to Kafka was closed"))
        if self._trimming:
            await aio.cancel(self._trimming)
        await self._inbox.close()
        await self._producers.close()
        if self._made:
            try:
                async with (
                    asyncio.timeout(STOP_SECONDS),
                    topics(self._settings) as admin,
                ):
                    await admin.remove([self._instance])
            except (ChannelError, TimeoutError) as exc:
                log.warning("the inbox is left to be removed by management: %s", exc)

    # -- writing ----------------------------------------------------------------------------------

    def send(
        self, instance: str, header: Header, payload: bytes, *more: bytes
    ) -> "asyncio.Future[Reply]":
        """Queue messages; they go with the next batch to that instance."""
        limit = self._settings.max_message_bytes
        if above := refusal(limit, SETTING, header, payload, *more):
            return above
        value, sizes = payload, b""
        if more:
            value = b"".join((payload, *more))
            if len(value) > limit:
                messages = singly(header, (payload, *more))
                return asyncio.gather(*(self.send(instance, *message) for message in messages))
            sizes = struct.pack(f"<{len(more) + 1}I", len(payload), *map(len, more))
        encoded = codec.encode(header)
        if len(encoded) > (most := OVERHEAD_BYTES - FRAMING_BYTES):
            return refused(too_large(header.channel, len(encoded), most, SETTING))
        outlet = self._outlets.get(instance)
        if outlet is None:
            topic = names.inbox_topic(self._settings.topic_prefix, instance)
            outlet = self._outlets[instance] = _Outlet(topic)
        future: asyncio.Future[Reply] = self._loop.create_future()
        give_up_at = self._loop.time() + self._patience
        headers = [(HEADER, encoded), (SIZES, sizes)] if sizes else [(HEADER, encoded)]
        outlet.waiting.append(_Item(headers, value, header.channel, give_up_at, future))
        outlet.size += len(value)
        if outlet.enough and outlet.size >= ENOUGH_BYTES and not outlet.enough.done():
            outlet.enough.set_result(None)
        if outlet.task is None:
            outlet.task = self._loop.create_task(self._deliver(instance, outlet), name="kafka-send")
        return future

    async def _deliver(self, instance: str, outlet: _Outlet) -> None:
        """Send what waits for one instance, batch after batch, until nothing does."""
        try:
            while outlet.waiting:
                await self._deliver_batch(outlet)
                if outlet.waiting and outlet.size < ENOUGH_BYTES:
                    await self._gather(outlet)
        finally:
            outlet.task = None
            if not outlet.waiting:
                self._outlets.pop(instance, None)

    async def _gather(self, outlet: _Outlet) -> None:
        """In a flow of messages, let more come to share the next batch.

        It costs a broker about as much to take one message as to take a hundred. Who waits here came
        while a batch was under way, and waits at most as long again.
        """
        outlet.enough = self._loop.create_future()
        await asyncio.wait((outlet.enough,), timeout=min(outlet.took, GATHER_SECONDS))
        outlet.enough = None

    async def _deliver_batch(self, outlet: _Outlet) -> None:
        producer: Any = None
        try:
            async with asyncio.timeout_at(outlet.waiting[0].give_up_at):
                producer = await self._producers.get()
                await self._try_batch(producer, outlet)
        except TimeoutError:
            why = last_word.text or "it does not acknowledge what is sent"
            self._fail(outlet, away(self._settings, f"{why} (for {self._patience:g} s)"))
            self._producers.give_up(producer)  # what it holds must not arrive after all
        except MessageSizeTooLargeError:
            # somebody made the topic smaller than we asked for
            size = max(len(item.value) for item in outlet.waiting)
            limit = self._settings.max_message_bytes
            self._fail(outlet, too_large(outlet.waiting[0].channel, size, limit, SETTING))
        except TopicAuthorizationFailedError:
            self._fail(outlet, ChannelError(f"Kafka does not let us write to {outlet.topic}"))
        except BROKEN as exc:
            log.warning("Kafka: begin anew with a producer, for %r", exc)
            self._producers.give_up(producer)

    async def _try_batch(self, producer: Any, outlet: _Outlet) -> None:
        if not await _is_known(producer.client, outlet.topic):
            log.info("dropped %d messages to %s, which is gone", len(outlet.waiting), outlet.topic)
            _settle(outlet, len(outlet.waiting))
            return
        began = self._loop.time()
        batch, count = producer.create_batch(), 0
        for item in outlet.waiting:
            if not batch.append(timestamp=None, key=None, value=item.value, headers=item.headers):
                break
            count += 1
        sent = await producer.send_batch(batch, outlet.topic, partition=0)
        sent.add_done_callback(aio.take_note)
        while not (await asyncio.wait((sent,), timeout=LOOK_SECONDS))[0]:
            if not await _is_known(producer.client, outlet.topic):
                self._producers.give_up(producer)  # it would try for ever
                return
        sent.result()
        outlet.took = self._loop.time() - began
        _settle(outlet, count)

    def _fail(self, outlet: _Outlet, error: BlueEngineError) -> None:
        waiting, outlet.waiting, outlet.size = outlet.waiting, deque(), 0
        for item in waiting:
            if not item.future.done():
                item.future.set_exception(error)

    # -- reading ----------------------------------------------------------------------------------

    def announce(self, _instance: str, _header: Header) -> bool:
        """It would cost a record."""
        return False

    async def receive(self) -> list[Run]:
        """Wait for messages and return them, oldest first.

        Raises:
            ChannelsAwayError: Kafka has been silent for longer than the patience.
            InboxLostError: The topic was removed, or what it held was before it was read.
        """
        records = await self._inbox.read()
        messages: list[Run] = []
        for record in records:
            self._untrimmed_bytes += len(record.value)
            try:
                messages.append(_run(record))
            except (DecodeError, LookupError, struct.error):
                log.exception("dropped a message that this version cannot read")
        self._untrimmed += len(records)
        if self._untrimmed_bytes > TRIM_BYTES or (self._untrimmed and not records):
            self._trim()
        return messages

    async def _inbox_is_there(self) -> bool:
        try:
            client = (await self._producers.get()).client
            return await _is_known(client, self._inbox.inbox.topic, afresh=True)
        except BROKEN:
            return True  # nobody says that it is not

    def _trim(self) -> None:
        """Have brokers remove what was read, beside everything else."""
        if self._trimming is None or self._trimming.done():
            self._untrimmed = self._untrimmed_bytes = 0
            self._trimming = self._loop.create_task(
                self._remove_until(self._inbox.position or 0), name="kafka-trim"
            )

    async def _remove_until(self, offset: int) -> None:
        try:
            client = (await self._producers.get()).client
            inbox = self._inbox.inbox
            if not await _is_known(client, inbox.topic):
                return
            node = client.cluster.leader_for_partition(inbox)
            request = DeleteRecordsRequest([(inbox.topic, [(0, offset)])], REQUEST_MS)
            # on a connection of its own: brokers answer this when all copies have done it
            await client.send(node, request, group=ConnectionGroup.COORDINATION)
        except BROKEN as exc:
            log.info("what was read is removed later: %r", exc)


class _Producers:
    """The producer in use; one that cannot go on is replaced by a new one."""

    def __init__(self, settings: KafkaSettings, patience: float) -> None:
        self._settings = settings
        self._patience = patience
        self._lock = asyncio.Lock()
        self._current: Any = None
        self._delays = delays(0.05, 1.0)
        """How long to wait when none can be had."""
        self._ending: set[asyncio.Task[None]] = set()

    async def get(self) -> Any:
        """Return a producer that is connected, or was a moment ago.

        Raises:
            KafkaError: No broker can be reached.
            OSError: One does not answer.
        """
        async with self._lock:
            if self._current is None:
                try:
                    self._current = await self._begin()
                except BROKEN:
                    await asyncio.sleep(next(self._delays))  # and so does whoever asks next
                    raise
                self._delays = delays(0.05, 1.0)
            return self._current

    def give_up(self, producer: Any) -> None:
        """Use this one no more; it ends beside everything else."""
        if producer is not None and producer is self._current:
            ending = asyncio.get_running_loop().create_task(_end(producer), name="kafka-end")
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
            self._current = None

    async def close(self) -> None:
        self.give_up(self._current)
        if self._ending:
            await asyncio.wait(self._ending)

    async def _begin(self) -> Any:
        limit = self._settings.max_message_bytes + OVERHEAD_BYTES
        compression = self._settings.compression
        producer = AIOKafkaProducer(
            **client_options(self._settings),
            acks="all",
            enable_idempotence=True,
            compression_type=None if compression == "none" else compression,
            max_batch_size=min(BATCH_BYTES, limit),
            max_request_size=limit,
        )
        try:
            async with asyncio.timeout(self._patience):  # it would try for ever
                await producer.start()
        except BaseException:
            await _end(producer)
            raise
        return producer


def _run(record: Any) -> Run:
    headers = dict(record.headers)
    header = codec.decode(Header, headers[HEADER])
    sizes = headers.get(SIZES)
    if sizes is None:
        return header, (record.value,)
    payloads, end = [], 0
    for (size,) in struct.iter_unpack("<I", sizes):
        payloads.append(record.value[end : end + size])
        end += size
    return header, payloads


async def _end(producer: Any) -> None:
    """End a producer, without waiting for long for what it cannot deliver.

    Left alone, its sender tries for ever, and so does an orderly stop.
    """
    await at_most(producer.stop(), STOP_SECONDS)
    sender = producer._sender.sender_task  # noqa: SLF001 - nothing public ends it
    while sender is not None and not sender.done():
        sender.cancel()  # each time one of the requests it waits for
        await asyncio.wait((sender,), timeout=0.05)
    await at_most(producer.client.close(), STOP_SECONDS)


async def _is_known(client: Any, topic: str, *, afresh: bool = False) -> bool:
    """Say whether a topic is there; one that no broker knows for a while is not.

    It takes as long as no broker answers; ``afresh`` takes that for a yes.
    """
    check(client)
    cluster = client.cluster
    if not afresh and cluster.partitions_for_topic(topic) is not None:
        return True
    loop = asyncio.get_running_loop()
    client.add_topic(topic)
    unknown_since = loop.time()
    for delay in delays(0.02, 0.2):
        if not afresh and cluster.partitions_for_topic(topic) is not None:
            break  # it was just added
        answered = await look(client)
        if cluster.partitions_for_topic(topic) is not None or (afresh and not answered):
            break
        if not answered:
            unknown_since = loop.time()  # nobody said that it is not there
        elif loop.time() - unknown_since > UNKNOWN_SECONDS:
            return False
        await asyncio.sleep(delay)
    return True


def _settle(outlet: _Outlet, count: int) -> None:
    for _ in range(count):
        item = outlet.waiting.popleft()
        outlet.size -= len(item.value)
        if not item.future.done():
            item.future.set_result(None)
