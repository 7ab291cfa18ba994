"""A message too large for a data channel fails its writer, over Redis as over Kafka."""

from collections.abc import Iterator, Mapping
from typing import Final

import pytest

from tests.integration.runtime.site import Platform, Site, a_chain, a_site

LIMIT: Final = 128 * 1024


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, channels: Mapping[str, str]) -> Iterator[Site]:
    most = {"KAFKA_MAX_MESSAGE_BYTES": str(LIMIT), "REDIS_MAX_MESSAGE_BYTES": str(LIMIT)}
    nowhere_else = {"BLOB_DIR": ""}
    with a_site(
        tmp_path_factory.mktemp("site"),
        ["deeds", "echo"],
        channels={**channels, **most, **nowhere_else},
    ) as site:
        yield site


@pytest.mark.parametrize("count", [1, 50])
async def test_a_message_above_the_limit_fails_its_writer_with_the_numbers(
    platform: Platform, channels: Mapping[str, str], count: int
) -> None:
    chain = a_chain("deeds", "echo")
    session = await platform.submit(chain, {"do": "many", "count": count, "size": 200_000})
    record = await platform.ended(session)
    assert record.fault
    assert record.fault.code == "message-too-large"  # and not what the reader misses
    assert (record.fault.node, record.fault.engine) == ("n1", "deeds")
    setting = (
        "KAFKA_MAX_MESSAGE_BYTES" if "KAFKA_BROKERS" in channels else "REDIS_MAX_MESSAGE_BYTES"
    )
    for word in ("'Ch1'", f"limit of {LIMIT} ", setting):
        assert word in record.fault.message
    size = int(record.fault.message.partition("a message of ")[2].partition(" ")[0])
    assert size >= 200_000
    assert await platform.finished(await platform.submit(chain, {"do": "echo"}))
