"""What may be taken beyond the windows, once a session was found to stand still."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from blueengine.runtime import frames
from blueengine.runtime.part import WINDOW_MESSAGES, Message, Source
from blueengine.runtime.spool import LONG_MESSAGES, Disk, Spool
from blueengine.runtime.standstill import Look, Standstill

PORT = "In"


class Given:
    """A part in which messages wait at one port, and what is given back of them."""

    def __init__(self, folder: Path, *, limit: int = 1 << 20) -> None:
        self.disk = Disk(folder, limit)
        self.spool = Spool(self.disk)
        self.run: Any = SimpleNamespace(spools={PORT: self.spool})
        self.part: Any = SimpleNamespace(disk=self.disk, look=None)
        self.back: list[Message] = []
        instance: Any = SimpleNamespace()
        moves: Any = SimpleNamespace(give_back=self.give_back, is_shared=lambda *_: False)
        endings: Any = SimpleNamespace(fail=self.fail)
        self.standstill = Standstill(instance, moves, endings)

    def give_back(self, _: Any, message: Message) -> None:
        message.source = None
        self.back.append(message)

    def fail(self, _: Any, code: str, text: str) -> None:
        raise AssertionError(f"{code}: {text}")

    def wait(self, *, sender: str = "writer", size: int = 10) -> Message:
        message = Message(frames.Item(PORT, [b"x" * size], b"", ""), Source(), "C", sender, size)
        self.spool.append(message)
        self.standstill.on_waiting(self.part, self.run, PORT, message)
        return message


@pytest.fixture
def given(tmp_path: Path) -> Iterator[Given]:
    given = Given(tmp_path)
    yield given
    given.disk.close()


async def test_a_part_in_which_little_waits_asks_nobody(given: Given) -> None:
    for _ in range(10):
        given.wait()
    assert given.part.look is None


async def test_one_in_which_much_waits_begins_to_look(given: Given) -> None:
    for _ in range(WINDOW_MESSAGES):
        given.wait()
    assert given.part.look.looking
    assert given.back == []
    given.part.live = False  # it ends: nothing is looked at any more


async def test_no_more_is_given_back_than_was_allowed(given: Given) -> None:
    given.part.look = Look(messages=3, size=1000)
    waited = [given.wait() for _ in range(5)]
    assert given.back == waited[:3]
    given.part.look = Look(messages=3, size=15)
    waited = [given.wait() for _ in range(5)]
    assert given.back[3:] == waited[:2]


async def test_messages_that_no_window_bounds_are_left_alone(given: Given) -> None:
    given.part.look = Look(messages=100, size=10_000)
    for _ in range(50):
        given.wait(sender="")
    assert (given.back, given.disk.used, given.spool.owed()) == ([], 0, [])
    given.part.look = None
    for n in range(LONG_MESSAGES):
        assert not given.spool.is_long, n
        given.wait()
    assert given.spool.is_long
    given.part.live = False


async def test_nothing_is_given_back_when_the_disk_is_full(tmp_path: Path) -> None:
    given = Given(tmp_path, limit=0)
    given.part.look = Look(messages=100, size=10_000)
    given.wait()
    assert given.back == []


async def test_windows_are_enough_again_when_partners_come(given: Given) -> None:
    given.part.look = Look(messages=100, size=10_000)
    given.standstill.on_moved(given.part)
    given.wait()
    assert given.back == []
