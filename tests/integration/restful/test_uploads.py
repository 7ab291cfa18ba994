"""Uploads as a form, and uploads in several requests that survive a lost connection."""

import asyncio
import fcntl
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from apps.restful.service import resumed
from blueengine.transport.blobs import upload_ref
from tests.integration.restful.conftest import API, Gateway
from tests.kit.wait import until

CONTENT = os.urandom(300_000)


def problem(answer: httpx.Response) -> str:
    kind: str = answer.json()["data"]["errors"][0]["type"]
    return kind


async def content_of(gateway: Gateway, file_id: str) -> bytes:
    return (await gateway.client.get(f"{API}/files/{file_id}")).content


# ---- forms ---------------------------------------------------------------------------------------


async def test_a_form_with_a_file_is_an_upload(gateway: Gateway) -> None:
    answer = await gateway.client.post(
        f"{API}/files",
        data={"comment": "first", "another": "x" * 100_000},
        files={"file": ("pages/ä.pdf", CONTENT, "application/pdf")},
    )
    assert answer.status_code == 201, answer.text
    data = answer.json()["data"]
    assert (data["name"], data["contentType"], data["size"]) == (
        "ä.pdf",
        "application/pdf",
        len(CONTENT),
    )
    assert data["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert await content_of(gateway, data["fileId"]) == CONTENT


async def test_an_empty_file_in_a_form_is_an_upload(gateway: Gateway) -> None:
    answer = await gateway.client.post(f"{API}/files", files={"file": ("a.txt", b"")})
    assert (answer.status_code, answer.json()["data"]["size"]) == (201, 0)


FORM = "multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n'


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("multipart/form-data", b"", (400, "malformed")),
        (FORM, b"", (400, "malformed")),
        (FORM, b"no form at all", (400, "malformed")),
        (FORM, PART + b"cut off", (400, "malformed")),
        (FORM, b"--b\r\n" + b"X: " + b"y" * 10_000 + b"\r\n\r\n", (400, "malformed")),
        (FORM, b'--b\r\nContent-Disposition: form-data; name="f"\r\n\r\nx\r\n--b--\r\n', (422, "no-file")),
        (FORM, PART + b"1\r\n" + PART + b"2\r\n--b--\r\n", (422, "too-many-files")),
        (FORM, PART + bytes(5 << 20) + b"\r\n--b--\r\n", (413, "too-large")),
    ],
)  # fmt: skip
async def test_a_form_that_is_none_is_refused_and_leaves_nothing(
    gateway: Gateway, kind: str, body: bytes, expected: tuple[int, str]
) -> None:
    answer = await gateway.client.post(f"{API}/files", content=body, headers={"Content-Type": kind})
    assert (answer.status_code, problem(answer)) == expected
    assert not [path for path in gateway.blobs.rglob("*") if path.is_file()]


# ---- in several requests -------------------------------------------------------------------------


async def begin(gateway: Gateway, size: int = len(CONTENT), content: bytes = b"") -> str:
    answer = await gateway.client.post(
        f"{API}/files",
        params={"size": size, "name": "big.bin"},
        content=content,
        headers={"Content-Type": "application/pdf"},
    )
    assert answer.status_code == 202, answer.text
    assert answer.json()["data"]["received"] == len(content)
    file_id: str = answer.json()["data"]["fileId"]
    return file_id


async def put(gateway: Gateway, file_id: str, first: int, data: bytes) -> httpx.Response:
    return await gateway.client.put(
        f"{API}/files/{file_id}",
        content=data,
        headers={"Content-Range": f"bytes {first}-{first + len(data) - 1}/{len(CONTENT)}"},
    )


async def received(gateway: Gateway, file_id: str) -> int:
    count: int = (await gateway.get(f"/files/{file_id}/upload")).json()["data"]["received"]
    return count


async def test_an_upload_goes_on_where_it_was(gateway: Gateway) -> None:
    file_id = await begin(gateway, content=CONTENT[:1000])
    assert (await gateway.get(f"/files/{file_id}")).status_code == 404, "it is not there yet"
    answer = await put(gateway, file_id, 1000, CONTENT[1000:200_000])
    assert (answer.status_code, answer.json()["data"]["received"]) == (202, 200_000)
    assert await received(gateway, file_id) == 200_000
    answer = await put(gateway, file_id, 200_000, CONTENT[200_000:])
    assert answer.status_code == 201
    data = answer.json()["data"]
    assert data["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert (data["name"], data["contentType"]) == ("big.bin", "application/pdf")
    assert await content_of(gateway, file_id) == CONTENT
    again = await put(gateway, file_id, 200_000, CONTENT[200_000:])
    assert (again.status_code, again.json()["data"]) == (200, data), "the answer was lost"
    assert await received(gateway, file_id) == len(CONTENT)


async def test_a_whole_file_of_known_size_is_done_at_once(gateway: Gateway) -> None:
    answer = await gateway.client.post(
        f"{API}/files", params={"size": len(CONTENT)}, content=CONTENT
    )
    assert answer.status_code == 201
    assert await content_of(gateway, answer.json()["data"]["fileId"]) == CONTENT


async def test_what_came_before_the_connection_was_lost_is_kept(gateway: Gateway) -> None:
    file_id = await begin(gateway)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        f"PUT {API}/files/{file_id} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(CONTENT)}\r\n"
        f"Content-Range: bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}\r\n\r\n".encode()
    )
    writer.write(CONTENT[:150_000])
    await writer.drain()
    await until(lambda: is_locked(gateway, file_id))
    writer.close()
    await until(lambda: not is_locked(gateway, file_id))
    had = await received(gateway, file_id)
    assert 0 <= had <= 150_000
    answer = await put(gateway, file_id, had, CONTENT[had:])
    assert answer.status_code == 201
    assert await content_of(gateway, file_id) == CONTENT
    assert await reader.read() is not None


def is_locked(gateway: Gateway, file_id: str) -> bool:
    """Say whether a request writes to the upload, without a lock of our own that it could meet."""
    inode = (gateway.blobs / "files" / file_id / "data.partial").stat().st_ino
    locks = Path("/proc/locks").read_text().split()
    return any(word.endswith(f":{inode}") for word in locks)


async def test_two_requests_never_write_at_once(gateway: Gateway) -> None:
    file_id = await begin(gateway)
    path = gateway.blobs / "files" / file_id / "data.partial"
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        answer = await put(gateway, file_id, 0, CONTENT[:10])
    assert (answer.status_code, problem(answer)) == (409, "upload-busy")
    assert (await put(gateway, file_id, 0, CONTENT[:10])).status_code == 202


async def test_bytes_that_do_not_follow_are_409(gateway: Gateway) -> None:
    file_id = await begin(gateway)
    for first in (5, 100):
        answer = await put(gateway, file_id, first, b"x")
        assert (answer.status_code, problem(answer)) == (409, "wrong-offset")
    assert await received(gateway, file_id) == 0


@pytest.mark.parametrize(
    "said", ["", "bytes 0-9/10", "bytes 5-2/300000", "0-9/300000", "bytes */*"]
)
async def test_a_content_range_that_cannot_be_is_422(gateway: Gateway, said: str) -> None:
    file_id = await begin(gateway)
    answer = await gateway.client.put(
        f"{API}/files/{file_id}", content=b"0123456789", headers={"Content-Range": said}
    )
    assert answer.status_code == 422
    assert answer.json()["data"]["errors"][0]["loc"].startswith("/header/")
    assert await received(gateway, file_id) == 0


async def test_more_bytes_than_the_range_says_are_413_and_not_kept(gateway: Gateway) -> None:
    file_id = await begin(gateway)
    answer = await gateway.client.put(
        f"{API}/files/{file_id}",
        content=bytes(100),
        headers={"Content-Range": f"bytes 0-9/{len(CONTENT)}"},
    )
    assert answer.status_code == 413
    assert await received(gateway, file_id) == 0


async def test_an_upload_that_would_be_too_large_is_413(gateway: Gateway) -> None:
    answer = await gateway.client.post(f"{API}/files", params={"size": 5 << 20})
    assert answer.status_code == 413


async def test_an_unknown_upload_is_404(gateway: Gateway) -> None:
    assert (await put(gateway, "nothing", 0, b"x")).status_code == 404
    assert (await gateway.get("/files/..%2F..%2Fetc/upload")).status_code == 404
    assert (await gateway.get("/files/nothing/upload")).status_code == 404


async def test_an_upload_that_expired_while_a_request_came_is_409(gateway: Gateway) -> None:
    """The one thing two processes may do at once: the file is gone when its lock is free."""
    file_id = await begin(gateway, content=CONTENT[:1000])
    path = gateway.parts.blobs.path(upload_ref(file_id))
    with path.with_name("data.partial").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        busy = await put(gateway, file_id, 1000, CONTENT[1000:])
        assert (busy.status_code, problem(busy)) == (409, "upload-busy")
    opened = resumed.io.FileIO

    def opened_too_late(*words: Any) -> Any:
        file = opened(*words)
        shutil.rmtree(path.parent)
        return file

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resumed.io, "FileIO", opened_too_late)
        answer = await put(gateway, file_id, 1000, CONTENT[1000:])
    assert (answer.status_code, problem(answer)) == (409, "upload-complete")
    assert (await put(gateway, file_id, 1000, CONTENT[1000:])).status_code == 404
