"""Fixtures for every test, loaded by ``tests/conftest.py``.

``redis_server``        one server for the whole run; each test that asks for it finds it empty
``every_redis_server``  the same, once per Redis version on this machine
``link`` ``store``      a link that knows all scripts, on ``redis_server``; and a store over it
``every_link``          a link on each of ``every_redis_server``
``own_redis``           a server of the test's own, to be killed and paused
``kafka_server``        one Kafka broker for the whole run; each test uses topics of its own
``kafka_behind_proxy``  a broker of the test's own, to be killed, and the proxy its clients go through
``s3_server``           one server that speaks S3 for the whole run; each test makes a bucket of its own
``three_brokers``       a cluster of the test's own, of which one may be killed

Where Kafka cannot be run, tests that ask for it are skipped, and the end of the run says so loudly;
with CI=true in the environment they fail.
"""

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from apps.sessions.store import SessionStore
from blueengine import ledger
from blueengine.kit.redis_address import RedisAddress
from blueengine.kit.redis_link import Link
from tests.kit import guardian, kafka, servers
from tests.kit.fault_proxy import FaultProxy
from tests.kit.kafka import RealKafka
from tests.kit.s3 import S3Server
from tests.kit.servers import RealRedis, ServerProgram

KAFKA_FIXTURES = {"kafka_server", "kafka_behind_proxy", "three_brokers", "channels", "guarded"}


def pytest_sessionstart() -> None:
    guardian.begin()


def pytest_report_header() -> list[str]:
    missing = kafka.why_not()
    return [
        f"redis: {', '.join(map(str, servers.found()))}",
        f"kafka: {missing or kafka.version()}",
    ]


def _asks_for_kafka(item: pytest.Item) -> bool:
    return bool(KAFKA_FIXTURES & set(getattr(item, "fixturenames", ())))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fetch and start Kafka before the first test, whose time is limited."""
    wanted = any(map(_asks_for_kafka, session.items))
    if wanted and not session.config.option.collectonly and not kafka.why_not():
        _kafka.append(RealKafka().start())


def pytest_sessionfinish() -> None:
    while _kafka:
        _kafka.pop().stop()


_kafka: list[RealKafka] = []
"""The broker that tests share, if any of them asks for it."""


def kafka_for(request: pytest.FixtureRequest) -> RealKafka:
    """Return the shared broker to a fixture that uses it for some parameters only."""
    need_kafka()
    server: RealKafka = request.getfixturevalue("kafka_server")
    return server


def need_kafka() -> None:
    """Skip what needs Kafka where it cannot be run; in CI that is a failure."""
    if missing := kafka.why_not():
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(f"Kafka is needed in CI: {missing}", pytrace=False)
        pytest.skip(f"{_NO_KAFKA}: {missing}")


_NO_KAFKA = "no Kafka here"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if count := sum(_NO_KAFKA in str(report.longrepr) for report in skipped):
        terminalreporter.section("KAFKA WAS NOT TESTED", sep="!", red=True, bold=True)
        terminalreporter.line(f"{count} tests did not run: {kafka.why_not()}.")
        terminalreporter.line("CONTRIBUTING.md says what they need.")


@pytest.fixture(scope="session")
def _shared_redis() -> Iterator[RealRedis]:
    with RealRedis() as server:
        yield server


@pytest.fixture(scope="session", params=servers.found(), ids=str)
def _each_redis(request: pytest.FixtureRequest) -> Iterator[RealRedis]:
    program: ServerProgram = request.param
    with RealRedis(program) as server:
        yield server


def _emptied(server: RealRedis) -> RealRedis:
    assert server.call("FLUSHALL") == "+OK"
    return server


@pytest.fixture
def redis_server(_shared_redis: RealRedis) -> RealRedis:
    """A real Redis, empty at the start of the test."""
    return _emptied(_shared_redis)


@pytest.fixture
def every_redis_server(_each_redis: RealRedis) -> RealRedis:
    """A real Redis of each version found, empty at the start of the test."""
    return _emptied(_each_redis)


@pytest.fixture
def own_redis() -> Iterator[RealRedis]:
    """A real Redis that the test may kill, pause and restart."""
    with RealRedis() as server:
        yield server


@pytest.fixture
def redis_address(redis_server: RealRedis) -> RedisAddress:
    return RedisAddress.from_url(redis_server.url)


async def _opened(server: RealRedis) -> AsyncIterator[Link]:
    link = Link(RedisAddress.from_url(server.url), scripts=ledger.load(), patience=5)
    await link.open()
    yield link
    await link.close()


@pytest.fixture
async def link(redis_server: RealRedis) -> AsyncIterator[Link]:
    """A link that knows every script, on an empty Redis."""
    async for opened in _opened(redis_server):
        yield opened


@pytest.fixture
async def every_link(every_redis_server: RealRedis) -> AsyncIterator[Link]:
    """A link that knows every script, on an empty Redis of each version found."""
    async for opened in _opened(every_redis_server):
        yield opened


@pytest.fixture
def store(link: Link) -> SessionStore:
    """The services' view of an empty ledger."""
    return SessionStore(link)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """A server that speaks S3, for the whole run."""
    with S3Server() as server:
        yield server


@pytest.fixture(scope="session")
def kafka_server() -> RealKafka:
    """A real Kafka of one broker, for the whole run."""
    need_kafka()
    return _kafka[0]


@pytest.fixture
def kafka_behind_proxy() -> Iterator[tuple[RealKafka, FaultProxy]]:
    """A Kafka of one broker that clients reach through a fault proxy; both the test's own."""
    need_kafka()
    with FaultProxy() as proxy, RealKafka(advertise=lambda _: proxy.port) as server:
        proxy.target = server.brokers[0].port
        yield server, proxy


@pytest.fixture
def three_brokers() -> Iterator[RealKafka]:
    """A Kafka of three brokers that the test may kill, pause and restart."""
    need_kafka()
    with RealKafka(3) as cluster:
        yield cluster
