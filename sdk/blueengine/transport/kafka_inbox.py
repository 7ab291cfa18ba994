"""Reading one inbox: a topic of one partition, by assignment, from where it was left.

A thread waits for records and hands them to the loop; it reads no further while much waits there.
librdkafka connects again by itself and does not say that nobody answers. So after some silence the thread
asks whether there is such a topic: an answer shows that Kafka is there, and tells if the topic is not.
"""

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Final, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from blueengine.errors import InboxLostError
from blueengine.kit import aio
from blueengine.settings.kafka import KafkaSettings
from blueengine.transport.kafka_client import (
    OVERHEAD_BYTES,
    REQUEST_SECONDS,
    TURN_SECONDS,
    UNKNOWN_SECONDS,
    Complaints,
    answer,
    away,
    error_of,
    in_thread,
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
        self._reader: threading.Thread | None = None
        """The thread that reads; any other one ends."""
        self._changed = threading.Condition()
        self._came: list[Message[bytes, bytes]] = []
        self._bytes = 0
        """Of what came and was not taken."""
        self._arrived = asyncio.Event()
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
        opened: Future[None] = Future()
        self._reader = threading.Thread(
            target=self._work, args=(position, opened), name="kafka-inbox", daemon=True
        )
        self._reader.start()
        try:
            await answer(opened)
        except KafkaException as exc:
            why = self._complaints.text or error_of(exc).str()
            raise away(self._settings, why) from exc
        except BaseException:
            self._reader = None
            raise

    async def read(self) -> Sequence["Message[bytes, bytes]"]:
        """Wait for records; none after a while.

        Raises:
            ChannelsAwayError: Kafka has been silent for longer than the patience.
            InboxLostError: The topic was removed, or what it held was before it was read.
        """
        if not self._came:
            await aio.nap(self._arrived, IDLE_SECONDS)
        self._arrived.clear()
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
            reader, self._reader = self._reader, None
            self._changed.notify()
        if reader is not None:
            await in_thread(lambda: reader.join(STOP_SECONDS))

    # -- in the thread ----------------------------------------------------------------------------

    @property
    def _goes_on(self) -> bool:
        return self._reader is threading.current_thread()

    def _work(self, position: int | None, opened: "Future[None]") -> None:
        try:
            consumer = self._connect()
            try:
                self._begin(consumer, position)
                opened.set_result(None)
                while self._goes_on and not self._lost:
                    self._read_some(consumer)
            finally:
                consumer.close()
        except Exception as exc:  # noqa: BLE001 - whoever opens or reads is told
            if opened.done():
                self._lost = f"the inbox {self._topic} cannot be read: {exc!r}"
            else:
                opened.set_exception(exc)
        aio.call_soon(self._loop, self._arrived.set)

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
        }
        return make(Consumer, self._settings, self._complaints, options)

    def _begin(self, consumer: Consumer, position: int | None) -> None:
        inbox = TopicPartition(self._topic, 0)
        if position is None:
            _, position = consumer.get_watermark_offsets(inbox, REQUEST_SECONDS, cached=False)
        self.position = inbox.offset = position
        consumer.assign([inbox])
        self._on_heard()

    def _read_some(self, consumer: Consumer) -> None:
        # one by itself, for it waits until as many have come as are wanted
        found = consumer.consume(1, TURN_SECONDS)
        if found:
            found += consumer.consume(RECORDS - 1, 0)
            records = [message for message in found if message.error() is None]
            if records:
                self._on_heard()
                self._hand_over(records)
            for message in found:
                if (error := message.error()) is not None:
                    self._on_error(error)
        elif time.monotonic() - self._heard_at > self._wait:
            self._ask(consumer)

    def _hand_over(self, records: "list[Message[bytes, bytes]]") -> None:
        with self._changed:
            self._came += records
            self._bytes += sum(map(len, records))
        aio.call_soon(self._loop, self._arrived.set)
        with self._changed:
            while self._bytes > FETCH_BYTES and self._goes_on:
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

    def _ask(self, consumer: Consumer) -> None:
        """See that Kafka answers, and that the topic is there."""
        unknown_since = time.monotonic()
        # the answer may come behind a read that finds nothing
        patience = self._wait + min(LONGEST_WAIT, self._patience)
        while self._goes_on:
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
