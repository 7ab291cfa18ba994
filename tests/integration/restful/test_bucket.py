"""A gateway whose blobs are in a bucket: what clients see is the same, and 503 while it is away."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace

import pytest

from apps.restful.settings import RestfulSettings
from blueengine.transport.blobs import result_ref
from blueengine.transport.blobs_s3 import PIECE_BYTES, BlobBucket
from blueengine.wire.envelope import Stored
from tests.integration.restful.conftest import API, Gateway, running
from tests.integration.restful.fake_engine import FakeEngine
from tests.kit.fault_proxy import FaultProxy
from tests.kit.s3 import S3Server

PDF = {"Content-Type": "application/pdf"}
LARGE = bytes(range(256)) * 100_000
"""Three pieces and a bit."""


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server.port) as proxy:
        yield proxy


@pytest.fixture
def environment(s3_server: S3Server, proxy: FaultProxy) -> Mapping[str, str]:
    return s3_server.environment(endpoint=f"http://127.0.0.1:{proxy.port}")


@pytest.fixture
async def gateway(
    settings: RestfulSettings, environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Gateway]:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    system = replace(
        settings.system,
        blob_url=environment["BLOB_URL"],
        blob_endpoint=environment["BLOB_ENDPOINT"],
        blob_region=environment["BLOB_REGION"],
    )
    mine = replace(settings, system=system, max_upload=40 << 20, redis_patience=3.0)
    async with running(mine) as gateway:
        yield gateway


@pytest.fixture
def bucket(gateway: Gateway) -> BlobBucket:
    assert isinstance(gateway.parts.blobs, BlobBucket)
    return gateway.parts.blobs


async def upload(gateway: Gateway, content: bytes) -> str:
    answer = await gateway.client.post(
        f"{API}/files", params={"name": "a.pdf"}, content=content, headers=PDF
    )
    assert answer.status_code == 201, answer.text
    assert answer.json()["data"]["sha256"] == hashlib.sha256(content).hexdigest()
    file_id: str = answer.json()["data"]["fileId"]
    return file_id


async def test_an_upload_comes_back_whole_and_by_ranges(gateway: Gateway) -> None:
    url = f"{API}/files/{await upload(gateway, LARGE)}"
    got = await gateway.client.get(url)
    assert (got.status_code, got.content == LARGE) == (200, True)
    assert got.headers["content-type"] == "application/pdf"
    assert got.headers["x-content-type-options"] == "nosniff"
    for asked, wanted in (
        ("bytes=2-4", LARGE[2:5]),
        ("bytes=9000000-", LARGE[9_000_000:]),
        ("bytes=-2", LARGE[-2:]),
    ):
        part = await gateway.client.get(url, headers={"Range": asked})
        assert (part.status_code, part.content == wanted) == (206, True)
        assert part.headers["content-range"].endswith(f"/{len(LARGE)}")
    beyond = {"Range": f"bytes={len(LARGE)}-"}
    assert (await gateway.client.get(url, headers=beyond)).status_code == 416
    stale = {"Range": "bytes=0-1", "If-Range": '"another"'}
    assert (await gateway.client.get(url, headers=stale)).status_code == 200
    fresh = {"Range": "bytes=0-1", "If-Range": got.headers["etag"]}
    assert (await gateway.client.get(url, headers=fresh)).content == LARGE[:2]


async def test_an_empty_upload_comes_back(gateway: Gateway) -> None:
    got = await gateway.client.get(f"{API}/files/{await upload(gateway, b'')}")
    assert (got.status_code, got.content) == (200, b"")


async def test_an_upload_that_is_too_large_leaves_nothing(
    gateway: Gateway, bucket: BlobBucket
) -> None:
    async def stream() -> AsyncIterator[bytes]:
        for _ in range(41):
            yield bytes(1 << 20)

    answer = await gateway.client.post(f"{API}/files", content=stream(), headers=PDF)
    assert answer.status_code == 413
    assert await asyncio.to_thread(bucket.below, "files") == {}


async def put(gateway: Gateway, file_id: str, first: int, part: bytes) -> tuple[int, str]:
    said = f"bytes {first}-{first + len(part) - 1}/{len(LARGE)}"
    answer = await gateway.client.put(
        f"{API}/files/{file_id}", content=part, headers={"Content-Range": said}
    )
    data = answer.json()["data"]
    return answer.status_code, data["errors"][0]["type"] if "errors" in data else ""


async def begin(gateway: Gateway, first: bytes = b"") -> str:
    answer = await gateway.client.post(
        f"{API}/files", params={"size": len(LARGE)}, content=first, headers=PDF
    )
    assert answer.status_code == 202, answer.text
    file_id: str = answer.json()["data"]["fileId"]
    return file_id


async def test_an_upload_may_come_in_several_requests(gateway: Gateway, bucket: BlobBucket) -> None:
    file_id = await begin(gateway, LARGE[:10])
    assert await put(gateway, file_id, 11, LARGE[11:20]) == (409, "wrong-offset")
    middle = 2 * PIECE_BYTES + 5
    assert await put(gateway, file_id, 10, LARGE[10:middle]) == (202, "")
    stands = await gateway.get(f"/files/{file_id}/upload")
    assert stands.json()["data"]["received"] == middle
    assert (await gateway.get(f"/files/{file_id}")).status_code == 404
    assert await put(gateway, file_id, middle, LARGE[middle:]) == (201, "")
    got = await gateway.get(f"/files/{file_id}")
    assert got.content == LARGE
    assert sorted(await asyncio.to_thread(bucket.below, f"files/{file_id}")) == [
        f"files/{file_id}/data",
        f"files/{file_id}/facts.json",
    ]


async def test_more_bytes_than_an_upload_was_to_have_leave_it_as_it_was(gateway: Gateway) -> None:
    file_id = await begin(gateway, LARGE[:10])

    async def stream() -> AsyncIterator[bytes]:
        yield LARGE
        yield b"too much"

    said = f"bytes 10-{len(LARGE) - 1}/{len(LARGE)}"
    answer = await gateway.client.put(
        f"{API}/files/{file_id}", content=stream(), headers={"Content-Range": said}
    )
    assert answer.status_code == 422
    assert (await gateway.get(f"/files/{file_id}/upload")).json()["data"]["received"] == 10
    assert await put(gateway, file_id, 10, LARGE[10:]) == (201, "")


async def test_an_upload_whose_gateway_died_before_the_last_step_is_finished_later(
    gateway: Gateway, bucket: BlobBucket
) -> None:
    file_id = await begin(gateway, LARGE[:10])
    await asyncio.to_thread(bucket.write, f"files/{file_id}/pieces/{10:020d}", [LARGE[10:]])
    stands = await gateway.get(f"/files/{file_id}/upload")
    assert stands.json()["data"]["received"] == len(LARGE)
    assert (await gateway.get(f"/files/{file_id}")).content == LARGE


async def test_large_start_data_goes_through_the_bucket(
    gateway: Gateway, engine: FakeEngine, bucket: BlobBucket
) -> None:
    body = {
        "dataChannels": [{"name": "In", "type": "Image"}],
        "engines": [{"id": "echo", "inputs": [{"name": "Image", "type": "Image", "linkTo": "In"}]}],
        "startData": [
            {"channelName": "In", "payload": {"fileId": await upload(gateway, LARGE)}},
            {
                "channelName": "In",
                "payload": {"base64": base64.b64encode(LARGE[:100_000]).decode()},
            },
        ],
    }
    answer = await gateway.post("/process-workflow", body)
    assert answer.status_code == 202, answer.text
    part = await engine.accept()
    read = [await asyncio.to_thread(bucket.read, feed.blob) for feed in part.feeds]
    assert read == [LARGE, LARGE[:100_000]]


async def test_a_large_result_is_streamed_from_the_bucket(
    gateway: Gateway, engine: FakeEngine, bucket: BlobBucket
) -> None:
    outputs = {"Picture": {"type": "Image", "interested": True}}
    session = await gateway.submit(outputs=outputs)
    part = await engine.accept()
    ref = result_ref(session, "Picture", "1-n-0")
    await asyncio.to_thread(bucket.write, ref, [LARGE])
    await part.output("Picture", Stored("Image", b"", b"", ref, len(LARGE)))
    url = f"/sessions/{session}/results/Picture/0/blob"
    got = await gateway.get(url)
    assert (got.status_code, got.content == LARGE) == (200, True)
    await asyncio.to_thread(bucket.remove, ref)
    assert (await gateway.get(url)).status_code == 404


async def test_while_the_bucket_is_away_the_door_says_503_and_then_goes_on(
    gateway: Gateway, proxy: FaultProxy
) -> None:
    file_id = await upload(gateway, LARGE)
    with proxy.cut():
        for answer in (
            await gateway.get(f"/files/{file_id}"),
            await gateway.client.post(f"{API}/files", content=b"x" * 100_000),
        ):
            assert answer.status_code == 503, answer.text
            assert answer.headers["retry-after"]
            assert answer.json()["data"]["errors"][0]["type"] == "blobs-away"
            assert "test-secret" not in answer.text
        ready = await gateway.client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["parts"]["blobs"] == "no answer within 1 s"
    assert (await gateway.client.get("/readyz")).status_code == 200
    assert (await gateway.get(f"/files/{file_id}")).content == LARGE
