"""Messages that come late, twice, or of another attempt; and inputs that nobody feeds."""

from collections.abc import Iterator, Mapping
from typing import Final

import orjson
import pytest

from blueengine.transport.blobs import BlobFolder, node_prefix
from blueengine.wire import codec, names
from blueengine.wire.command import Start
from blueengine.wire.envelope import Header, Kind
from tests.integration.runtime.site import Platform, Site, a_chain, a_graph, a_site
from tests.kit.builders import a_session_id
from tests.kit.wait import until

LATE: Final = "of an attempt before"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, channels: Mapping[str, str]) -> Iterator[Site]:
    with a_site(
        tmp_path_factory.mktemp("site"),
        ["deeds", "echo", "picky", ("picky", "second")],
        channels=channels,
    ) as site:
        yield site


class Writer:
    """Writes to the reader ``n2`` in the place of ``n1``, whose code does nothing."""

    def __init__(self, platform: Platform, session: str, start: bytes) -> None:
        self.platform = platform
        self.session = session
        self.start = start
        self.reader = platform.site.engines[1].instance

    async def write(
        self, seq: int, value: object = None, *, attempt: int = 1, kind: Kind = Kind.DATA, blob: str = "",
    ) -> None:  # fmt: skip
        start = b"" if seq else self.start
        header = Header(self.session, attempt, "n2", "n1", "Ch1", seq, kind, blob=blob, start=start)
        body = b"" if blob else orjson.dumps(value)
        await self.platform.inboxes.put(self.reader, codec.encode(header), body)

    async def got(self, count: int) -> list[object]:
        """Wait for so many results."""
        await until(lambda: self._has(count))
        return list(await self.platform.results(self.session))

    async def _has(self, count: int) -> bool:
        return await self.platform.store.result_count(self.session, "Out") >= count

    async def stop(self) -> None:
        await self.platform.store.stop(self.session, "enough")
        await self.platform.ended(self.session)


async def a_writer(platform: Platform) -> Writer:
    session = await platform.submit(a_chain("deeds", "echo"), {"do": "wait"})
    record = await platform.store.read(session)
    assert record
    picks = {part.node: part.instance for part in record.parts}
    start = Start(session, 1, "n2", codec.encode(record.plan), picks, b"", go=True)
    return Writer(platform, session, codec.encode(start))


async def test_repetitions_are_dropped(platform: Platform) -> None:
    writer = await a_writer(platform)
    for seq in (0, 0, 1, 0, 1, 2):
        await writer.write(seq, seq)
    assert await writer.got(3) == [0, 1, 2]
    await writer.stop()


async def test_messages_of_an_attempt_before_are_dropped(platform: Platform) -> None:
    writer = await a_writer(platform)
    await writer.write(0, LATE, attempt=0)
    await writer.write(0, "new")
    await writer.write(1, LATE, attempt=0)
    await writer.write(1, "newer")
    assert await writer.got(2) == ["new", "newer"]
    await writer.stop()


async def test_messages_of_nobody_are_dropped(platform: Platform) -> None:
    writer = await a_writer(platform)
    header = Header(writer.session, 1, "n2", "stranger", "Ch1", 0)
    await platform.inboxes.put(writer.reader, codec.encode(header), b"1")
    await platform.inboxes.put(writer.reader, b"no header", b"1")
    await writer.write(0, "mine")
    assert await writer.got(1) == ["mine"]
    await writer.stop()


async def test_late_messages_of_a_session_that_is_over_leave_nothing(platform: Platform) -> None:
    writer = await a_writer(platform)
    await writer.write(0, "in time")
    await writer.got(1)
    await writer.stop()
    blobs = BlobFolder(platform.site.blobs)
    ref = f"{node_prefix(writer.session, 1, 'n2')}/n1-1"
    blobs.write(ref, [b"late"])
    await writer.write(1, blob=ref)
    await until(lambda: not blobs.path(ref).exists())
    assert await platform.results(writer.session) == ["in time"]


async def test_a_message_waits_for_its_start_as_long_as_it_must(platform: Platform) -> None:
    """The stream of commands has a connection of its own, which may be cut off while this is not."""
    session = a_session_id()
    writer = Writer(platform, session, start=b"")
    held = names.held(platform.site.engines[1].instance)
    await platform.link.send("SADD", held, f"{session} 1 n2")
    await writer.write(0, "early")
    await writer.write(0, "never", attempt=7)

    async def asked() -> bool:
        return b"cmdstat_sismember" in await platform.link.send("INFO", "commandstats")

    await until(asked, 20, what="the engine asks whether a Start will come")
    # the third has to prepare, so all are told by a Start
    plan = a_chain("deeds", "echo", "picky")
    await platform.submit(plan, {"do": "wait"}, session=session)
    [result] = await writer.got(1)
    assert result["got"] == "early"  # type: ignore[index]
    await writer.stop()


async def test_a_first_message_after_the_stop_begins_nothing(platform: Platform) -> None:
    writer = await a_writer(platform)
    await writer.stop()
    blobs = BlobFolder(platform.site.blobs)
    ref = f"{node_prefix(writer.session, 1, 'n2')}/n1-1"
    blobs.write(ref, [b"late"])
    await writer.write(0, blob=ref)
    await until(lambda: not blobs.path(ref).exists())
    assert await platform.results(writer.session) == []


async def test_a_gap_fails_the_session(platform: Platform) -> None:
    writer = await a_writer(platform)
    await writer.write(0, "first")
    await writer.write(2, "third")
    record = await platform.ended(writer.session)
    assert record.fault
    assert (record.status, record.fault.code) == ("failed", "message-lost")
    assert record.fault.message == "channel 'Ch1': messages 1 to 1 of n1 never arrived"


async def test_a_payload_that_is_gone_fails_the_session(platform: Platform) -> None:
    writer = await a_writer(platform)
    await writer.write(0, blob=f"{node_prefix(writer.session, 1, 'n2')}/nothing")
    record = await platform.ended(writer.session)
    assert record.fault
    assert (record.status, record.fault.code) == ("failed", "no-blob")


async def test_an_input_that_nobody_feeds_ends_at_once(platform: Platform) -> None:
    plan = a_graph(
        {
            "n1": ("echo", {"Control": "In"}, {"Results": "Out"}),
            "n2": ("echo", {"Control": "Nobody"}, {"Results": "Other"}),
        }
    )
    session = await platform.submit(plan, 1)
    assert await platform.finished(session) == [1]


async def test_an_engine_that_reads_nothing_is_called_once(platform: Platform) -> None:
    plan = a_graph({"n1": ("picky", {}, {"Results": "Out"})}, fed=[])
    session = await platform.submit(plan)
    [answer] = await platform.finished(session)
    assert answer["got"] is None


async def test_what_workers_log_carries_the_session(platform: Platform) -> None:
    session = await platform.submit(a_chain("deeds"), {"do": "log", "text": "a line"})
    await platform.finished(session)
    lines = [orjson.loads(line) for line in platform.site.engines[0].output().splitlines()]
    [line] = [line for line in lines if line["message"] == "a line"]
    assert (line["session"], line["engine"], line["level"]) == (session, "deeds", "info")
