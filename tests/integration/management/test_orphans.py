"""Blobs of sessions that are not there go; all others stay. One replica does it."""

import asyncio
import os
from pathlib import Path

import pytest

from apps.management.loops import orphans
from apps.management.loops.orphans import Orphans
from apps.sessions.store import SessionStore
from blueengine.kit.clock import SystemClock
from blueengine.transport.blobs import BlobFolder, session_prefix, start_ref, upload_ref
from tests.kit.builders import a_session, a_session_id

OLDER = 3600.0


@pytest.fixture
def blobs(tmp_path: Path) -> BlobFolder:
    return BlobFolder(tmp_path)


def aged(blobs: BlobFolder, session: str) -> str:
    """Write a blob of a session as if long ago; the session."""
    blobs.write(start_ref(session, 0), [b"x"])
    os.utime(blobs.path(session_prefix(session)), (0, 0))
    return session


async def test_blobs_of_no_session_go_and_others_stay(
    store: SessionStore, blobs: BlobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "AT_ONCE", 3)
    kept = a_session()
    await store.submit(kept, specs_version=-1, gateway="")
    aged(blobs, kept.session)
    gone = {aged(blobs, a_session_id()) for _ in range(7)}
    young = a_session_id()
    blobs.write(start_ref(young, 0), [b"x"])
    blobs.write(upload_ref("mine"), [b"x"])
    sweep = Orphans(store, blobs, SystemClock(), older=OLDER)
    assert set(await sweep.found()) == gone
    assert await sweep.remove() == 7
    assert await sweep.remove() == 0
    left = {path.name for path in (blobs.root / "sessions").iterdir()}
    assert left == {kept.session, young}
    assert blobs.existing(upload_ref("mine"))


async def test_an_empty_blob_folder_has_no_orphans(store: SessionStore, blobs: BlobFolder) -> None:
    assert await Orphans(store, blobs, SystemClock(), older=OLDER).remove() == 0


async def test_a_job_is_one_replicas_for_a_period(store: SessionStore) -> None:
    replicas = ["one", "two", "three"]
    asked = [store.lease("a job", replica, seconds=60) for replica in replicas]
    got = await asyncio.gather(*asked)
    assert sorted(got) == [False, False, True]
    holder = replicas[got.index(True)]
    assert await store.lease("a job", holder, seconds=60), "asked again: the same answer"
    assert await store.lease("another job", "two", seconds=60)
    assert await store.lease("short", "one", seconds=0.001)
    await asyncio.sleep(0.01)
    assert await store.lease("short", "two", seconds=60), "its holder died, or did its work"
