"""Uploads that were begun and not gone on with are removed; all others stay."""

import fcntl
import os
from pathlib import Path

import pytest

from apps.management.loops.uploads import Uploads
from blueengine.kit.clock import SystemClock
from blueengine.transport.blobs import BlobFolder, upload_ref

OLDER = 3600.0


@pytest.fixture
def blobs(tmp_path: Path) -> BlobFolder:
    return BlobFolder(tmp_path)


def an_upload(blobs: BlobFolder, file_id: str, *names: str, age: float = 2 * OLDER) -> Path:
    """Make an upload with these files that nothing was added to for a while."""
    folder = blobs.path(upload_ref(file_id)).parent
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(b"x")
    then = SystemClock().unix() - age
    for path in (*folder.iterdir(), folder):
        os.utime(path, (then, then))
    return folder


def left(blobs: BlobFolder) -> set[str]:
    return {path.name for path in (blobs.root / "files").iterdir()}


async def test_what_was_abandoned_goes_and_others_stay(blobs: BlobFolder) -> None:
    an_upload(blobs, "begun", "begun.json", "data.partial")
    an_upload(blobs, "killed", "data.partial")
    an_upload(blobs, "nearly-done", "facts.json", "data.partial")
    an_upload(blobs, "empty")
    an_upload(blobs, "whole", "facts.json", "data")
    an_upload(blobs, "whole-and-begun", "facts.json", "data", "begun.json")
    an_upload(blobs, "young", "begun.json", "data.partial", age=OLDER / 2)
    active = an_upload(blobs, "active", "begun.json", "data.partial")
    (active / "data.partial").write_bytes(b"xy")  # begun long ago, gone on with a moment ago
    sweep = Uploads(blobs, SystemClock(), older=OLDER)
    assert set(await sweep.found()) == {"begun", "killed", "nearly-done", "empty"}
    assert await sweep.remove() == 4
    assert await sweep.remove() == 0
    assert left(blobs) == {"whole", "whole-and-begun", "young", "active"}


async def test_an_upload_that_is_being_written_to_is_left_alone(blobs: BlobFolder) -> None:
    folder = an_upload(blobs, "slow", "begun.json", "data.partial")
    sweep = Uploads(blobs, SystemClock(), older=OLDER)
    with (folder / "data.partial").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # as a request that appends does
        assert await sweep.remove() == 0
    assert left(blobs) == {"slow"}
    assert await sweep.remove() == 1


async def test_what_was_added_after_the_look_is_kept(blobs: BlobFolder) -> None:
    folder = an_upload(blobs, "late", "begun.json", "data.partial")
    before = SystemClock().unix() - OLDER
    assert list(blobs.unfinished(before=before)) == ["late"]
    (folder / "data.partial").write_bytes(b"xy")
    assert not blobs.drop_unfinished("late", before=before)
    (folder / "data.partial").rename(folder / "data")  # or it was finished meanwhile
    assert not blobs.drop_unfinished("late", before=SystemClock().unix() + 1)
    assert left(blobs) == {"late"}


async def test_a_folder_without_uploads_has_none(blobs: BlobFolder) -> None:
    assert await Uploads(blobs, SystemClock(), older=OLDER).remove() == 0
    assert not blobs.drop_unfinished("never", before=0)
