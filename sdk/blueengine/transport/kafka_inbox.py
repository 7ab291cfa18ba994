"""Reading one inbox: a topic of one partition, by assignment, from where it was left.

aiokafka reads in the background and says nothing while it cannot; so what is listened to is when
the broker last answered, be it that there is nothing. A reader that is silent for too long, or whose
background has ended, is replaced by a new one, at the same place.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from blueengine.errors import ChannelsAwayError, InboxLostError
from blueengine.settings.kafka import KafkaSettings
from blueengine.transport.kafka_client import (
    BROKEN,
    OVERHEAD_BYTES,
    at_most,
    away,
    check,
    client_options,
)

log = logging.getLogger(__name__)

FETCH_BYTES: Final = 4 << 20
LONGEST_WAIT: Final = 5.0
"""How long a broker keeps a read that finds nothing; no message waits for it."""
IDLE_SECONDS: Final = 1.0
TRY_SECONDS: Final = 0.5
STOP_SECONDS: Final = LONGEST_WAIT + 1.0
"""Over TLS a broker says goodbye only when the read that is under way has ended."""


class KafkaInbox:
    """Reads one topic; nothing is read twice, except what was sent twice."""

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        *,
        patience: float,
        is_there: Callable[[], Awaitable[bool]],
    ) -> None:
        """Read ``topic``; silence of ``patience`` seconds is an error.

        ``is_there`` asks whether there is such a topic; False only when brokers say that it is not.
        """
        self._settings = settings
        self._is_there = is_there
        self._patience = patience
        self._wait = min(LONGEST_WAIT, patience / 4)
        self._consumer: Any = None
        self._heard: int | None = None
        self._heard_at = self._begun_at = 0.0
        self.inbox: Final = TopicPartition(topic, 0)
        self.position: int | None = None
        """Offset of the next record; None: behind all that is there."""

    async def open(self, position: int | None) -> None:
        """Begin to read at an offset, or behind all that is there.

        Raises:
            ChannelsAwayError: No broker answers.
        """
        self.position = position
        self._heard_at = asyncio.get_running_loop().time()
        await self._begin()

    async def read(self) -> Sequence[Any]:
        """Wait for records; none after a while.

        Raises:
            ChannelsAwayError: Kafka has been silent for longer than the patience.
            InboxLostError: The topic was removed, or what it held was before it was read.
        """
        if self._consumer is None:
            try:
                await self._begin()
            except ChannelsAwayError:
                self._check_patience()
                await asyncio.sleep(TRY_SECONDS)
                return ()
        consumer: Any = self._consumer
        try:
            _check(consumer)
        except KafkaError as exc:
            log.warning("begin anew to read %s: %s", self.inbox.topic, exc)
            self._check_patience()
            await self.close()
            # one that ends whenever it begins is no reason to spin
            await asyncio.sleep(self._begun_at + TRY_SECONDS - asyncio.get_running_loop().time())
            return ()
        try:
            found = await consumer.getmany(self.inbox, timeout_ms=int(IDLE_SECONDS * 1000))
        except KafkaError as exc:
            raise InboxLostError(f"the inbox {self.inbox.topic} cannot be read: {exc!r}") from exc
        records: Sequence[Any] = found.get(self.inbox, ())
        if records:
            self.position = records[-1].offset + 1
        await self._listen(bool(records))
        return records

    async def close(self) -> None:
        """Disconnect."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await _end(consumer)

    async def _begin(self) -> None:
        consumer = AIOKafkaConsumer(
            **client_options(self._settings),
            auto_offset_reset="none",
            enable_auto_commit=False,
            fetch_max_wait_ms=int(self._wait * 1000),
            max_partition_fetch_bytes=max(
                FETCH_BYTES, self._settings.max_message_bytes + OVERHEAD_BYTES
            ),
        )
        try:
            async with asyncio.timeout(self._patience):
                await consumer.start()
                consumer.assign([self.inbox])
                if self.position is None:
                    await consumer.seek_to_end(self.inbox)
                    self.position = await consumer.position(self.inbox)
                else:
                    consumer.seek(self.inbox, self.position)
        except BROKEN as exc:
            await _end(consumer)
            raise away(self._settings, exc) from exc
        except BaseException:
            await _end(consumer)
            raise
        self._consumer = consumer
        self._begun_at = asyncio.get_running_loop().time()

    async def _listen(self, something_came: bool) -> None:
        """See that the broker still answers."""
        heard = self._consumer.last_poll_timestamp(self.inbox)
        now = asyncio.get_running_loop().time()
        if something_came or heard not in {None, self._heard}:  # None: not yet, of a new one
            self._heard, self._heard_at = heard, now
            return
        silent = now - max(self._heard_at, self._begun_at)
        if silent > self._wait + IDLE_SECONDS:  # a new one has had the time for its first answer
            self._check_patience()
        if silent > 2 * self._wait + IDLE_SECONDS:
            if not await self._ask_whether_there():
                raise InboxLostError(f"the inbox {self.inbox.topic} was removed from Kafka")
            await self.close()  # it may have come to a stop; a new one begins where it was

    async def _ask_whether_there(self) -> bool:
        """Ask, but not for ever: a broker that froze in the middle of an answer says nothing."""
        try:
            async with asyncio.timeout(self._patience):
                return await self._is_there()
        except TimeoutError:
            return True

    def _check_patience(self) -> None:
        silent = asyncio.get_running_loop().time() - self._heard_at
        if silent > self._patience:
            raise away(self._settings, f"silent for {silent:.0f} s")


def _check(consumer: Any) -> None:
    """See that a consumer still reads.

    Raises:
        KafkaError: It does not, and never will again.
    """
    check(consumer._client)  # noqa: SLF001 - nothing public tells
    fetching = consumer._fetcher.error_future  # noqa: SLF001
    if fetching.done():
        raise KafkaError("the consumer has stopped fetching")


async def _end(consumer: Any) -> None:
    """End a consumer, come what may: ``stop`` may end early, with what stopped its reading."""
    await at_most(consumer.stop(), STOP_SECONDS)
    # nothing public does it when that ended early
    await at_most(consumer._client.close(), STOP_SECONDS)  # noqa: SLF001
