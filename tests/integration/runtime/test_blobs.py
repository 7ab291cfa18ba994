"""Large payloads go by reference; in the end only results are left in the blob store."""

import asyncio
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import pytest

from blueengine.transport.blobs import recorded_blob, recorded_ref, start_ref
from blueengine.transport.blobs_s3 import BlobBucket
from tests.integration.runtime.site import Platform, Site, a_graph, a_site
from tests.kit.s3 import S3Server
from tests.kit.wait import until

MIB = 1 << 20
TYPES = {"Data": "Bytes", "DataB": "Bytes", "Doc": "File", "DocB": "File", "Set": "Bytes"}


ENGINES = ["blobs", ("blobs", "second"), "pair", "echo"]


@pytest.fixture(scope="module", params=["folder", "bucket"])
def site(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    channels: Mapping[str, str],
) -> Iterator[Site]:
    bucket = None
    if request.param == "bucket":
        server: S3Server = request.getfixturevalue("s3_server")
        name = server.a_bucket()
        bucket = BlobBucket(server.settings(name), patience=20)
        channels = {**channels, **server.environment(name)}
    folder = tmp_path_factory.mktemp("site")
    with a_site(folder, ENGINES, channels=channels, bucket=bucket) as site:
        yield site


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 1, MIB, 64 * MIB])
async def test_bytes_of_every_size_arrive_whole(platform: Platform, size: int) -> None:
    plan = a_graph(
        {
            "make": ("blobs", {"Control": "In"}, {"Data": "Data"}),
            "copy": ("second", {"DataIn": "Data"}, {"Data": "DataB", "Sums": "Sums"}),
        },
        stored=["DataB", "Sums"],
        types=TYPES,
    )
    count = 1 if size > MIB else 5
    session = await platform.submit(plan, {"size": size, "count": count})
    sums = await platform.finished(session, "Sums", seconds=45)
    expected = [hashlib.sha256(bytes([n]) * size).hexdigest() for n in range(count)]
    assert [item["sum"] for item in sums] == expected
    assert [platform.sum_of(i) for i in await platform.stored(session, "DataB")] == expected
    record = await platform.store.read(session)
    assert record
    assert [(p.tally.bytes_in, p.tally.messages_in) for p in record.parts][1] == (
        count * size,
        count,
    )


async def test_a_fan_out_of_large_payloads_gives_each_reader_its_own(platform: Platform) -> None:
    plan = a_graph(
        {
            "make": ("blobs", {"Control": "In"}, {"Data": "Data"}),
            "one": ("second", {"DataIn": "Data"}, {"Sums": "One"}),
            "two": ("second", {"DataIn": "Data"}, {"Sums": "Two"}),
        },
        stored=["One", "Two"],
        types=TYPES,
    )
    session = await platform.submit(plan, {"size": MIB, "count": 8})
    one = await platform.finished(session, "One")
    assert len(one) == 8
    assert await platform.results(session, "Two") == one


async def test_a_file_of_20_mib_passes_two_engines(platform: Platform) -> None:
    plan = a_graph(
        {
            "make": ("blobs", {"Control": "In"}, {"Doc": "Doc"}),
            "copy": ("second", {"DocIn": "Doc"}, {"Doc": "DocB", "Sums": "Sums"}),
        },
        stored=["DocB", "Sums"],
        types=TYPES,
    )
    session = await platform.submit(plan, {"size": 20 * MIB, "as": "file"})
    [item] = await platform.finished(session, "Sums")
    digest = hashlib.sha256(b"\0" * 20 * MIB).hexdigest()
    assert item == {"name": "made-0.bin", "size": 20 * MIB, "sum": digest, "number": 0}
    [stored] = await platform.stored(session, "DocB")
    assert (stored.size, platform.sum_of(stored)) == (20 * MIB, digest)


async def test_small_files_travel_inline(platform: Platform) -> None:
    plan = a_graph(
        {
            "make": ("blobs", {"Control": "In"}, {"Doc": "Doc"}),
            "copy": ("second", {"DocIn": "Doc"}, {"Sums": "Sums"}),
        },
        stored=["Sums"],
        types=TYPES,
    )
    session = await platform.submit(plan, {"size": 100, "as": "file", "count": 50})
    sums = await platform.finished(session, "Sums")
    assert [(item["name"], item["number"]) for item in sums] == [
        (f"made-{n}.bin", n) for n in range(50)
    ]


async def test_start_data_by_reference_stays_for_a_second_attempt(
    platform: Platform, tmp_path: Path
) -> None:
    plan = a_graph(
        {"copy": ("blobs", {"DataIn": "Data"}, {"Sums": "Sums"})},
        fed=["Data"],
        stored=["Sums"],
        types=TYPES,
    )
    upload = tmp_path / "upload"
    upload.write_bytes(b"u" * MIB)
    session = await platform.submit(plan, feeds={"Data": [upload]})
    [item] = await platform.finished(session, "Sums")
    assert item["sum"] == hashlib.sha256(b"u" * MIB).hexdigest()
    assert start_ref(session, 0) in platform.site.blob_names()


async def test_a_large_message_that_is_kept_serves_every_call(platform: Platform) -> None:
    plan = a_graph(
        {
            "make": ("blobs", {"Control": "In"}, {"Data": "Set"}),
            "left": ("echo", {"Control": "L"}, {"Results": "Left"}),
            "pair": ("pair", {"Left": "Left", "Right": "R", "Setting": "Set"}, {"Results": "Out"}),
        },
        fed=["In", "L", "R"],
        types=TYPES,
    )
    numbers = list(range(300))
    feeds = {"L": numbers, "R": numbers}
    session = await platform.submit(plan, {"size": MIB}, feeds=feeds)
    assert await platform.finished(session) == [[n, n, MIB] for n in numbers]


async def test_one_large_message_at_two_inputs_serves_both(platform: Platform) -> None:
    plan = a_graph(
        {
            "make": ("blobs", {"Control": "In"}, {"Data": "Data"}),
            "read": ("second", {"DataIn": "Data", "Again": "Data"}, {"Sums": "Sums"}),
        },
        stored=["Sums"],
        types=TYPES,
    )
    session = await platform.submit(plan, {"size": MIB, "count": 20})
    assert len(await platform.finished(session, "Sums")) == 40


async def test_a_stop_in_the_middle_leaves_no_payload_behind(platform: Platform) -> None:
    plan = a_graph(
        {
            "make": ("blobs", {"Control": "In"}, {"Data": "Data"}),
            "copy": ("second", {"DataIn": "Data"}, {"Data": "DataB"}),
        },
        stored=["DataB"],
        types=TYPES,
    )
    session = await platform.submit(plan, {"size": MIB, "count": 5000})
    await until(lambda: platform.store.result_count(session, "DataB"))
    await platform.store.stop(session, "enough")
    assert (await platform.ended(session)).status == "canceled"


async def test_what_an_engine_received_is_recorded_beside_it(platform: Platform) -> None:
    plan = a_graph(
        {
            "make": ("blobs", {"Control": "In"}, {"Data": "Data"}),
            "copy": ("second", {"DataIn": "Data"}, {"Sums": "Sums"}),
        },
        stored=["Sums"],
        types=TYPES,
    )
    plan = msgspec.structs.replace(plan, record=True)
    session = await platform.submit(plan, {"size": MIB, "count": 2})
    await platform.finished(session, "Sums")
    store = platform.site.store
    wanted = [recorded_ref(session, 1, "copy"), recorded_blob(session, 1, "copy", 1)]
    await until(lambda: set(wanted) <= set(platform.site.blob_names()))
    messages, second = await asyncio.gather(*(asyncio.to_thread(store.read, w) for w in wanted))
    assert len(messages.splitlines()) == 2
    assert second == bytes([1]) * MIB
