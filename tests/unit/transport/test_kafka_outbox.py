"""When what waits for an inbox goes: a lone message at once, a flow of them together. Virtual time."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError

from blueengine.errors import ChannelError, ChannelsAwayError, MessageTooLargeError
from blueengine.settings.system import SystemSettings
from blueengine.transport.kafka_outbox import (
    ENOUGH_BYTES,
    GATHER_SECONDS,
    HEADERS_BYTES,
    MUCH_BYTES,
    RENEW_SECONDS,
    UNKNOWN_SECONDS,
    KafkaOutbox,
)

pytestmark = pytest.mark.looptime

ROUND_TRIP = GATHER_SECONDS / 4


class Broker:
    """Acknowledges each record after a round trip, and notes how long after the first it came."""

    def __init__(self) -> None:
        self.took = ROUND_TRIP
        self.answers: list[int | None] = []
        """What goes wrong with the next ones."""
        self.came: list[tuple[float, int]] = []
        """When, and how many messages."""
        self.values: list[bytes] = []
        self._began: float | None = None

    def produce(
        self,
        _topic: str,
        value: bytes,
        *,
        partition: int,
        headers: list[tuple[str, bytes]],
        on_delivery: Callable[[KafkaError | None, object], None],
    ) -> None:
        assert partition == 0
        loop = asyncio.get_running_loop()
        if self._began is None:
            self._began = loop.time()
        self.came.append((round(loop.time() - self._began, 6), len(headers)))
        self.values.append(value)
        wrong = self.answers.pop(0) if self.answers else None
        loop.call_later(self.took, on_delivery, None if wrong is None else KafkaError(wrong), None)

    def poll(self, _seconds: float) -> None:
        """Nothing more."""


@pytest.fixture
async def broker() -> Broker:
    return Broker()


@pytest.fixture
async def outbox(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> KafkaOutbox:
    settings = SystemSettings(kafka_brokers="127.0.0.1:9").kafka
    assert settings
    known = iter([False, True])

    async def is_there(topic: str) -> bool:
        return topic == "late" and next(known)

    outbox = KafkaOutbox(settings, patience=30, is_there=is_there)

    def begin() -> None:
        outbox._producer = broker  # type: ignore[assignment]  # it behaves like one

    monkeypatch.setattr(outbox, "_begin", begin)
    begin()
    return outbox


def send(
    outbox: KafkaOutbox, size: int = 10, *, topic: str = "reader", header: bytes = b"h"
) -> "asyncio.Future[Any]":
    return outbox.send(
        topic, [("be", header)], bytes(size), lambda: MessageTooLargeError("too large")
    )


async def test_a_lone_message_waits_for_nothing(outbox: KafkaOutbox, broker: Broker) -> None:
    await send(outbox)
    await send(outbox)
    assert broker.came == [(0, 1), (ROUND_TRIP, 1)]


async def test_in_a_flow_more_may_come_for_as_long_as_the_last_record_took(
    outbox: KafkaOutbox, broker: Broker
) -> None:
    sent = [send(outbox)]
    for _ in range(3):
        await asyncio.sleep(0.6 * ROUND_TRIP)
        sent.append(send(outbox))
    await asyncio.gather(*sent)
    assert broker.came == [(0, 1), (2 * ROUND_TRIP, 3)]


async def test_in_a_wide_flow_more_may_come_for_longer(outbox: KafkaOutbox, broker: Broker) -> None:
    sent = [send(outbox), send(outbox, MUCH_BYTES + 1)]
    await asyncio.sleep(2.5 * ROUND_TRIP)
    await asyncio.gather(*sent, send(outbox))
    assert broker.came == [(0, 1), (ROUND_TRIP + GATHER_SECONDS, 2)]


async def test_it_waits_no_longer_when_enough_has_come(outbox: KafkaOutbox, broker: Broker) -> None:
    first = send(outbox)
    await asyncio.sleep(0.5 * ROUND_TRIP)
    second = send(outbox)
    await asyncio.sleep(ROUND_TRIP)
    await asyncio.gather(first, second, send(outbox, ENOUGH_BYTES - 10))
    assert broker.came == [(0, 1), (1.5 * ROUND_TRIP, 2)]


async def test_it_never_waits_for_long(outbox: KafkaOutbox, broker: Broker) -> None:
    broker.took = 1.0
    first = send(outbox)
    await asyncio.sleep(0.5)
    await asyncio.gather(first, send(outbox))
    assert broker.came == [(0, 1), (1 + GATHER_SECONDS, 1)]


async def test_a_record_holds_no_more_than_enough_payloads_and_headers(
    outbox: KafkaOutbox, broker: Broker
) -> None:
    half = ENOUGH_BYTES // 2
    sent = [send(outbox), *(send(outbox, half) for _ in range(3))]
    await asyncio.gather(*sent)
    assert [count for _, count in broker.came] == [1, 2, 1]
    header = bytes(HEADERS_BYTES // 2)
    sent = [send(outbox), *(send(outbox, header=header) for _ in range(3))]
    await asyncio.gather(*sent)
    assert [count for _, count in broker.came[3:]] == [1, 2, 1]


async def test_one_inbox_does_not_wait_for_another(outbox: KafkaOutbox, broker: Broker) -> None:
    await asyncio.gather(send(outbox), send(outbox, topic="other"))
    assert broker.came == [(0, 1), (0, 1)]


async def test_what_a_producer_could_not_do_the_next_one_does_in_order(
    outbox: KafkaOutbox, broker: Broker
) -> None:
    broker.answers = [KafkaError._FATAL]
    sent = [send(outbox, 1), send(outbox, 2)]
    await asyncio.sleep(ROUND_TRIP * 1.5)
    sent.append(send(outbox, 3))
    await asyncio.gather(*sent)
    assert list(map(len, broker.values)) == [1, 1, 5]
    assert broker.came[1][0] == pytest.approx(ROUND_TRIP + RENEW_SECONDS)


async def test_nothing_arrives_behind_what_did_not(outbox: KafkaOutbox, broker: Broker) -> None:
    broker.answers = [KafkaError._MSG_TIMED_OUT]
    first, second = send(outbox), send(outbox)
    with pytest.raises(ChannelsAwayError, match="for 30 s"):
        await first
    with pytest.raises(ChannelsAwayError):
        await second
    assert len(broker.came) == 1
    await send(outbox)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError.MSG_SIZE_TOO_LARGE, MessageTooLargeError),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, ChannelError),
        (KafkaError._TRANSPORT, ChannelsAwayError),
    ],
)
async def test_what_brokers_refuse_fails(
    outbox: KafkaOutbox, broker: Broker, code: int, kind: type[Exception]
) -> None:
    broker.answers = [code]
    with pytest.raises(kind):
        await send(outbox)


async def test_what_is_for_a_topic_that_nobody_knows_is_dropped_after_a_while(
    outbox: KafkaOutbox, broker: Broker
) -> None:
    broker.answers = [KafkaError.UNKNOWN_TOPIC_OR_PART]
    began = asyncio.get_running_loop().time()
    await asyncio.gather(send(outbox), send(outbox))
    assert asyncio.get_running_loop().time() - began >= UNKNOWN_SECONDS
    assert len(broker.came) == 1


async def test_what_is_for_a_topic_that_becomes_known_arrives_in_order(
    outbox: KafkaOutbox, broker: Broker
) -> None:
    broker.answers = [KafkaError._UNKNOWN_PARTITION]
    await asyncio.gather(*(send(outbox, size, topic="late") for size in (1, 2, 3)))
    assert list(map(len, broker.values)) == [1, 1, 5]


async def test_what_has_not_arrived_at_the_end_fails(outbox: KafkaOutbox) -> None:
    sent = [send(outbox), send(outbox), send(outbox, topic="other")]
    await outbox.close()
    for future in [*sent, send(outbox)]:
        with pytest.raises(ChannelsAwayError, match="closed"):
            await future
