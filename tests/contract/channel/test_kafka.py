"""The suites against Kafka."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from blueengine.settings.system import SystemSettings
from blueengine.transport.base import Transport
from blueengine.transport.kafka import KafkaTransport
from blueengine.transport.kafka_topics import topics
from blueengine.wire import names
from tests.contract.channel.suite import LIMIT, ChannelContract, Line, ReconnectContract
from tests.kit.builders import a_topic_prefix
from tests.kit.fault_proxy import FaultProxy
from tests.kit.kafka import RealKafka


class KafkaLine(Line):
    def __init__(self, server: RealKafka, proxy: FaultProxy | None = None) -> None:
        self._server, self._proxy = server, proxy
        settings = SystemSettings(
            kafka_brokers=server.bootstrap,
            kafka_topic_prefix=a_topic_prefix(),
            kafka_max_message_bytes=LIMIT,
        ).kafka
        assert settings
        self.settings = settings
        self._transports: dict[str, KafkaTransport] = {}

    async def attend(self, instance: str) -> Transport:
        transport = KafkaTransport(self.settings, instance, patience=150)
        await transport.open()
        self._transports[instance] = transport
        return transport

    async def leave(self, instance: str) -> None:
        await self._transports.pop(instance).close()

    async def left_over(self) -> list[str]:
        async with topics(self.settings) as admin:
            return [owner for owner in await admin.owners() if owner not in self._transports]

    async def kept(self, instance: str) -> int:
        inbox = TopicPartition(names.inbox_topic(self.settings.topic_prefix, instance), 0)
        consumer = AIOKafkaConsumer(bootstrap_servers=self._server.bootstrap)
        await consumer.start()
        first = await consumer.beginning_offsets([inbox])
        last = await consumer.end_offsets([inbox])
        await consumer.stop()
        kept: int = last[inbox] - first[inbox]
        return kept

    async def break_connections(self) -> None:
        assert self._proxy
        self._proxy.reset()

    async def restart(self) -> None:
        await asyncio.to_thread(self._server.restart, hard=True)

    async def close(self) -> None:
        for instance in list(self._transports):
            await self.leave(instance)


class TestKafka(ChannelContract):
    @pytest.fixture
    async def line(self, kafka_server: RealKafka) -> AsyncIterator[Line]:
        line = KafkaLine(kafka_server)
        yield line
        await line.close()


@pytest.mark.timeout(400)
class TestKafkaAway(ReconnectContract):
    @pytest.fixture
    async def line(self, kafka_behind_proxy: tuple[RealKafka, FaultProxy]) -> AsyncIterator[Line]:
        line = KafkaLine(*kafka_behind_proxy)
        yield line
        await line.close()


async def test_the_topic_says_how_long_and_how_large(kafka_server: RealKafka) -> None:
    line = KafkaLine(kafka_server)
    await line.attend("i")
    topic = names.inbox_topic(line.settings.topic_prefix, "i")
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_server.bootstrap)
    await admin.start()
    [told] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    await admin.close()
    values = {entry[0]: entry[1] for entry in told.resources[0][4]}
    assert values["retention.ms"] == "3600000"
    assert int(values["max.message.bytes"]) > LIMIT
    await line.close()
