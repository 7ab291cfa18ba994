"""Reading one inbox: a topic of one partition, by assignment, from where it was left.

A thread waits for records and hands them to the loop; it reads no further while much waits there.
librdkafka connects again by itself and does not say that nobody answers. So after some silence the thread
asks whether there is such a topic: an answer shows that Kafka is there, and tells if the topic is not.
"""

import asyncio
import threading
import time
from collections.abc import Sequence
from typing import Any, Final, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from blueengine.errors import InboxLostError
from blueengine.settings.kafka import KafkaSettings
from blueengine.transport.kafka_client import (
    OVERHEAD_BYTES,
    REQUEST_SECONDS,
    TURN_SECONDS,
    UNKNOWN_SECONDS,
    Complaints,
    away,
    call_soon,
    error_of,
    make,
)

FETCH_BYTES: Final = 4 << 20
AHEAD_KIB: Final = 8 << 10
"""What the client fetches ahead of what was read."""
RECORDS: Final = 500
LONGEST_WAIT: Final = 5.0
"""How long a broker keeps a read that finds nothing; no message waits for it."""
LONGEST_PAUSE_MS: Final = 86_400_000
"""The longest that the client lets its reader wait for whoever takes what was read."""
IDLE_SECONDS: Final = 1.0
ASK_AGAIN_SECONDS: Final = 0.5
STOP_SECONDS: Final = 1.0


class KafkaInbox:
    """Reads one topic; nothing is read twice, except what was sent twice."""

    def __init__(self, settings: KafkaSettings, topic: str, *, patience: float) -> None:
        """Read ``topic``; silence of ``patience`` seconds is an error."""
        self._settings = settings
        self._topic = topic
        self._patience = patience
        self._wait = min(LONGEST_WAIT, patience / 4)
        self._complaints = Complaints()
        self._loop = asyncio.get_running_loop()
        self._reader: object = None
        """Which thread reads; any other one ends."""
        self._ended: asyncio.Future[None] | None = None
        """Set when that thread has ended."""
        self._changed = threading.Condition()
        self._came: list[Message[bytes, bytes]] = []
        self._bytes = 0
        """Of what came and was not taken."""
        self._awaited: asyncio.Future[None] | None = None
        self._heard_at = 0.0
        """By ``time.monotonic``: when Kafka last answered."""
        self._lost = ""
        """Why nothing can be read any more."""
        self.position = 0
        """Offset of the next record."""

    async def open(self, position: int | None) -> None:
        """Begin to read at an offset, or behind all that is there.

        Raises:
            ChannelsAwayError: No broker answers.
            SettingsError: A file for TLS cannot be used.
        """
        me = self._reader = object()
        opened: asyncio.Future[None] = self._loop.create_future()
        ended = self._loop.create_future()
        threading.Thread(
            target=self._work, args=(me, position, opened, ended), name="kafka-inbox", daemon=True
        ).start()
        try:
            await opened
        except KafkaException as exc:
            why = self._complaints.text or error_of(exc).str()
            raise away(self._settings, why) from exc
        except BaseException:
            self._reader = None
            raise
        self._ended = ended

    async def read(self) -> Sequence["Message[bytes, bytes]"]:
        """Wait for records; none after a while.

        Raises:
            ChannelsAwayError: Kafka has been silent for longer than the patience.
            InboxLostError: The topic was removed, or what it held was before it was read.
        """
        if not self._came:
            self._awaited = self._loop.create_future()
            await asyncio.wait((self._awaited,), timeout=IDLE_SECONDS)
        with self._changed:
            records, self._came, self._bytes = self._came, [], 0
            self._changed.notify()
        if records:
            self.position = cast(int, records[-1].offset()) + 1
        elif self._lost:
            raise InboxLostError(self._lost)
        elif (silent := time.monotonic() - self._heard_at) > self._patience:
            why = f"silent for {silent:.0f} s"
            complaint = self._complaints.text
            raise away(self._settings, f"{why} ({complaint})" if complaint else why)
        return records

    async def close(self) -> None:
        """Disconnect; a thread that waits for an answer at the moment does so later."""
        with self._changed:
            self._reader = None
            self._changed.notify()
        if self._ended is not None:
            await asyncio.wait((self._ended,), timeout=STOP_SECONDS)

    # -- in the thread ----------------------------------------------------------------------------

    def _work(
        self,
        me: object,
        position: int | None,
        opened: "asyncio.Future[None]",
        ended: "asyncio.Future[None]",
    ) -> None:
        reads = False
        try:
            consumer = self._connect()
            try:
                self._begin(consumer, position)
                reads = True
                call_soon(self._loop, _settle, opened)
                while self._reader is me and not self._lost:
                    self._read_some(consumer, me)
            finally:
                consumer.close()
        except Exception as exc:  # noqa: BLE001 - whoever opens or reads is told
            if reads:
                self._lost = f"the inbox {self._topic} cannot be read: {exc!r}"
            else:
                call_soon(self._loop, _settle, opened, exc)
        call_soon(self._loop, self._on_came)
        call_soon(self._loop, _settle, ended)

    def _connect(self) -> Consumer:
        largest = max(FETCH_BYTES, self._settings.max_message_bytes + OVERHEAD_BYTES)
        options = {
            "group.id": self._topic,  # it must have one; it is no member of any
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "check.crcs": True,
            "max.poll.interval.ms": LONGEST_PAUSE_MS,
            "fetch.wait.max.ms": int(self._wait * 1000),
            "fetch.message.max.bytes": largest,
            "fetch.max.bytes": largest,
            "receive.message.max.bytes": 2 * largest,
            "queued.max.messages.kbytes": AHEAD_KIB,
            "fetch.queue.backoff.ms": 10,
            "fetch.error.backoff.ms": 100,
            "topic.metadata.refresh.fast.interval.ms": 100,
        }
        return make(Consumer, self._settings, self._complaints, options)

    def _begin(self, consumer: Consumer, position: int | None) -> None:
        inbox = TopicPartition(self._topic, 0)
        if position is None:
            _, position = consumer.get_watermark_offsets(inbox, REQUEST_SECONDS, cached=False)
        self.position = inbox.offset = position
        consumer.assign([inbox])
        self._on_heard()

    def _read_some(self, consumer: Consumer, me: object) -> None:
        # one by itself, for it waits until as many have come as are wanted
        found = consumer.consume(1, TURN_SECONDS)
        if found:
            found += consumer.consume(RECORDS - 1, 0)
            records = [message for message in found if message.error() is None]
            if records:
                self._on_heard()
                self._hand_over(records, me)
            for message in found:
                if (error := message.error()) is not None:
                    self._on_error(error)
        elif time.monotonic() - self._heard_at > self._wait:
            self._ask(consumer, me)

    def _hand_over(self, records: "list[Message[bytes, bytes]]", me: object) -> None:
        with self._changed:
            self._came += records
            self._bytes += sum(map(len, records))
        call_soon(self._loop, self._on_came)
        with self._changed:
            while self._bytes > FETCH_BYTES and self._reader is me:
                self._changed.wait()
        self._on_heard()  # Kafka did not keep it waiting

    def _on_heard(self) -> None:
        self._heard_at = time.monotonic()
        self._complaints.text = ""

    def _on_error(self, error: KafkaError) -> None:
        self._complaints(error)
        if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - its name
            self._lost = (
                f"the inbox {self._topic} cannot be read: what it held was removed"
                f" before it was read ({error.str()})"
            )
        elif error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            self._lost = f"Kafka does not let us read {self._topic}"

    def _ask(self, consumer: Consumer, me: object) -> None:
        """See that Kafka answers, and that the topic is there."""
        unknown_since = time.monotonic()
        # the answer may come behind a read that finds nothing
        patience = self._wait + min(LONGEST_WAIT, self._patience)
        while self._reader is me:
            try:
                listed = consumer.list_topics(self._topic, timeout=patience)
            except KafkaException as exc:
                if not self._complaints.text:
                    self._complaints(error_of(exc))
                return
            self._on_heard()
            error: Any = listed.topics[self._topic].error
            if error is None or error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                return
            if self._heard_at - unknown_since > UNKNOWN_SECONDS:
                self._lost = f"the inbox {self._topic} was removed from Kafka"
                return
            time.sleep(ASK_AGAIN_SECONDS)

    # -- in the loop ------------------------------------------------------------------------------

    def _on_came(self) -> None:
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(None)


def _settle(future: "asyncio.Future[None]", error: BaseException | None = None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(None)
