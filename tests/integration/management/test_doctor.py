"""``blueengine doctor`` on a real Redis: what it prints and how it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from apps.management.loops.janitor import Janitor
from apps.sessions.store import SessionStore
from blueengine.kit.redis_link import Link
from blueengine.transport.blobs import BlobFolder, session_prefix, start_ref
from blueengine.transport.blobs_s3 import BlobBucket
from blueengine.wire import names
from tests.kit.builders import a_session
from tests.kit.s3 import S3Server
from tests.kit.servers import RealRedis
from tests.kit.wait import until


def doctor(
    server: RealRedis, *words: str, **environment: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "blueengine.cli.main", "doctor", *words],
        env={**os.environ, "REDIS_URL": server.url, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
async def damaged(redis_server: RealRedis, store: SessionStore, link: Link) -> str:
    """A session that no queue holds; its id."""
    session = a_session(["a"])
    await store.submit(session, specs_version=-1, gateway="")
    await link.send("DEL", names.waiting("a"))
    return session.session


async def test_all_is_well(redis_server: RealRedis, store: SessionStore) -> None:
    await store.submit(a_session(["a"]), specs_version=-1, gateway="")
    done = doctor(redis_server)
    assert (done.returncode, done.stdout) == (0, "all is well\n"), done.stderr


async def test_what_is_wrong_is_told_then_mended(redis_server: RealRedis, damaged: str) -> None:
    told = doctor(redis_server)
    assert told.returncode == 1
    assert told.stdout.splitlines() == [
        f"queue: {damaged}: it is pending and waits in no queue",
        "found 1 fault; to mend: blueengine doctor --fix",
    ]
    shown = json.loads(doctor(redis_server, "--json").stdout)
    assert shown["findings"] == [
        {"code": "queue", "subject": damaged, "message": "it is pending and waits in no queue"}
    ]
    mended = doctor(redis_server, "--fix")
    assert (mended.returncode, mended.stdout.splitlines()[-1]) == (0, "mended 1 fault")
    assert doctor(redis_server).stdout == "all is well\n"


async def test_blobs_of_nobody_are_found_and_removed(
    redis_server: RealRedis, link: Link, tmp_path: Path
) -> None:
    blobs = BlobFolder(tmp_path)
    blobs.write(start_ref("session-gone", 0), [b"x"])
    os.utime(blobs.path(session_prefix("session-gone")), (0, 0))
    told = doctor(redis_server, "--blob-dir", str(tmp_path))
    assert "orphan: sessions/session-gone: blobs of a session that is not there" in told.stdout
    assert told.returncode == 1
    assert doctor(redis_server, "--fix", "--blob-dir", str(tmp_path)).returncode == 0
    assert not blobs.path(session_prefix("session-gone")).exists()


async def test_uploads_of_nobody_are_found_and_removed(
    redis_server: RealRedis, tmp_path: Path
) -> None:
    folder = tmp_path / "files" / "abandoned"
    folder.mkdir(parents=True)
    os.utime(folder, (0, 0))
    told = doctor(redis_server, "--blob-dir", str(tmp_path))
    assert "upload: files/abandoned: an upload that was not gone on with" in told.stdout
    assert told.returncode == 1
    assert doctor(redis_server, "--fix", "--blob-dir", str(tmp_path)).returncode == 0
    assert not folder.exists()


async def test_blobs_of_nobody_in_a_bucket_are_found_and_removed(
    redis_server: RealRedis, s3_server: S3Server, store: SessionStore
) -> None:
    environment = dict(s3_server.environment(name := s3_server.a_bucket()))
    bucket = BlobBucket(s3_server.settings(name), patience=20)
    kept = a_session(["a"])
    await store.submit(kept, specs_version=-1, gateway="")
    for session in ("session-gone", kept.session):
        bucket.write(start_ref(session, 0), [b"x"])
    assert doctor(redis_server, **environment).stdout == "all is well\n", "it is too young"
    environment["ORPHAN_AGE_SECONDS"] = "0.001"
    told = doctor(redis_server, **environment)
    assert "orphan: sessions/session-gone: blobs of a session that is not there" in told.stdout
    assert doctor(redis_server, "--fix", **environment).returncode == 0
    assert list(bucket.below("sessions")) == [start_ref(kept.session, 0)]


async def test_the_janitor_removes_what_an_ended_session_had_in_a_bucket(
    s3_server: S3Server, store: SessionStore
) -> None:
    bucket = BlobBucket(s3_server.settings(), patience=20)
    over, other = a_session(["a"], ttl=0.001), a_session(["a"])
    for session in (over, other):
        await store.submit(session, specs_version=-1, gateway="")
        bucket.write(start_ref(session.session, 0), [b"x"])
    await store.stop(over.session, "enough")
    janitor = Janitor(store, bucket, every=10)
    await until(janitor.batch)
    assert await store.read(over.session) is None
    assert list(bucket.below("sessions")) == [start_ref(other.session, 0)]


async def test_a_dangerous_configuration_is_named(own_redis: RealRedis) -> None:
    own_redis.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    own_redis.call("CONFIG", "SET", "appendonly", "no")
    lines = doctor(own_redis).stdout.splitlines()
    assert lines[0].startswith("advice: Redis keeps no append-only file")
    assert lines[1] == (
        "advice: Redis may throw sessions away (allkeys-lru); set maxmemory-policy noeviction"
    )


def test_no_redis_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "blueengine.cli.main", "doctor"],
        env={**os.environ, "REDIS_URL": "redis://127.0.0.1:1/0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "no Redis at 127.0.0.1:1/0" in line
