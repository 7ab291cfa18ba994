"""Redis comes back without what it had acknowledged last: no session stays as it was for ever."""

from pathlib import Path
from typing import Final

import pytest

from blueengine.wire import names
from tests.integration.runtime.site import Platform, Site, a_chain
from tests.kit.engines.process import EngineProcess, Gate
from tests.kit.wait import until

pytestmark = pytest.mark.timeout(240)  # heartbeats that must pass, on a busy machine

STATE_LOST: Final = "state-lost"


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


async def beats(platform: Platform, engine: EngineProcess) -> int:
    return int(await platform.link.send("HGET", names.instance(engine.instance), "beat") or 0)


async def at_work(platform: Platform, gate: Gate, *engines: str, **more: int) -> str:
    """Submit a session that waits in its first engine."""
    gate.close()
    session = await platform.submit(a_chain(*engines), "late", **more)

    async def processing() -> bool:
        return await platform.status(session) == "processing"

    await until(processing, 20)
    return session


async def test_an_end_that_redis_forgot_fails_the_session(
    site: Site, platform: Platform, gate: Gate
) -> None:
    # so few heartbeats that none is forgotten together with the end
    seldom = {"GATE": str(gate.path), "HEARTBEAT_SECONDS": "3", "HEARTBEAT_TIMEOUT": "60"}
    platform.heartbeat_timeout = 60
    engine = await platform.start("gate", environment=seldom)
    session = await at_work(platform, gate, "gate")
    number = await beats(platform, engine)
    await until(lambda: _beyond(platform, engine, number), 20)  # the next one is far away
    mark = site.redis.so_far()
    gate.open()
    assert await platform.finished(session) == ["late"]
    site.redis.forget(mark)
    record = await platform.ended(session, 40)
    assert (record.status, record.fault and record.fault.code) == ("failed", STATE_LOST)
    await fine_again(platform)


async def test_sessions_at_work_begin_again_when_redis_forgot(
    site: Site, platform: Platform, gate: Gate
) -> None:
    engine = await platform.start("gate", environment={"GATE": str(gate.path)})
    again = await at_work(platform, gate, "gate", max_attempts=2)
    once = await at_work(platform, gate, "gate")
    mark, number = site.redis.so_far(), await beats(platform, engine)
    await until(lambda: _beyond(platform, engine, number + 1), 20)
    site.redis.forget(mark)
    record = await platform.ended(once, 40)
    assert (record.status, record.fault and record.fault.code) == ("failed", STATE_LOST)
    gate.open()
    assert await platform.finished(again, seconds=40) == ["late"]
    last = await platform.store.read(again)
    assert last
    assert last.attempt == 2
    await fine_again(platform)


async def test_nobody_waits_for_a_message_that_redis_forgot(
    site: Site, platform: Platform, gate: Gate
) -> None:
    """Both engines are through with the session; Redis says that they have not begun."""
    first = await platform.start("gate", environment={"GATE": str(gate.path)})
    await platform.start("echo")
    session = await at_work(platform, gate, "gate", "echo")
    mark, number = site.redis.so_far(), await beats(platform, first)
    await until(lambda: _beyond(platform, first, number + 1), 20)
    gate.open()
    assert await platform.finished(session) == ["late"]
    site.redis.forget(mark)
    record = await platform.ended(session, 40)
    assert (record.status, record.fault and record.fault.code) == ("failed", STATE_LOST)
    await fine_again(platform, "gate", "echo")


async def _beyond(platform: Platform, engine: EngineProcess, number: int) -> bool:
    return await beats(platform, engine) > number


async def fine_again(platform: Platform, *engines: str) -> None:
    """Check that the instances go on with new sessions, and that nothing is left of the old ones."""
    session = await platform.submit(a_chain(*(engines or ("gate",))), "next")
    assert await platform.finished(session) == ["next"]
    await platform.nothing_left()
