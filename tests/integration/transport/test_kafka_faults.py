"""Kafka freezes, is cut off or resets connections while a transport begins, asks, writes or ends.

Whatever the moment: it goes on when Kafka is back, or says in time that it is away.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from blueengine.errors import ChannelsAwayError, InboxLostError
from blueengine.settings.system import SystemSettings
from blueengine.transport.kafka import KafkaTransport
from blueengine.transport.kafka_inbox import KafkaInbox
from blueengine.transport.kafka_outbox import RENEW_SECONDS
from blueengine.transport.kafka_topics import Topics, topics
from tests.contract.channel.suite import Reader, header
from tests.kit.builders import a_topic_prefix
from tests.kit.fault_proxy import FaultProxy
from tests.kit.kafka import RealKafka
from tests.kit.wait import until

pytestmark = pytest.mark.timeout(200)

LONG = 150.0
"""A patience that no test waits for."""
LIMIT = 60.0

Attend = Callable[..., Any]


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[RealKafka, FaultProxy]]:
    with FaultProxy() as proxy, RealKafka(advertise=lambda _: proxy.port) as kafka:
        proxy.target = kafka.brokers[0].port
        yield kafka, proxy


@pytest.fixture
def proxy(server: tuple[RealKafka, FaultProxy]) -> Iterator[FaultProxy]:
    yield server[1]
    server[1].heal()


@pytest.fixture
def transport_of(server: tuple[RealKafka, FaultProxy]) -> Attend:
    """Makes transports of one platform."""
    prefix = a_topic_prefix()

    def make(instance: str, patience: float = LONG) -> KafkaTransport:
        settings = SystemSettings(
            kafka_brokers=server[0].bootstrap, kafka_topic_prefix=prefix
        ).kafka
        assert settings
        return KafkaTransport(settings, instance, patience=patience)

    return make


@asynccontextmanager
async def attending(transport: KafkaTransport) -> AsyncIterator[KafkaTransport]:
    await transport.open()
    try:
        yield transport
    finally:
        await transport.close()


@asynccontextmanager
async def reading(transport: KafkaTransport) -> AsyncIterator[Reader]:
    async with attending(transport):
        reader = Reader(transport)
        try:
            yield reader
        finally:
            await reader.close()


FAULTS = pytest.mark.parametrize(
    "fault", [FaultProxy.freeze, FaultProxy.refuse], ids=["frozen", "cut off"]
)
Fault = Callable[[FaultProxy], None]


@FAULTS
async def test_one_that_begins_meanwhile_begins_when_kafka_is_back(
    proxy: FaultProxy, transport_of: Attend, fault: Fault
) -> None:
    fault(proxy)
    transport = transport_of("late")
    opening = asyncio.create_task(transport.open())
    await asyncio.sleep(1)  # it has tried by now, and waits for an answer or for its next try
    assert not opening.done()
    proxy.heal()
    async with asyncio.timeout(LIMIT):
        await opening
    await transport.send("late", header(0), b"x")
    assert await transport.receive()
    await transport.close()


async def test_one_that_could_not_begin_to_read_at_first_reads_later(
    transport_of: Attend, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, tried = KafkaInbox._begin, []

    def fail_once(inbox: KafkaInbox, *more: Any) -> None:
        tried.append(inbox)
        if len(tried) == 1:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        begin(inbox, *more)

    monkeypatch.setattr(KafkaInbox, "_begin", fail_once)
    async with reading(transport_of("twice")) as got, attending(transport_of("writer")) as writer:
        async with asyncio.timeout(LIMIT):
            await writer.send("twice", header(0), b"x")
        assert len(await got.until(1, LIMIT)) == 1


@FAULTS
async def test_one_that_begins_says_when_its_patience_is_over(
    proxy: FaultProxy, transport_of: Attend, fault: Fault
) -> None:
    fault(proxy)
    transport = transport_of("never", patience=1)
    async with asyncio.timeout(LIMIT):
        with pytest.raises(ChannelsAwayError):
            await transport.open()
        await transport.close()


@FAULTS
async def test_one_that_reads_says_that_kafka_is_away_and_reads_on_when_it_is_back(
    proxy: FaultProxy, transport_of: Attend, fault: Fault
) -> None:
    async with attending(transport_of("reader", patience=2)) as transport:
        fault(proxy)

        async def read_on() -> None:
            while True:
                await transport.receive()

        async with asyncio.timeout(LIMIT):
            with pytest.raises(ChannelsAwayError):
                await read_on()
        proxy.heal()

        async def sent() -> bool:
            try:
                await transport.send("reader", header(0), b"x")
            except ChannelsAwayError:
                return False
            return True

        await until(sent, LIMIT)

        async def came() -> bool:
            try:
                return bool(await transport.receive())
            except ChannelsAwayError:
                return False

        await until(came, LIMIT)


@FAULTS
async def test_a_fault_while_it_asks_whether_its_inbox_is_there_is_no_answer(
    proxy: FaultProxy, transport_of: Attend, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = transport_of("asker", patience=8), transport_of("writer")
    asked = threading.Event()
    ask = KafkaInbox._ask

    def note(inbox: KafkaInbox, *more: Any) -> None:
        asked.set()
        ask(inbox, *more)

    monkeypatch.setattr(KafkaInbox, "_ask", note)
    async with attending(writer), reading(reader) as got:
        proxy.freeze()  # so that it has a reason to ask
        assert await asyncio.to_thread(asked.wait, LIMIT)
        fault(proxy)
        proxy.heal()
        async with asyncio.timeout(LIMIT):
            await writer.send("asker", header(0), b"x")
        assert len(await got.until(1, LIMIT)) == 1


@FAULTS
async def test_one_that_ends_meanwhile_ends(
    proxy: FaultProxy, transport_of: Attend, fault: Fault
) -> None:
    transport = transport_of("ends")
    await transport.open()
    reading = asyncio.create_task(transport.receive())
    await asyncio.sleep(0)
    fault(proxy)
    sent = transport.send("ends", header(0), b"x")
    reading.cancel()
    await asyncio.wait((reading,))
    async with asyncio.timeout(LIMIT):
        await transport.close()
        with pytest.raises(ChannelsAwayError):
            await sent


async def test_an_inbox_that_is_removed_under_its_reader_is_lost(transport_of: Attend) -> None:
    async with attending(transport_of("robbed", patience=8)) as transport:
        async with topics(transport._settings) as admin:
            await admin.remove(["robbed"])

        async def read_on() -> None:
            while True:
                await transport.receive()

        async with asyncio.timeout(LIMIT):
            with pytest.raises(InboxLostError, match="was removed from Kafka"):
                await read_on()


async def test_what_two_inboxes_are_sent_survives_the_end_of_the_producer_they_share(
    proxy: FaultProxy, transport_of: Attend
) -> None:
    writer, reader, other = transport_of("writer"), transport_of("reader"), transport_of("other")
    async with attending(writer), reading(reader) as got, reading(other) as second:
        await writer.send("reader", header(0), b"x")
        await writer.send("other", header(0), b"x")
        proxy.freeze()
        sent = [writer.send(to, header(1), b"x") for to in ("reader", "other")]
        await asyncio.sleep(0.1)  # both batches are on their way
        writer._outbox.renew()
        await asyncio.sleep(2 * RENEW_SECONDS)
        proxy.heal()
        async with asyncio.timeout(LIMIT):
            await asyncio.gather(*sent)
        assert len(await got.until(2, LIMIT)) == len(await second.until(2, LIMIT)) == 2


async def test_connections_that_break_all_the_time_lose_nothing(
    proxy: FaultProxy, transport_of: Attend
) -> None:
    writer, reader = transport_of("writer"), transport_of("reader")
    async with attending(writer), reading(reader) as got:
        sent = []
        for _ in range(20):
            for _ in range(30):
                sent.append(writer.send("reader", header(len(sent)), b"x" * 500))
                await asyncio.sleep(0.002)
            await asyncio.to_thread(proxy.reset)
        async with asyncio.timeout(LONG):
            await asyncio.gather(*sent)
        assert len(await got.until(len(sent), LIMIT)) == len(sent)


async def test_what_is_for_an_inbox_that_is_made_again_arrives(transport_of: Attend) -> None:
    """As when an instance begins again under its own name, and brokers are asked in between."""
    async with attending(transport_of("writer")) as writer:
        async with reading(transport_of("reborn")) as got:
            await writer.send("reborn", header(0), b"x")
            await got.until(1, LIMIT)
        async with topics(writer._settings) as admin:
            await until(partial(is_gone, admin, "reborn"), LIMIT)
        sent = writer.send("reborn", header(0), b"y")
        async with reading(transport_of("reborn")) as got:
            async with asyncio.timeout(LIMIT):
                await sent
            assert [body for _, body in await got.until(1, LIMIT)] == [b"y"]


async def is_gone(admin: Topics, instance: str) -> bool:
    return instance not in await admin.owners()
