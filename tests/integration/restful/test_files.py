"""Uploads, downloads, and binary start data and results."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from blueengine.transport.blobs import INLINE_LIMIT
from blueengine.wire import codec
from blueengine.wire.envelope import Meta, Stored
from tests.integration.restful.conftest import API, Gateway, an_echo
from tests.integration.restful.fake_engine import FakeEngine
from tests.kit.wait import until

PDF = {"Content-Type": "application/pdf"}


def kept(gateway: Gateway) -> list[Path]:
    return [path for path in gateway.blobs.rglob("*") if path.is_file()]


async def upload(gateway: Gateway, content: bytes, name: str = "a.pdf") -> str:
    answer = await gateway.client.post(
        f"{API}/files", params={"name": name}, content=content, headers=PDF
    )
    assert answer.status_code == 201, answer.text
    file_id: str = answer.json()["data"]["fileId"]
    return file_id


async def test_an_upload_comes_back_as_it_was(gateway: Gateway) -> None:
    content = bytes(range(256)) * 8000
    answer = await gateway.client.post(
        f"{API}/files", params={"name": "x/ä b.pdf"}, content=content, headers=PDF
    )
    data = answer.json()["data"]
    assert answer.status_code == 201
    assert data == {
        "fileId": data["fileId"],
        "name": "ä b.pdf",
        "contentType": "application/pdf",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "url": f"{API}/files/{data['fileId']}",
    }
    got = await gateway.client.get(data["url"])
    assert got.content == content
    assert got.headers["content-type"] == "application/pdf"
    assert got.headers["content-disposition"] == "inline; filename*=utf-8''%C3%A4%20b.pdf"


async def test_a_file_name_may_come_in_a_header(gateway: Gateway) -> None:
    answer = await gateway.client.post(
        f"{API}/files", content=b"x", headers={"X-File-Name": "a.bin"}
    )
    assert answer.json()["data"]["name"] == "a.bin"


async def test_a_download_serves_ranges(gateway: Gateway) -> None:
    url = f"{API}/files/{await upload(gateway, b'0123456789')}"
    for asked, wanted in (("bytes=2-4", b"234"), ("bytes=7-", b"789"), ("bytes=-2", b"89")):
        got = await gateway.client.get(url, headers={"Range": asked})
        assert (got.status_code, got.content) == (206, wanted)
    assert (await gateway.client.get(url, headers={"Range": "bytes=20-"})).status_code == 416


async def test_what_a_browser_could_run_is_not_shown_in_place(gateway: Gateway) -> None:
    answer = await gateway.client.post(
        f"{API}/files", content=b"<script>", headers={"Content-Type": "text/html"}
    )
    got = await gateway.client.get(answer.json()["data"]["url"])
    assert got.headers["content-disposition"] == "attachment"
    assert got.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("said", [True, False])
async def test_an_upload_that_is_too_large_is_413_and_leaves_nothing(
    gateway: Gateway, said: bool
) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(80):
            yield b"x" * (1 << 16)

    async def stream() -> AsyncIterator[bytes]:
        for piece in pieces():
            yield piece

    content = b"".join(pieces()) if said else stream()
    answer = await gateway.client.post(f"{API}/files", content=content, headers=PDF)
    assert answer.status_code == 413
    assert kept(gateway) == []


async def test_an_upload_that_breaks_off_leaves_nothing(gateway: Gateway) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"POST /api/v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n")
    writer.write(b"x" * 2_000_000)
    await writer.drain()
    await until(lambda: any(path.stat().st_size for path in kept(gateway)))
    writer.close()
    await until(lambda: not kept(gateway))
    assert list((gateway.blobs / "files").iterdir()) == []


@pytest.mark.parametrize("file_id", ["nothing", "..", "a%2Fb", "%2E%2E%2Ffiles"])
async def test_an_unknown_file_is_404(gateway: Gateway, file_id: str) -> None:
    assert (await gateway.client.get(f"{API}/files/{file_id}")).status_code == 404


async def test_small_binary_start_data_goes_with_the_session(
    gateway: Gateway, engine: FakeEngine
) -> None:
    file_id = await upload(gateway, b"from a file", "b.pdf")
    payload = {"base64": base64.b64encode(b"\x00png").decode(), "contentType": "image/png"}
    body = {
        "dataChannels": [{"name": "In", "type": "Image"}],
        "engines": [{"id": "echo", "inputs": [{"name": "Image", "type": "Image", "linkTo": "In"}]}],
        "startData": [
            {"channelName": "In", "payload": payload},
            {"channelName": "In", "payload": {"fileId": file_id}},
        ],
    }
    assert (await gateway.post("/process-workflow", body)).status_code == 202
    first, second = (await engine.accept()).feeds
    assert (first.payload, first.blob) == (b"\x00png", "")
    assert codec.decode(Meta, first.meta) == Meta(content_type="image/png")
    assert second.payload == b"from a file"
    facts = codec.decode(Meta, second.meta)
    assert (facts.content_type, facts.name) == ("application/pdf", "b.pdf")


async def test_large_start_data_goes_by_reference(gateway: Gateway, engine: FakeEngine) -> None:
    large = bytes(INLINE_LIMIT + 1)
    file_id = await upload(gateway, large)
    body = {
        "dataChannels": [{"name": "In", "type": "Image"}, {"name": "J", "interested": True}],
        "engines": [
            {
                "id": "echo",
                "inputs": [
                    {"name": "Image", "type": "Image", "linkTo": "In"},
                    {"name": "Control", "linkTo": "J"},
                ],
            }
        ],
        "startData": [
            {"channelName": "In", "payload": {"base64": base64.b64encode(large).decode()}},
            {"channelName": "In", "payload": {"fileId": file_id}},
            {"channelName": "J", "payload": "y" * INLINE_LIMIT},
        ],
    }
    answer = await gateway.post("/process-workflow", body)
    assert answer.status_code == 202, answer.text
    feeds = (await engine.accept()).feeds
    assert [feed.payload for feed in feeds] == [b"", b"", b""]
    read = [gateway.parts.blobs.read(feed.blob) for feed in feeds]
    assert read == [large, large, b'"' + b"y" * INLINE_LIMIT + b'"']
    session = answer.json()["data"]["sessionId"]
    got = await gateway.get(f"/process-workflow/{session}")
    assert got.json()["data"]["results"] == {"J": ["y" * INLINE_LIMIT]}


async def test_much_small_start_data_does_not_fill_redis(
    gateway: Gateway, engine: FakeEngine
) -> None:
    piece = {"channelName": "In", "payload": "x" * 60_000}
    body = {
        "dataChannels": [{"name": "In"}],
        "engines": [{"id": "echo", "inputs": [{"name": "Control", "linkTo": "In"}]}],
        "startData": [piece] * 17,
    }
    assert (await gateway.post("/process-workflow", body)).status_code == 202
    feeds = (await engine.accept()).feeds
    assert sum(len(feed.payload) for feed in feeds) <= 1 << 20
    gateway.parts.blobs.remove_below("sessions")


async def test_a_refused_request_leaves_no_start_data(gateway: Gateway) -> None:
    large = "y" * (INLINE_LIMIT + 1)
    headers = {"Idempotency-Key": "one"}
    first = an_echo(inputs={"Control": {"payload": large}})
    await gateway.post("/process-single-engine", first, headers=headers)
    before = kept(gateway)
    assert len(before) == 1
    other = an_echo(inputs={"Control": {"payload": large + "z"}})
    refused = await gateway.post("/process-single-engine", other, headers=headers)
    assert refused.status_code == 409
    assert (await gateway.post("/process-single-engine", first, headers=headers)).status_code == 202
    assert kept(gateway) == before


async def test_binary_results_are_fetched_by_their_url(
    gateway: Gateway, engine: FakeEngine
) -> None:
    request = gateway.begin(
        "/process-single-engine",
        an_echo(outputs={"Picture": {"type": "Image", "interested": True}}, waitTimeSecond=10),
    )
    part = await engine.accept()
    meta = codec.encode(Meta(content_type="image/png", name="p.png", facts={"page": 3}))
    gateway.parts.blobs.write("sessions/x/results/Picture/0", [b"in a file"])
    await part.output(
        "Picture",
        Stored("Image", b"in redis", meta, size=8),
        Stored(
            "Image",
            b"",
            codec.encode(Meta(shape=(2, 2), dtype="uint8")),
            "sessions/x/results/Picture/0",
            9,
        ),
    )
    await part.finish()
    first, second = (await request).json()["data"]["results"]["Picture"]
    url = f"{API}/sessions/{part.session}/results/Picture"
    assert first == {
        "url": f"{url}/0/blob",
        "contentType": "image/png",
        "size": 8,
        "meta": {"page": 3, "name": "p.png"},
    }
    assert second == {
        "url": f"{url}/1/blob",
        "contentType": "application/octet-stream",
        "size": 9,
        "meta": {"shape": [2, 2], "dtype": "uint8"},
    }
    got = await gateway.client.get(first["url"])
    assert (got.content, got.headers["content-type"]) == (b"in redis", "image/png")
    got = await gateway.client.get(second["url"])
    assert got.content == b"in a file"
    for result, wanted in ((first, b"red"), (second, b"a f")):
        got = await gateway.client.get(result["url"], headers={"Range": "bytes=3-5"})
        assert (got.status_code, got.content) == (206, wanted)
    got = await gateway.client.get(first["url"], headers={"Range": "bytes=8-"})
    assert got.status_code == 416
    assert (await gateway.client.get(f"{url}/2/blob")).status_code == 404
    assert (await gateway.client.get(f"{url}/-1/blob")).status_code == 422


async def test_a_result_whose_file_is_gone_is_404(gateway: Gateway, engine: FakeEngine) -> None:
    session = await gateway.submit()
    part = await engine.accept()
    await part.output("Result", Stored("JSON", b"", b"", "sessions/y/results/Result/0", 70_000))
    await part.finish()
    read = await gateway.get(f"/process-single-engine/{session}")
    (result,) = read.json()["data"]["results"]["Result"]
    assert (await gateway.client.get(result["url"])).status_code == 404
