"""A bucket that does not answer: sessions wait for it, and fail with the cause when it is too long."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from blueengine.transport.blobs_s3 import BlobBucket
from tests.integration.runtime.site import Platform, Site, a_graph, a_platform, a_site
from tests.kit.fault_proxy import FaultProxy
from tests.kit.s3 import S3Server

MIB = 1 << 20
PLAN = a_graph(
    {
        "make": ("blobs", {"Control": "In"}, {"Data": "Data"}),
        "copy": ("second", {"DataIn": "Data"}, {"Sums": "Sums"}),
    },
    stored=["Sums"],
    types={"Data": "Bytes"},
)


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server.port) as proxy:
        yield proxy


@pytest.fixture
def site(tmp_path: Path, s3_server: S3Server, proxy: FaultProxy) -> Iterator[Site]:
    name = s3_server.a_bucket()
    settings = {
        **s3_server.environment(name, endpoint=f"http://127.0.0.1:{proxy.port}"),
        "PATIENCE_SECONDS": "6",
    }
    bucket = BlobBucket(s3_server.settings(name), patience=20)  # the test's own way to it is free
    engines = ["blobs", ("blobs", "second")]
    with a_site(tmp_path, engines, channels=settings, bucket=bucket) as site:
        yield site


@pytest.fixture
async def platform(site: Site) -> AsyncIterator[Platform]:
    async with a_platform(site) as platform:
        yield platform


async def test_a_bucket_that_is_back_in_time_is_waited_for(
    platform: Platform, proxy: FaultProxy
) -> None:
    with proxy.cut():
        session = await platform.submit(PLAN, {"size": MIB, "count": 4})
        await asyncio.sleep(2)
    sums = await platform.finished(session, "Sums", seconds=40)
    assert [item["size"] for item in sums] == [MIB] * 4


async def test_sessions_fail_with_the_cause_when_patience_is_over_and_the_engines_stay(
    platform: Platform, proxy: FaultProxy
) -> None:
    with proxy.cut():
        session = await platform.submit(PLAN, {"size": MIB, "count": 4})
        record = await platform.ended(session, 40)
        assert record.status == "failed"
        assert record.fault
        assert record.fault.code == "blobs-away"
        assert "test-secret" not in record.fault.message
    session = await platform.submit(PLAN, {"size": MIB, "count": 4})
    assert len(await platform.finished(session, "Sums", seconds=40)) == 4


async def test_a_session_begins_again_when_it_may(platform: Platform, proxy: FaultProxy) -> None:
    with proxy.cut():
        session = await platform.submit(PLAN, {"size": MIB}, max_attempts=9)
        await asyncio.sleep(8)
    assert len(await platform.finished(session, "Sums", seconds=60)) == 1
    record = await platform.store.read(session)
    assert record
    assert record.attempt > 1
