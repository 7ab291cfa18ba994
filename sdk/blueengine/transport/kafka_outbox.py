"""Writing to inboxes: one record at a time to each of them, what comes meanwhile goes with the next.

So records grow with the load and a lone message waits for nothing. In a flow of small messages the next
record waits a little for more to share it: it costs a broker about as much to take one as to take a hundred.

librdkafka numbers what it sends (an idempotent producer, acks=all) and sends it again, in order, until
the patience is over. A thread waits for its reports. Where a producer cannot go on, what has not
arrived goes with a new one, in the same order; the reader knows a repetition by its sequence number.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer

from blueengine.errors import BlueEngineError, ChannelError, ChannelsAwayError
from blueengine.kit import aio
from blueengine.kit.redis_link import Reply
from blueengine.settings.kafka import KafkaSettings
from blueengine.transport.base import refused
from blueengine.transport.kafka_client import (
    OVERHEAD_BYTES,
    REQUEST_SECONDS,
    TURN_SECONDS,
    UNKNOWN_SECONDS,
    Complaints,
    away,
    error_of,
    in_thread,
    make,
)

log = logging.getLogger(__name__)

ENOUGH_BYTES: Final = 1 << 20
"""A record of so much waits for no more to come."""
MUCH_BYTES: Final = 1 << 15
"""Where so much came while a record was under way, the next one waits for more."""
GATHER_SECONDS: Final = 0.04
"""How long it waits; where less came, it waits no longer than the last one took."""
HEADERS_BYTES: Final = 1 << 18
"""The headers of one record, if it is not the only one of its first message."""
LOOK_SECONDS: Final = 0.25
RENEW_SECONDS: Final = 0.1
STOP_SECONDS: Final = 1.0

_UNKNOWN: Final = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - their names
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
}
_UNDONE: Final = {
    KafkaError._FATAL,  # noqa: SLF001 - their names
    KafkaError._PURGE_QUEUE,  # noqa: SLF001
    KafkaError._PURGE_INFLIGHT,  # noqa: SLF001
}

Headers = list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class _Item:
    """What goes under headers of its own, alone in a record or with others behind each other."""

    headers: Headers
    value: bytes
    too_large: Callable[[], BlueEngineError]
    """Makes the error for a record that brokers do not take for its size."""
    future: "asyncio.Future[Reply]"


@dataclass(slots=True)
class _Way:
    """What is on its way to one inbox, in order."""

    topic: str
    waiting: deque[_Item] = field(default_factory=deque)
    size: int = 0
    """Bytes of what waits."""
    record: list[_Item] = field(default_factory=list)
    """What is under way."""
    began: float = 0.0
    took: float = 0.0
    """Seconds to the acknowledgement of the last record."""
    timer: asyncio.TimerHandle | None = None
    """Runs while it waits for more to share the next record."""


class KafkaOutbox:
    """Writes for one instance. Caller: its loop."""

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        patience: float,
        is_there: Callable[[str], Awaitable[bool]],
    ) -> None:
        """Write; what cannot be delivered within ``patience`` seconds fails.

        ``is_there`` asks whether there is a topic; it raises ChannelsAwayError when nobody answers.
        """
        self._settings = settings
        self._most = settings.max_message_bytes
        self._patience = patience
        self._is_there = is_there
        self._complaints = Complaints()
        self._loop = asyncio.get_running_loop()
        self._producer: Producer | None = None
        self._generation = 0
        """Of the producer."""
        self._renewing = False
        """Whether there will be another one soon; what is sent meanwhile waits for it."""
        self._polling: set[asyncio.Future[None]] = set()
        """Threads that wait for reports; more than one while a producer ends."""
        self._ways: dict[str, _Way] = {}
        """By topic, as long as something is for it."""
        self._reports: deque[tuple[int, _Way, KafkaError | None]] = deque()
        """Generation of the producer, whose record it is, and what went wrong."""
        self._told = False
        """Whether the loop will look at them."""
        self._looking: set[asyncio.Task[None]] = set()

    # -- life -------------------------------------------------------------------------------------

    async def open(self, topic: str) -> None:
        """Connect, and see that ``topic`` is known.

        Raises:
            ChannelsAwayError: No broker answers.
            SettingsError: A file for TLS cannot be used.
        """
        producer = self._producer or self._begin()
        try:
            await in_thread(lambda: producer.list_topics(topic, timeout=REQUEST_SECONDS))
        except KafkaException as exc:
            why = self._complaints.text or error_of(exc).str()
            raise away(self._settings, why) from exc

    async def close(self) -> None:
        """Disconnect; what has not arrived fails."""
        self._producer = None  # so that its thread ends it
        for task in self._looking:
            task.cancel()
        for way in list(self._ways.values()):
            self._fail(way, ChannelsAwayError("the connection to Kafka was closed"))
        waiting = {*self._polling, *self._looking}
        if waiting:
            await asyncio.wait(waiting, timeout=STOP_SECONDS)

    def renew(self) -> None:
        """Go on with a new producer, soon."""
        if not self._renewing:
            self._renewing = True
            self._loop.call_later(RENEW_SECONDS, self._go_on)

    def _go_on(self) -> None:
        self._renewing = False
        if self._producer is None:
            return
        self._begin()
        for way in list(self._ways.values()):
            if way.record and self._loop.time() > way.began + self._patience:
                self._fail(way, self._away())
            elif way.record:
                self._produce(way)

    def _begin(self) -> Producer:
        options = {
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 0,
            "compression.type": self._settings.compression,
            "message.max.bytes": self._most + OVERHEAD_BYTES,
            "message.timeout.ms": int(self._patience * 1000),
            "request.timeout.ms": int(REQUEST_SECONDS * 1000),
            "retry.backoff.ms": 50,
            "topic.metadata.propagation.max.ms": int(UNKNOWN_SECONDS * 1000),
        }
        producer = self._producer = make(Producer, self._settings, self._complaints, options)
        self._generation += 1
        ended: asyncio.Future[None] = self._loop.create_future()
        self._polling.add(ended)
        ended.add_done_callback(self._polling.discard)
        threading.Thread(
            target=self._poll, args=(producer, ended), name="kafka-outbox", daemon=True
        ).start()
        return producer

    # -- writing ----------------------------------------------------------------------------------

    def send(
        self, topic: str, headers: Headers, value: bytes, too_large: Callable[[], BlueEngineError]
    ) -> "asyncio.Future[Reply]":
        """Queue what is to be written; the future says that it arrived, or its topic is gone."""
        if self._producer is None:
            return refused(ChannelsAwayError("the connection to Kafka was closed"))
        future: asyncio.Future[Reply] = self._loop.create_future()
        way = self._ways.get(topic)
        if way is None:
            way = self._ways[topic] = _Way(topic)
        way.waiting.append(_Item(headers, value, too_large, future))
        way.size += len(value)
        if way.timer:
            if way.size >= ENOUGH_BYTES:
                self._write(way)
        elif not way.record:
            self._write(way)
        return future

    def _write(self, way: _Way) -> None:
        """Write what waits, as far as it goes into one record."""
        if way.timer:
            way.timer.cancel()
            way.timer = None
        most, size, headers = min(self._most, ENOUGH_BYTES), 0, 0
        while way.waiting:
            item = way.waiting[0]
            size += len(item.value)
            headers += sum(len(data) for _, data in item.headers)
            if way.record and (size > most or headers > HEADERS_BYTES):
                break
            way.record.append(way.waiting.popleft())
            way.size -= len(item.value)
        way.began = self._loop.time()
        self._produce(way)

    def _produce(self, way: _Way) -> None:
        if self._renewing or self._producer is None:
            return
        record = way.record
        try:
            self._producer.produce(
                way.topic,
                record[0].value if len(record) == 1 else b"".join(i.value for i in record),
                partition=0,
                headers=[header for item in record for header in item.headers],
                on_delivery=partial(self._on_report, self._generation, way),
            )
        except KafkaException as exc:
            self._on_report(self._generation, way, error_of(exc), None)
        except BufferError:
            self._fail(way, away(self._settings, "too much waits to be sent"))

    def _on_arrived(self, way: _Way) -> None:
        way.took = self._loop.time() - way.began
        self._complaints.text = ""
        _settle(way.record)
        way.record = []
        if not way.waiting:
            del self._ways[way.topic]
        elif way.size >= ENOUGH_BYTES:
            self._write(way)
        else:
            wait = GATHER_SECONDS if way.size > MUCH_BYTES else min(way.took, GATHER_SECONDS)
            way.timer = self._loop.call_later(wait, self._write, way)

    def _on_error(self, way: _Way, error: KafkaError) -> None:
        code = error.code()
        if code in _UNDONE:
            log.warning("Kafka: begin anew with a producer, for %s", error.str())
            self.renew()
        elif code in _UNKNOWN:
            task = self._loop.create_task(self._look_for(way), name="kafka-look")
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)
        elif code == KafkaError.MSG_SIZE_TOO_LARGE:
            self._fail(way, way.record[0].too_large())
        elif code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            self._fail(way, ChannelError(f"Kafka does not let us write to {way.topic}"))
        elif code == KafkaError._MSG_TIMED_OUT:  # noqa: SLF001 - its name
            self._fail(way, self._away())
        else:
            self._fail(way, away(self._settings, error.str()))

    def _away(self) -> ChannelsAwayError:
        why = self._complaints.text or "it does not acknowledge what is sent"
        return away(self._settings, f"{why} (for {self._patience:g} s)")

    def _fail(self, way: _Way, error: BlueEngineError) -> None:
        """Fail a record, and what waits behind it: it would arrive behind a gap."""
        _settle(self._end(way), error)

    def _end(self, way: _Way) -> list[_Item]:
        del self._ways[way.topic]
        if way.timer:
            way.timer.cancel()
        return [*way.record, *way.waiting]

    async def _look_for(self, way: _Way) -> None:
        """See whether brokers know a topic after all; what is for it waits."""
        unknown_since = self._loop.time()
        while self._loop.time() - unknown_since < UNKNOWN_SECONDS:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                known = await self._is_there(way.topic)
            except ChannelsAwayError:
                unknown_since = self._loop.time()  # nobody said that it is not there
                continue
            if known:
                self._produce(way)
                return
        gone = self._end(way)
        log.info("dropped what was for %s, which is gone (%d times)", way.topic, len(gone))
        _settle(gone)

    # -- reports ----------------------------------------------------------------------------------

    def _poll(self, producer: Producer, ended: "asyncio.Future[None]") -> None:
        """Wait for reports, in a thread."""
        while producer is self._producer:
            producer.poll(TURN_SECONDS)
        producer.purge()  # what it had goes with another one, or has failed
        producer.poll(0)
        del producer  # which takes its threads along
        aio.call_soon(self._loop, ended.set_result, None)

    def _on_report(
        self, generation: int, way: _Way, error: KafkaError | None, _message: object
    ) -> None:
        self._reports.append((generation, way, error))
        if not self._told:
            self._told = True
            aio.call_soon(self._loop, self._take_reports)

    def _take_reports(self) -> None:
        self._told = False
        while self._reports:
            generation, way, error = self._reports.popleft()
            if generation != self._generation or self._ways.get(way.topic) is not way:
                continue  # what it had goes with another, or has failed
            if error is None:
                self._on_arrived(way)
            else:
                self._on_error(way, error)


def _settle(items: list[_Item], error: BlueEngineError | None = None) -> None:
    for item in items:
        if item.future.done():
            continue
        if error is None:
            item.future.set_result(None)
        else:
            item.future.set_exception(error)
