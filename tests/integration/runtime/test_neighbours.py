"""Engines of one host: who hears of a session early, and whose death stops what."""

import orjson
import pytest

from blueengine.wire import codec
from blueengine.wire.envelope import Header
from tests.integration.runtime.site import Platform, a_chain
from tests.kit.wait import until


async def ended_parts(platform: Platform, session: str) -> set[str]:
    record = await platform.store.read(session)
    return {part.node for part in record.parts if part.ended} if record else set()


@pytest.mark.parametrize("behind", [("second",), ("second", "third")], ids=["next", "further on"])
async def test_a_reader_hears_of_a_session_before_its_writer_has_written(
    platform: Platform, behind: tuple[str, ...]
) -> None:
    deeds = await platform.start("deeds")
    *_, last = [await platform.start("echo", name) for name in behind]
    session = await platform.submit(a_chain("deeds", *behind), {"do": "wait"})
    await platform.noted(deeds, "waiting")
    # a first message that does not bring the Start along is for those who know of the session
    at = len(behind)
    header = Header(session, 1, f"n{at + 1}", f"n{at}", f"Ch{at}", 0)
    await platform.inboxes.put(last.instance, codec.encode(header), orjson.dumps("at once"))
    await until(lambda: platform.store.result_count(session, "Out"), 10)
    await platform.store.stop(session, "enough")
    assert (await platform.ended(session)).status == "canceled"
    assert await platform.results(session) == ["at once"]


async def test_a_busy_engine_tells_its_readers_with_the_first_message(platform: Platform) -> None:
    deeds = await platform.start("deeds", settings={"CONCURRENCY": 2})
    await platform.start("echo", settings={"CONCURRENCY": 2})
    waiting = await platform.submit(a_chain("deeds"), {"do": "wait"})
    await platform.noted(deeds, "waiting")
    session = await platform.submit(a_chain("deeds", "echo"), {"do": "echo", "n": 1})
    assert len(await platform.finished(session)) == 1
    await platform.store.stop(waiting, "enough")
    await platform.ended(waiting)


async def test_a_writer_killed_over_what_a_frozen_reader_has_not_taken_fails_its_session(
    platform: Platform,
) -> None:
    """It has made all its messages, but has not ended: no kernel holds the last of them."""
    deeds, echo = await platform.start("deeds"), await platform.start("echo")
    first = await platform.submit(a_chain("deeds", "echo"), {"do": "echo"})
    await platform.finished(first)
    with echo.frozen():
        session = await platform.submit(
            a_chain("deeds", "echo"), {"do": "many", "count": 900, "size": 4096}
        )
        lines = len(deeds.notes())
        await platform.noted(deeds, "made 900", since=lines - 1)
        assert await ended_parts(platform, session) == set()
        deeds.kill()
    record = await platform.ended(session, 30)
    assert record.status == "failed"
    assert record.fault
    assert deeds.instance in record.fault.message


async def test_a_reader_that_was_frozen_takes_all_in_order(platform: Platform) -> None:
    await platform.start("deeds")
    echo = await platform.start("echo")
    with echo.frozen():
        session = await platform.submit(
            a_chain("deeds", "echo"), {"do": "many", "count": 900, "size": 4096}
        )
        await until(lambda: platform.status(session), 10)
    got = await platform.finished(session, seconds=30)
    assert [item["n"] for item in got] == list(range(900))
