"""``site`` is a test's own; a module that can share one defines a module-scoped ``site``."""

from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest

from blueengine.settings.system import SystemSettings
from blueengine.transport.kafka_topics import topics
from tests.integration.runtime.site import Platform, Site, a_platform, a_site
from tests.kit.builders import a_topic_prefix
from tests.kit.fixtures import kafka_for
from tests.kit.kafka import RealKafka


@pytest.fixture(scope="module", params=["direct", "redis", "kafka"])
def channels(request: pytest.FixtureRequest) -> Iterator[Mapping[str, str]]:
    """What data goes over, as settings of the engines; what they leave in Kafka is a fault."""
    if request.param != "kafka":
        yield {"LOCAL_CHANNELS": "1" if request.param == "direct" else "0"}
        return
    server: RealKafka = kafka_for(request)
    settings = {"KAFKA_BROKERS": server.bootstrap, "KAFKA_TOPIC_PREFIX": a_topic_prefix()}
    yield settings
    kafka = SystemSettings(
        kafka_brokers=server.bootstrap, kafka_topic_prefix=settings["KAFKA_TOPIC_PREFIX"]
    ).kafka
    assert kafka

    async def owners(_: str) -> list[str]:
        async with topics(kafka) as admin:
            return await admin.owners()

    assert server.ask(owners) == []


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with a_site(tmp_path) as site:
        yield site


@pytest.fixture
async def platform(site: Site) -> AsyncIterator[Platform]:
    async with a_platform(site) as platform:
        yield platform
