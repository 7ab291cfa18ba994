"""What every blob store promises. Collected only through its subclasses."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable

import pytest

from blueengine.kit.clock import SystemClock
from blueengine.transport.blobs import (
    BlobError,
    BlobStore,
    node_prefix,
    result_ref,
    session_prefix,
    start_ref,
    upload_ref,
)

MIB = 1 << 20
NOW = SystemClock().unix
SIZES = [0, 1, 64 * 1024, MIB, 20 * MIB + 1]


class GaveUpError(Exception):
    """What the source of a stream raises."""


async def pieces(data: bytes, *, size: int = 100_000) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def bytes_of(size: int) -> bytes:
    block = bytes(range(256)) * 4096
    return (block * (size // len(block) + 1))[:size]


class BlobContract:
    """Written whole or not at all, read as it was, gone when removed."""

    @pytest.fixture
    def everything(self, store: BlobStore) -> Callable[[], list[str]]:
        """Return what lists all that the store holds."""
        raise NotImplementedError

    @pytest.mark.parametrize("size", SIZES)
    async def test_a_stream_comes_back_byte_for_byte(self, store: BlobStore, size: int) -> None:
        data = bytes_of(size)
        assert await store.save("a/b", pieces(data)) == size
        assert await asyncio.to_thread(store.size, "a/b") == size
        got = await asyncio.to_thread(store.read, "a/b")
        assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()

    @pytest.mark.parametrize("size", SIZES)
    def test_what_is_in_memory_comes_back_byte_for_byte(self, store: BlobStore, size: int) -> None:
        data = bytes_of(size)
        assert store.write("a/b", [data[:10], data[10:]]) == size
        assert store.read("a/b") == data

    async def test_a_stream_that_breaks_off_leaves_nothing(
        self, store: BlobStore, everything: Callable[[], list[str]]
    ) -> None:
        async def breaking() -> AsyncIterator[bytes]:
            async for piece in pieces(bytes_of(18 * MIB), size=MIB):
                yield piece
            raise GaveUpError("the client has gone")

        with pytest.raises(GaveUpError, match="the client has gone"):
            await store.save("a/b", breaking())
        with pytest.raises(BlobError, match="gone"):
            await asyncio.to_thread(store.size, "a/b")
        assert everything() == []

    def test_a_range_is_read(self, store: BlobStore) -> None:
        store.write("a", [b"0123456789"])
        assert store.read("a", 2, 5) == b"234"
        assert store.read("a", 7) == b"789"
        assert store.read("a", 8, 100) == b"89"
        assert store.read("a", 4, 4) == b""

    def test_what_is_not_there_is_an_error_that_names_it(self, store: BlobStore) -> None:
        for ask in (store.size, store.read, lambda ref: store.link(ref, "b")):
            with pytest.raises(BlobError, match="'not/there'"):
                ask("not/there")

    @pytest.mark.parametrize("ref", ["", "..", "../a", "a/../../b", "/etc/passwd"])
    def test_no_reference_leads_out_of_the_store(self, store: BlobStore, ref: str) -> None:
        for ask in (store.size, store.read):
            with pytest.raises(BlobError):
                ask(ref)

    @pytest.mark.parametrize("prefix", ["", "/", "."])
    def test_nobody_removes_everything_by_accident(self, store: BlobStore, prefix: str) -> None:
        store.write("a", [b"x"])
        with pytest.raises(BlobError):
            store.remove_below(prefix)
        assert store.read("a") == b"x"

    def test_a_second_name_has_a_life_of_its_own(self, store: BlobStore) -> None:
        store.write("a/b", [b"x" * 1000])
        store.link("a/b", "c/d")
        store.link("a/b", "c/d")
        store.remove("a/b")
        assert store.read("c/d") == b"x" * 1000

    def test_what_is_removed_is_gone_and_may_be_removed_again(self, store: BlobStore) -> None:
        store.write("a/b", [b"x"])
        for _ in range(2):
            store.remove("a/b")
        with pytest.raises(BlobError):
            store.read("a/b")

    def test_a_session_is_removed_with_all_that_is_its_own(
        self, store: BlobStore, everything: Callable[[], list[str]]
    ) -> None:
        mine, other = "session-x-0-1.5-abc", "session-x-0-1.5-abcd"
        for session in (mine, other):
            store.write(start_ref(session, 0), [b"x"])
            store.write(f"{node_prefix(session, 1, 'a node')}/w-1", [b"x"])
            store.write(result_ref(session, "Out.é", "1-n-0"), [b"x"])
        store.write(upload_ref("f"), [b"x"])
        store.remove_below(session_prefix(mine))
        store.remove_below(session_prefix(mine))
        left = everything()
        assert len(left) == 4
        assert not [ref for ref in left if f"{mine}/" in ref]

    def test_sessions_that_were_long_at_rest_are_told(self, store: BlobStore) -> None:
        assert list(store.sessions(before=NOW())) == []
        store.write(upload_ref("f"), [b"x"])
        for number in range(3):
            for index in range(2):
                store.write(start_ref(f"s{number}", index), [b"x"])
        assert list(store.sessions(before=NOW() - 1000)) == []
        assert sorted(store.sessions(before=NOW() + 1000)) == ["s0", "s1", "s2"]

    def test_uploads_that_nobody_went_on_with_are_told_and_dropped(
        self, store: BlobStore, everything: Callable[[], list[str]]
    ) -> None:
        store.write("files/begun/begun.json", [b"{}"])
        store.write("files/whole/data", [b"x"])
        store.write("files/whole/facts.json", [b"{}"])
        soon = NOW() + 1000
        assert list(store.unfinished(before=NOW() - 1000)) == []
        assert not store.drop_unfinished("begun", before=NOW() - 1000)
        assert list(store.unfinished(before=soon)) == ["begun"]
        assert store.drop_unfinished("begun", before=soon)
        assert not store.drop_unfinished("whole", before=soon)
        assert len(everything()) == 2

    def test_it_can_be_asked_whether_it_works(self, store: BlobStore) -> None:
        store.check()
