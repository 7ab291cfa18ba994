"""Fixtures for every test, loaded by ``tests/conftest.py``.

``redis_server``        one server for the whole run; each test that asks for it finds it empty
``every_redis_server``  the same, once per Redis version on this machine
``link`` ``store``      a link that knows all scripts, on ``redis_server``; and a store over it
``every_link``          a link on each of ``every_redis_server``
``own_redis``           a server of the test's own, to be killed and paused
"""

from collections.abc import AsyncIterator, Iterator

import pytest

from apps.sessions.store import SessionStore
from blueengine import ledger
from blueengine.kit.redis_address import RedisAddress
from blueengine.kit.redis_link import Link
from tests.kit import servers
from tests.kit.servers import RealRedis, ServerProgram


def pytest_report_header() -> str:
    return f"redis: {', '.join(map(str, servers.found()))}"


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
