"""The platform with its blobs in a bucket: what users see is the same, and the bytes are there."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from blueengine.client import AsyncClient
from tests.acceptance import blocks
from tests.integration.local.platform_kit import Up, up
from tests.kit.s3 import S3Server

LARGE = 20 << 20
"""Two pieces of a multipart upload and a bit."""

pytestmark = [pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="function")]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server) -> Iterator[Up]:
    """A running platform with its blobs in a bucket of its own."""
    folder = tmp_path_factory.mktemp("platform")
    environment = dict(s3_server.environment())
    bucket = environment.pop("BLOB_URL")
    options = ["--engines", blocks.engines(folder), "--blobs", bucket]
    with up(folder / "data", *options, environment=environment) as running:
        yield running
        running.end()
        assert running.alive() == {}


def files_below(folder: Path) -> list[Path]:
    """Return what is kept below a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_an_upload_comes_back_from_the_bucket(
    client: AsyncClient, platform: Up, tmp_path: Path
) -> None:
    file = tmp_path / "large.bin"
    file.write_bytes(os.urandom(LARGE))
    upload = await client.upload(file)
    back = await client.download(upload, tmp_path / "back.bin")
    assert back.read_bytes() == file.read_bytes()
    assert files_below(platform.data / "blobs") == []  # it was nowhere else


async def test_a_large_message_between_engines_and_its_result_go_through_the_bucket(
    client: AsyncClient, platform: Up
) -> None:
    order = {"Order": {"numbers": [0, 1], "size": LARGE}}
    session = await client.submit(blocks.workflow(), order)
    outcome = await session.wait()
    assert outcome.status == "finished", outcome.process.error
    wanted = [blocks.content(number, LARGE) for number in (0, 1)]
    digests = [digest["sha256"] for digest in outcome.results["D0"]]
    assert digests == [hashlib.sha256(block).hexdigest() for block in wanted]

    copy = outcome.results["C0"][1]
    async with httpx.AsyncClient(base_url=platform.url, timeout=30) as http:
        middle = await http.get(copy.url, headers={"Range": "bytes=9000000-9000099"})
        tail = await http.get(copy.url, headers={"Range": "bytes=-10"})
    assert (middle.status_code, middle.content) == (206, wanted[1][9_000_000:9_000_100])
    assert (tail.status_code, tail.content) == (206, wanted[1][-10:])
    assert await client.read(copy) == wanted[1]
    assert files_below(platform.data / "blobs") == []
