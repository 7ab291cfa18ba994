"""When what waits for an inbox goes: a lone message at once, a flow of them together. Virtual time."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from blueengine.settings.kafka import KafkaSettings
from blueengine.settings.system import SystemSettings
from blueengine.transport import kafka
from blueengine.transport.kafka import ENOUGH_BYTES, GATHER_SECONDS, KafkaTransport
from blueengine.wire.envelope import Header

pytestmark = pytest.mark.looptime

ROUND_TRIP = GATHER_SECONDS / 2


class Batch(list[bytes]):
    def append(self, *, value: bytes, **_: Any) -> bool:  # type: ignore[override]  # as aiokafka's
        super().append(value)
        return True


class Broker:
    """Acknowledges each batch after a round trip, and notes how long after the first it came."""

    client = None

    def __init__(self) -> None:
        self.took = ROUND_TRIP
        self.came: list[tuple[float, int]] = []
        self._began: float | None = None

    def create_batch(self) -> Batch:
        return Batch()

    async def send_batch(
        self, batch: Sequence[bytes], _topic: str, *, partition: int
    ) -> "asyncio.Future[None]":
        assert partition == 0
        loop = asyncio.get_running_loop()
        if self._began is None:
            self._began = loop.time()
        self.came.append((round(loop.time() - self._began, 6), len(batch)))
        sent: asyncio.Future[None] = loop.create_future()
        loop.call_later(self.took, sent.set_result, None)
        return sent


@pytest.fixture
def settings() -> KafkaSettings:
    found = SystemSettings(kafka_brokers="127.0.0.1:9").kafka
    assert found
    return found


@pytest.fixture
async def broker() -> Broker:
    return Broker()


@pytest.fixture
async def transport(
    settings: KafkaSettings, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> KafkaTransport:
    async def known(*_: object, **__: object) -> bool:
        return True

    async def get() -> Broker:
        return broker

    monkeypatch.setattr(kafka, "_is_known", known)
    transport = KafkaTransport(settings, "writer", patience=30)
    monkeypatch.setattr(transport._producers, "get", get)
    return transport


def send(transport: KafkaTransport, size: int = 10) -> "asyncio.Future[Any]":
    return transport.send("reader", Header("s", 1, "r", "w", "c", 0), bytes(size))


async def test_a_lone_message_waits_for_nothing(transport: KafkaTransport, broker: Broker) -> None:
    await send(transport)
    await send(transport)
    assert broker.came == [(0, 1), (ROUND_TRIP, 1)]


async def test_in_a_flow_more_may_come_for_as_long_as_the_last_batch_took(
    transport: KafkaTransport, broker: Broker
) -> None:
    sent = [send(transport)]
    for _ in range(3):
        await asyncio.sleep(0.6 * ROUND_TRIP)
        sent.append(send(transport))
    await asyncio.gather(*sent)
    assert broker.came == [(0, 1), (2 * ROUND_TRIP, 3)]


async def test_it_waits_no_longer_when_much_has_come(
    transport: KafkaTransport, broker: Broker
) -> None:
    first = send(transport)
    await asyncio.sleep(0.5 * ROUND_TRIP)
    second = send(transport)
    await asyncio.sleep(ROUND_TRIP)
    await asyncio.gather(first, second, send(transport, ENOUGH_BYTES))
    assert broker.came == [(0, 1), (1.5 * ROUND_TRIP, 2)]


async def test_it_never_waits_for_long(transport: KafkaTransport, broker: Broker) -> None:
    broker.took = 1.0
    first = send(transport)
    await asyncio.sleep(0.5)
    await asyncio.gather(first, send(transport))
    assert broker.came == [(0, 1), (1 + GATHER_SECONDS, 1)]
