"""The link over TLS: whom it trusts, and how it says that it does not."""

from dataclasses import replace
from pathlib import Path

import pytest

from blueengine.errors import StoreAwayError
from blueengine.kit.redis_address import RedisAddress
from blueengine.kit.redis_link import Link
from tests.kit.servers import RealRedis
from tests.kit.tls import Certificates, tls_in_front_of


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def at(port: int, certificates: Certificates, **changes: str) -> RedisAddress:
    found = RedisAddress.from_url(f"rediss://127.0.0.1:{port}/0")
    return replace(found, **{"tls_ca": str(certificates.ca), **changes})  # type: ignore[arg-type]


async def asked(address: RedisAddress) -> object:
    link = Link(address, patience=2)
    await link.open()
    try:
        return await link.send("ECHO", "hello")
    finally:
        await link.close()


async def test_a_server_that_a_trusted_authority_knows(
    redis_server: RealRedis, certificates: Certificates
) -> None:
    async with tls_in_front_of(redis_server.port, certificates.server_context()) as port:
        assert await asked(at(port, certificates)) == b"hello"


async def test_a_server_that_asks_who_we_are(
    redis_server: RealRedis, certificates: Certificates
) -> None:
    context = certificates.server_context(ask=True)
    ours = {"tls_cert": str(certificates.cert), "tls_key": str(certificates.key)}
    async with tls_in_front_of(redis_server.port, context) as port:
        assert await asked(at(port, certificates, **ours)) == b"hello"
        with pytest.raises(StoreAwayError):
            await asked(at(port, certificates))


async def test_a_server_that_nobody_knows_is_not_trusted(
    redis_server: RealRedis, certificates: Certificates
) -> None:
    async with tls_in_front_of(redis_server.port, certificates.server_context()) as port:
        with pytest.raises(StoreAwayError, match="certificate verify failed"):
            await asked(at(port, certificates, tls_ca=""))


async def test_a_server_of_another_name_is_not_trusted(
    redis_server: RealRedis, tmp_path: Path
) -> None:
    other = Certificates(tmp_path, name="redis.example")
    async with tls_in_front_of(redis_server.port, other.server_context()) as port:
        with pytest.raises(StoreAwayError, match="certificate"):
            await asked(at(port, other))


async def test_a_server_that_speaks_no_tls(
    redis_server: RealRedis, certificates: Certificates
) -> None:
    with pytest.raises(StoreAwayError, match="no Redis at"):
        await asked(at(redis_server.port, certificates))
