"""Redis restarts, is killed, or loses a connection in the middle of a stream."""

import pytest

from tests.integration.runtime.site import Platform, Site, a_chain
from tests.kit.wait import until

MANY = 12_000


@pytest.mark.parametrize("hard", [False, True], ids=["restart", "kill"])
async def test_a_stream_goes_on_after_redis_was_away(
    site: Site, platform: Platform, *, hard: bool
) -> None:
    # what is lost when the server is killed is what was not written to its file: here, nothing
    for kind, engine in (("deeds", ""), ("echo", "second"), ("echo", "third")):
        await platform.start(kind, engine, environment={"HEARTBEAT_TIMEOUT": "10"})
    plan = a_chain("deeds", "second", "third")
    session = await platform.submit(plan, {"do": "many", "count": MANY, "size": 200})
    await until(lambda: platform.store.result_count(session, "Out"))
    for _ in range(2):
        count = await platform.store.result_count(session, "Out")
        site.redis.restart(hard=hard)
        await until(lambda n=count: _more(platform, session, n), 20)  # type: ignore[misc]
    got = await platform.finished(session, seconds=40)
    assert [item["n"] for item in got] == list(range(MANY))
    record = await platform.store.read(session)
    assert record
    # exactly once to process_func
    assert [part.tally.calls for part in record.parts] == [1, MANY, MANY]


async def _more(platform: Platform, session: str, count: int) -> bool:
    return await platform.store.result_count(session, "Out") > count


async def test_lost_connections_lose_nothing(site: Site, platform: Platform) -> None:
    for kind, engine in (("deeds", ""), ("echo", "second")):
        await platform.start(kind, engine)
    session = await platform.submit(
        a_chain("deeds", "second"), {"do": "many", "count": MANY, "size": 200}
    )
    for _ in range(10):
        count = await platform.store.result_count(session, "Out")
        site.redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        if not await until(lambda n=count: _more_or_over(platform, session, n), 20):  # type: ignore[misc]
            break
    got = await platform.finished(session, seconds=40)
    assert [item["n"] for item in got] == list(range(MANY))
    record = await platform.store.read(session)
    assert record
    assert [part.tally.calls for part in record.parts] == [1, MANY]


async def _more_or_over(platform: Platform, session: str, count: int) -> bool:
    return await _more(platform, session, count) or await platform.status(session) == "finished"


async def test_an_instance_whose_reports_are_lost_ends_and_its_sessions_with_it(
    site: Site, platform: Platform
) -> None:
    """Redis is away for longer than the engine's patience, in the middle of a session."""
    deeds = await platform.start("deeds", environment={"PATIENCE_SECONDS": "0.5"})
    idle = await platform.start("echo", environment={"PATIENCE_SECONDS": "0.5"})
    session = await platform.submit(a_chain("deeds"), {"do": "many", "count": 10**7})
    await until(lambda: platform.store.result_count(session, "Out"))
    site.redis.halt()
    assert deeds.wait(10) == 1
    site.redis.start()
    record = await platform.ended(session)
    assert record.status == "failed"
    assert idle.gone is None
    assert await platform.finished(await platform.submit(a_chain("echo"), 1)) == [1]
