"""What waits is first in, first out, wherever it lies; memory and disk hold what they may."""

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blueengine.runtime import frames
from blueengine.runtime.part import BLOB_SHARE, WINDOW_BYTES, WINDOW_MESSAGES, Message, Source
from blueengine.runtime.spool import LONG_MESSAGES, SEGMENT_BYTES, Disk, Spool
from blueengine.wire.spec import FORWARD

LIMIT = 1 << 30


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path, LIMIT)
    yield disk
    disk.close()
    assert not list(tmp_path.iterdir()), "files of it have no name"


def a_message(n: int, size: int = 10, *, sender: str = "writer", file: str = "") -> Message:
    item = frames.Item("In", [n.to_bytes(4, "big") * (size // 4)], b"meta", file)
    return Message(item, Source(), "Channel", sender, size, file, 1)


def number(message: Message) -> int:
    return int.from_bytes(message.item.payloads[0][:4], "big")


def give_back(spool: Spool, messages: list[Message]) -> None:
    for message in messages:
        message.source = None
        spool.given_back(message)
    spool.spill(alone=True)


def test_what_came_first_goes_first_over_memory_and_disk(disk: Disk) -> None:
    spool = Spool(disk)
    count = 4 * WINDOW_MESSAGES
    for n in range(count):
        spool.append(a_message(n))
        if n % 300 == 299:
            give_back(spool, spool.owed())
    assert len(spool) == count
    assert disk.used > 0
    assert [number(spool.popleft()) for _ in range(count)] == list(range(count))
    assert (len(spool), disk.used) == (0, 0)


def test_what_a_sender_counts_never_goes_to_disk(disk: Disk) -> None:
    spool = Spool(disk)
    for n in range(2 * WINDOW_MESSAGES):  # of two senders
        spool.append(a_message(n))
    spool.spill(alone=True)
    assert disk.used == 0
    assert len(spool.owed()) == 2 * WINDOW_MESSAGES


def test_what_a_client_sent_never_goes_to_disk(disk: Disk) -> None:
    spool = Spool(disk)
    for n in range(WINDOW_MESSAGES + 10):
        spool.append(a_message(n, sender=""))
    assert spool.owed() == []
    spool.spill(alone=True)
    assert disk.used == 0


@pytest.mark.parametrize(("count", "size"), [(LONG_MESSAGES, 10), (3, WINDOW_BYTES // 4)])
def test_it_is_long_when_a_sender_may_have_no_room(disk: Disk, count: int, size: int) -> None:
    spool = Spool(disk)
    for n in range(count - 1):
        spool.append(a_message(n, size))
        assert not spool.is_long
    spool.append(a_message(count, size))
    assert spool.is_long
    give_back(spool, spool.owed())
    assert not spool.is_long


def test_a_message_comes_back_as_it_was_and_owes_nobody(disk: Disk) -> None:
    spool = Spool(disk)
    for n in range(WINDOW_MESSAGES):
        spool.append(a_message(n))
    last = a_message(7, 40, file="/blobs/x")
    spool.append(last)
    give_back(spool, spool.owed())
    for _ in range(WINDOW_MESSAGES):
        spool.popleft()
    got = spool.popleft()
    assert got is not last
    assert (got.item, got.channel, got.sender, got.size) == (last.item, "Channel", "writer", 40)
    assert (got.source, got.own_file, got.uses) == (None, "/blobs/x", 1)


def test_a_file_counts_for_the_disk_while_it_waits(disk: Disk) -> None:
    spool = Spool(disk)
    spool.append(a_message(1, 1000, file="/blobs/x"))
    assert disk.used == 0, "the window counts it"
    give_back(spool, spool.owed())
    assert disk.used == 1000 * BLOB_SHARE
    spool.popleft()
    assert disk.used == 0


def test_the_file_of_a_message_that_others_have_is_not_ours_to_remove(disk: Disk) -> None:
    spool = Spool(disk)
    for n in range(WINDOW_MESSAGES + 1):
        spool.append(a_message(n, file="/blobs/x"))
    for message in spool.owed():
        message.source = None
        spool.given_back(message)
    spool.spill(alone=False)
    files = [spool.popleft().own_file for _ in range(WINDOW_MESSAGES + 1)]
    assert files[-1] == ""
    assert disk.used == 0


def test_what_was_forwarded_in_memory_is_moved_to_the_disk(tmp_path: Path) -> None:
    memory, here = tmp_path / "memory", tmp_path / "disk"
    memory.mkdir()
    here.mkdir()
    disk = Disk(here, LIMIT, memory=memory)
    spool, count = Spool(disk), WINDOW_MESSAGES + 3
    for n in range(count):
        file = memory / f"{n}"
        file.write_bytes(b"x" * 100)
        message = a_message(n, 100, file=str(file))
        message.item = frames.Item(FORWARD, [b""], b"meta", str(file))
        spool.append(message)
    assert spool.is_full
    give_back(spool, spool.owed())
    assert not spool.is_full
    assert len(list(memory.iterdir())) == WINDOW_MESSAGES, "those in front stay"
    taken = [spool.popleft() for _ in range(count)]
    assert [Path(m.own_file).name for m in taken] == [str(n) for n in range(count)]
    assert all(m.item.file == m.own_file and Path(m.own_file).exists() for m in taken)
    assert disk.used == 0
    disk.close()
    assert not list(here.iterdir())


def test_what_was_read_is_given_back_to_the_disk(disk: Disk) -> None:
    spool = Spool(disk)
    size = 1 << 16
    count = 3 * SEGMENT_BYTES // size
    for n in range(count):
        spool.append(message := a_message(n, size))
        give_back(spool, [message])
    assert len(disk._open) >= 2
    for n in range(count):
        assert number(spool.popleft()) == n
    assert not disk._open


def test_it_is_full_at_the_limit(tmp_path: Path) -> None:
    disk = Disk(tmp_path, 5000)
    spool = Spool(disk)
    for n in range(WINDOW_MESSAGES + 200):
        spool.append(message := a_message(n, 40))
        give_back(spool, [message])
    assert disk.is_full
    disk.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["put", "take", "give"]), st.integers(1, 900)), max_size=30
    )
)
def test_it_is_a_queue_whatever_happens_in_between(
    tmp_path: Path, steps: list[tuple[str, int]]
) -> None:
    disk = Disk(tmp_path, LIMIT)
    spool, plain, n = Spool(disk), deque[int](), 0
    for what, count in steps:
        if what == "put":
            for _ in range(count):
                n += 1
                spool.append(a_message(n))
                plain.append(n)
        elif what == "give":
            give_back(spool, spool.owed()[:count])
        else:
            for _ in range(min(count, len(plain))):
                assert number(spool.popleft()) == plain.popleft()
        assert len(spool) == len(plain)
    while plain:
        assert number(spool.popleft()) == plain.popleft()
    assert disk.used == 0
    disk.close()
