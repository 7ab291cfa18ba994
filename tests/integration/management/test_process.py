"""A management process on a real Redis: it does its work, and ends when it is told to."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from apps.sessions.store import SessionStore
from blueengine.kit.redis_address import RedisAddress
from blueengine.kit.redis_link import Link
from blueengine.ledger.instance import InstanceLedger
from blueengine.transport.blobs import BlobFolder, session_prefix
from tests.kit.builders import a_session, an_engine_spec
from tests.kit.servers import RealRedis
from tests.kit.signals import signals
from tests.kit.wait import until, wait_until

SETTINGS = {
    "HEARTBEAT_SECONDS": "0.1",
    "HEARTBEAT_TIMEOUT": "0.5",
    "JANITOR_SECONDS": "0.1",
    "SWEEP_SECONDS": "0.5",
    "WAKE_CLAIM_SECONDS": "0.5",
    "PATIENCE_SECONDS": "20",
}


@contextmanager
def management(url: str, **settings: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "apps.management.main"],
        env={**os.environ, **SETTINGS, **settings, "REDIS_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ended(process: "subprocess.Popen[str]", number: signal.Signals = signal.SIGTERM) -> str:
    """Tell a process to end; what it wrote, once it has ended with 0."""
    process.send_signal(number)
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 0, out
    return out


@pytest.fixture
async def instance(link: Link) -> AsyncIterator[InstanceLedger]:
    ledger = InstanceLedger(link, "i1", heartbeat_timeout=0.5)
    yield ledger
    await ledger.leave("the test is over")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_with_0(
    redis_server: RealRedis, link: Link, number: signal.Signals
) -> None:
    with management(redis_server.url) as process:
        await until(lambda: link.send("EXISTS", "be:wake"), 10)
        assert '"message":"stopped"' in ended(process, number)


async def test_a_dead_instance_is_found_and_its_session_fails(
    redis_server: RealRedis, link: Link, store: SessionStore, instance: InstanceLedger
) -> None:
    with management(redis_server.url) as process:
        await until(lambda: link.send("EXISTS", "be:wake"), 10)
        await instance.attend(an_engine_spec(), {})
        session = await store.submit(a_session(), specs_version=-1, gateway="")

        async def failed() -> bool:
            record = await store.read(session.session)
            return record is not None and record.status == "failed"

        await until(failed, 10)
        assert "gave up i1" in ended(process)


async def test_an_expired_session_is_forgotten_with_its_blobs(
    redis_server: RealRedis, store: SessionStore, tmp_path: Path
) -> None:
    blobs = BlobFolder(tmp_path)
    session = await store.submit(a_session(ttl=0.2), specs_version=-1, gateway="")
    blobs.write(f"{session_prefix(session.session)}/results/Out/0", [b"x"])
    await store.stop(session.session, "a test")
    with management(redis_server.url, BLOB_DIR=str(tmp_path)) as process:

        async def gone() -> bool:
            return await store.read(session.session) is None

        await until(gone, 10)
        assert not (tmp_path / session_prefix(session.session)).exists()
        ended(process)


async def test_it_goes_on_when_redis_comes_back(own_redis: RealRedis) -> None:
    with management(own_redis.url) as process:
        link = Link(_address(own_redis), scripts=None)
        await link.open()
        await until(lambda: link.send("EXISTS", "be:wake"), 10)
        await link.close()
        own_redis.restart(hard=True)
        link = Link(_address(own_redis))
        await link.open()
        await link.send("DEL", "be:wake")
        await until(lambda: link.send("EXISTS", "be:wake"), 10)
        await link.close()
        ended(process)


def _address(server: RealRedis) -> RedisAddress:
    return RedisAddress.from_url(server.url)


def test_without_redis_it_says_so_and_ends() -> None:
    with management("redis://127.0.0.1:1/0", PATIENCE_SECONDS="0.3") as process:
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "error: no Redis at 127.0.0.1:1/0" in out.splitlines()[-1]


def test_a_stop_while_redis_is_away_is_obeyed() -> None:
    with management("redis://127.0.0.1:1/0", PATIENCE_SECONDS="60") as process:
        wait_until(lambda: signal.SIGTERM in signals(process.pid, "SigCgt"), 10)
        ended(process)


def test_a_wrong_setting_is_one_line() -> None:
    with management("redis://127.0.0.1:1/0", TICK_SECONDS="soon") as process:
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert out == "error: the environment variable TICK_SECONDS is 'soon', which is no float\n"
