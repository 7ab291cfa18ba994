"""Files: whole or not at all, taken up where they broke."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest

from blueengine import Image
from blueengine.client import (
    ApiError,
    AsyncClient,
    Blob,
    ClientError,
    NotFoundError,
    PlatformAwayError,
    TransferError,
    Upload,
)
from tests.unit.client.platform import client, no

pytestmark = pytest.mark.looptime

DATA = bytes(range(256)) * 40


class Flaky:
    """A file of which each answer sends a piece and breaks off."""

    def __init__(self, *, piece: int = 4000, tag: str = '"1"', ranges: bool = True) -> None:
        self.asked: list[httpx.Request] = []
        self.data = DATA
        self._piece, self._tag, self._ranges = piece, tag, ranges

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        said = request.headers.get("range", "")
        begin = int(said.removeprefix("bytes=").removesuffix("-")) if said else 0
        if begin and request.headers.get("if-range") not in {None, self._tag}:
            begin = 0
        if not self._ranges:
            begin, self._piece = 0, self._piece * 2
        headers = {"ETag": self._tag, "Content-Length": str(len(self.data) - begin)}
        if begin:
            last = len(self.data) - 1
            headers["Content-Range"] = f"bytes {begin}-{last}/{len(self.data)}"
        body = self._body(begin)
        return httpx.Response(206 if begin else 200, headers=headers, content=body)

    async def _body(self, begin: int) -> AsyncIterator[bytes]:
        yield self.data[begin : begin + self._piece]
        if begin + self._piece < len(self.data):
            raise httpx.ReadError("broken")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def a_blob(size: int = len(DATA), **meta: str) -> Blob:
    return Blob(url="/x/0/blob", content_type="application/pdf", size=size, meta=meta)


async def test_what_breaks_off_is_taken_up_by_range(tmp_path: Path) -> None:
    server = Flaky()
    async with client(server) as api:
        saved = await api.download(a_blob(), tmp_path / "a.pdf")
    assert saved.read_bytes() == DATA
    assert [request.headers.get("range") for request in server.asked] == [
        None,
        "bytes=4000-",
        "bytes=8000-",
    ]
    assert server.asked[1].headers["if-range"] == '"1"'
    assert names(tmp_path) == ["a.pdf"]


async def test_a_server_without_ranges_begins_anew(tmp_path: Path) -> None:
    async with client(Flaky(ranges=False)) as api:
        assert (await api.download(a_blob(), tmp_path / "a")).read_bytes() == DATA
        assert await api.read(a_blob()) == DATA


async def test_a_folder_gets_a_file_of_its_name(tmp_path: Path) -> None:
    async with client(Flaky()) as api:
        saved = await api.download(a_blob(name="../../scan.pdf"), tmp_path)
        assert saved == tmp_path / "scan.pdf"
        assert await api.download("/api/v1/files/f1", tmp_path) == tmp_path / "f1"
        upload = Upload(file_id="f1", name="b.pdf", sha256=hashlib.sha256(DATA).hexdigest())
        assert await api.download(upload, tmp_path) == tmp_path / "b.pdf"


@pytest.mark.parametrize("blob", [a_blob(size=5), a_blob(sha256="00")])
async def test_other_bytes_than_stored_are_no_file(tmp_path: Path, blob: Blob) -> None:
    async with client(Flaky()) as api:
        with pytest.raises(TransferError):
            await api.download(blob, tmp_path / "a")
    assert not names(tmp_path)


async def test_a_file_that_is_gone_leaves_nothing(tmp_path: Path) -> None:
    async with client(lambda _: no(404, "gone")) as api:
        with pytest.raises(NotFoundError):
            await api.download(a_blob(), tmp_path / "a")
        with pytest.raises(ApiError):
            await api.read("/api/v1/files/f1")
    assert not names(tmp_path)


async def test_a_platform_that_stays_away_is_said(tmp_path: Path) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("broken")

    async with client(answer) as api:
        with pytest.raises(PlatformAwayError):
            await api.download(a_blob(), tmp_path / "a")


async def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    async with client(Flaky()) as api:
        with pytest.raises(ClientError, match="cannot be written"):
            await api.download(a_blob(), tmp_path / "no" / "a")


async def test_uploads_are_streamed_and_begun_anew_when_they_break(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"x" * 3_000_000)
    sizes = []

    async def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["content-length"] == "3000000"
        sizes.append(len(await request.aread()))
        if len(sizes) == 1:
            raise httpx.WriteError("broken")
        return httpx.Response(201, json={"data": {"fileId": "f1", "size": sizes[-1]}})

    async with client(answer) as api:  # type: ignore[arg-type]  # the transport takes both kinds
        assert (await api.upload(path)).size == 3_000_000
    assert sizes == [3_000_000, 3_000_000]


async def test_a_file_that_is_not_there_is_said() -> None:
    async with AsyncClient() as api:
        with pytest.raises(ClientError, match="No such file"):
            await api.upload("/nowhere")


async def test_images_come_back_as_arrays() -> None:
    array = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    done, encoded = cv2.imencode(".png", cv2.cvtColor(array, cv2.COLOR_RGB2BGR))
    assert done
    server = Flaky()
    server.data = encoded.tobytes()
    blob = Blob(url="/x", content_type="image/png", size=len(server.data), meta={"page": 3})
    async with client(server) as api:
        assert (await api.array(blob) == array).all()
        image = await api.load(blob)
    assert isinstance(image, Image)
    assert image.meta["page"] == 3
    assert (image.array == array).all()


@pytest.mark.parametrize(
    ("kind", "data", "value"),
    [
        ("application/json", b'{"a":1}', {"a": 1}),
        ("text/plain; charset=utf-8", "ä".encode(), "ä"),
        ("application/octet-stream", b"\x00", b"\x00"),
    ],
)
async def test_results_are_loaded_as_what_they_are(kind: str, data: bytes, value: object) -> None:
    blob = Blob(url="/x", content_type=kind, size=len(data), meta={})
    async with client(lambda _: httpx.Response(200, content=data)) as api:
        assert await api.load(blob) == value
