"""When the loops look again, and in which order they delete; with a store that is not there."""

from pathlib import Path
from typing import Any

import pytest

from apps.management.loops.janitor import AT_ONCE, Janitor
from apps.management.loops.reaper import Reaper
from blueengine.transport.blobs import BlobFolder, session_prefix


class FakeStore:
    """Answers what it was given."""

    def __init__(self) -> None:
        self.reaped: list[list[str]] = []
        self.dues: list[tuple[int, float | None]] = []
        self.kept: list[str] = []
        self.forgotten: list[str] = []
        self.blobs: BlobFolder | None = None

    async def reap(self, *, heartbeat_timeout: float, at_most: int) -> list[str]:
        return self.reaped.pop(0) if self.reaped else []

    async def due(self, *, at_most: int) -> tuple[int, float | None]:
        return self.dues.pop(0) if self.dues else (0, None)

    async def now_us(self) -> int:
        return 1

    async def expired(self, *, now_us: int, at_most: int) -> list[str]:
        return self.kept[:at_most]

    async def forget(self, session: str) -> bool:
        if self.blobs:
            assert not (self.blobs.root / session_prefix(session)).exists(), "blobs go first"
        self.kept.remove(session)
        self.forgotten.append(session)
        return True


@pytest.fixture
def store() -> Any:
    return FakeStore()


@pytest.mark.parametrize(
    ("dues", "sleep"),
    [
        ((0, None), 0.25),
        ((0, 0.1), 0.1),
        ((0, 9.0), 0.25),
        ((0, 0.0), 0.01),
        ((3, 0.0), 0.01),
        ((100, 0.0), 0.0),
    ],
)
async def test_the_reaper_sleeps_until_the_next_timer_but_at_most_a_tick(
    store: Any, dues: tuple[int, float | None], sleep: float
) -> None:
    store.dues = [dues]
    assert await Reaper(store, heartbeat_timeout=4, tick_seconds=0.25).act() == sleep


async def test_the_reaper_never_sleeps_so_long_that_it_seems_away(store: Any) -> None:
    assert await Reaper(store, heartbeat_timeout=0.4, tick_seconds=0.25).act() == 0.1


async def test_many_dead_instances_are_given_up_without_a_pause(store: Any) -> None:
    store.reaped = [[f"i{number}" for number in range(100)]]
    assert await Reaper(store, heartbeat_timeout=4, tick_seconds=0.25).act() == 0


async def test_the_janitor_removes_blobs_then_records(store: Any, tmp_path: Path) -> None:
    store.blobs = blobs = BlobFolder(tmp_path)
    store.kept = ["s1", "s2"]
    blobs.write(f"{session_prefix('s1')}/results/Out/0", [b"x"])
    blobs.write(f"{session_prefix('other')}/results/Out/0", [b"x"])
    assert await Janitor(store, blobs, every=10).batch() == 2
    assert store.forgotten == ["s1", "s2"]
    assert blobs.existing(f"{session_prefix('other')}/results/Out/0")


async def test_the_janitor_works_without_blobs_and_in_batches(store: Any) -> None:
    store.kept = [f"s{number}" for number in range(AT_ONCE + 5)]
    janitor = Janitor(store, None, every=10)
    assert [await janitor.batch(), await janitor.batch(), await janitor.batch()] == [AT_ONCE, 5, 0]
