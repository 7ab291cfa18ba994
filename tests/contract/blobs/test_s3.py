"""The suite against a server that speaks S3, and what only a bucket can suffer."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import obstore
import pytest

from blueengine.errors import BlueEngineError
from blueengine.kit.clock import SystemClock
from blueengine.settings.blobs import BucketSettings
from blueengine.transport.blobs import BlobError, BlobsAwayError, BlobStore
from blueengine.transport.blobs_s3 import PIECE_BYTES, BlobBucket
from tests.contract.blobs.suite import MIB, BlobContract, bytes_of, pieces
from tests.kit.fault_proxy import FaultProxy
from tests.kit.s3 import S3Server


@pytest.fixture
def settings(s3_server: S3Server) -> BucketSettings:
    return s3_server.settings()


@pytest.fixture
def bucket(settings: BucketSettings) -> BlobBucket:
    return BlobBucket(settings, patience=20)


class TestBucket(BlobContract):
    @pytest.fixture
    def store(self, bucket: BlobBucket) -> BlobStore:
        return bucket

    @pytest.fixture
    def everything(self, s3_server: S3Server, settings: BucketSettings) -> Callable[[], list[str]]:
        def look() -> list[str]:
            url = f"{s3_server.endpoint}/{settings.bucket}"
            uploads = httpx.get(url, params={"uploads": ""}).text
            assert "<UploadId>" not in uploads, "an upload was begun and not ended"
            return _keys(url)

        return look


def _keys(url: str) -> list[str]:
    text = httpx.get(url, params={"list-type": "2"}).text
    return [part.partition("</Key>")[0] for part in text.split("<Key>")[1:]]


async def test_a_file_goes_up_and_comes_down(bucket: BlobBucket, tmp_path: Path) -> None:
    data = bytes_of(2 * PIECE_BYTES + 7)
    (tmp_path / "up").write_bytes(data)
    await asyncio.to_thread(bucket.put, "a/b", tmp_path / "up")
    await asyncio.to_thread(bucket.fetch, "a/b", tmp_path / "new" / "down")
    assert (tmp_path / "new" / "down").read_bytes() == data
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["down"]


@pytest.mark.parametrize("whole", [True, False])
async def test_an_upload_whose_last_answer_was_lost_is_looked_for(
    bucket: BlobBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    """The library asks again then, and is told that there is no such upload."""
    real = obstore.put

    def lose_the_answer(*arguments: Any, **options: Any) -> None:
        if whole:
            real(*arguments, **options)
        raise FileNotFoundError("404 Not Found: NoSuchUpload")

    monkeypatch.setattr(obstore, "put", lose_the_answer)
    data = bytes_of(2 * PIECE_BYTES + 7)
    (tmp_path / "up").write_bytes(data)
    putting = asyncio.to_thread(bucket.put, "a/b", tmp_path / "up")
    if not whole:
        with pytest.raises(BlobError, match="gone"):
            await putting
        return
    await putting
    await asyncio.to_thread(bucket.fetch, "a/b", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == data


def test_an_object_is_made_once(bucket: BlobBucket) -> None:
    assert bucket.create("a", b"first")
    assert not bucket.create("a", b"second")
    assert bucket.read("a") == b"first"


def test_platforms_with_different_prefixes_do_not_see_each_other(
    settings: BucketSettings, bucket: BlobBucket
) -> None:
    other = BlobBucket(replace(settings, prefix="platform/two"), patience=5)
    bucket.write("sessions/s/start/0", [b"x"])
    assert list(other.sessions(before=SystemClock().unix() + 9)) == []
    other.remove_below("sessions/s")
    assert bucket.read("sessions/s/start/0") == b"x"


def test_a_bucket_that_is_not_there_is_named(settings: BucketSettings) -> None:
    missing = BlobBucket(replace(settings, bucket="never-made"), patience=5)
    with pytest.raises(BlobsAwayError, match="no bucket s3://never-made/platform/one"):
        missing.check()


def test_a_server_that_is_away_is_waited_for_and_then_named_without_secrets(
    settings: BucketSettings,
) -> None:
    away = BlobBucket(replace(settings, endpoint="http://127.0.0.1:9"), patience=1)
    began = time.monotonic()
    with pytest.raises(BlobsAwayError, match=r"127\.0\.0\.1:9") as caught:
        away.read("a")
    assert time.monotonic() - began >= 1
    told = f"{caught.value!r} {caught.value.__cause__!r} {settings!r} {settings}"
    assert "test-secret" not in told
    assert "test-key" not in told


@pytest.fixture
def proxied(
    settings: BucketSettings, s3_server: S3Server
) -> Iterator[tuple[FaultProxy, BlobBucket]]:
    with FaultProxy(s3_server.port) as proxy:
        endpoint = f"http://127.0.0.1:{proxy.port}"
        yield proxy, BlobBucket(replace(settings, endpoint=endpoint), patience=20)


async def test_a_stream_outlives_a_server_that_is_away_for_a_while(
    proxied: tuple[FaultProxy, BlobBucket],
) -> None:
    proxy, bucket = proxied
    data = bytes_of(4 * PIECE_BYTES)

    async def disturbed() -> AsyncIterator[bytes]:
        at = 0
        async for piece in pieces(data, size=MIB):
            at += len(piece)
            if at == 2 * PIECE_BYTES:
                with proxy.cut():
                    await asyncio.sleep(1)
            yield piece

    await bucket.save("a", disturbed())
    proxy.reset()
    assert await asyncio.to_thread(bucket.read, "a") == data


async def test_a_download_outlives_broken_connections(
    proxied: tuple[FaultProxy, BlobBucket], tmp_path: Path
) -> None:
    proxy, bucket = proxied
    data = bytes_of(5 * PIECE_BYTES)
    await bucket.save("a", pieces(data, size=MIB))
    fetching = asyncio.create_task(asyncio.to_thread(bucket.fetch, "a", tmp_path / "a"))
    while not fetching.done():
        await asyncio.sleep(0.02)
        proxy.reset()
        await asyncio.sleep(0.2)
    await fetching
    assert (tmp_path / "a").read_bytes() == data


def test_every_error_of_the_store_is_one_of_ours(settings: BucketSettings) -> None:
    away = BlobBucket(replace(settings, endpoint="http://127.0.0.1:9"), patience=0.2)
    for ask in (
        lambda: away.size("a"),
        lambda: away.write("a", [b"x"]),
        lambda: away.create("a", b"x"),
        lambda: away.link("a", "b"),
        lambda: away.remove("a"),
        lambda: away.remove_below("a"),
        lambda: list(away.sessions(before=0)),
        away.check,
    ):
        with pytest.raises(BlueEngineError) as caught:
            ask()
        assert isinstance(caught.value, BlobsAwayError)
        assert caught.value.retriable
