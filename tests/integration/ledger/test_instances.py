"""attend, beat, drain, leave, reap: instances come and go, and take nothing with them."""

import pytest

from blueengine.transport.redis_streams import RedisStreams
from blueengine.wire import names
from blueengine.wire.report import Outcome
from tests.integration.ledger.world import LONG, World
from tests.kit.builders import an_engine_spec

# -- attend ----------------------------------------------------------------------------------------


async def test_attendance_shows_spec_slots_and_facts(world: World) -> None:
    name = await world.attend("ocr", 3, host="h1", pid="42")
    state = await world.store.engine("ocr")
    assert state
    assert state.spec == an_engine_spec("ocr", concurrency=3)
    assert (state.free_slots, state.used_slots) == (3, 0)
    (record,) = state.instances
    assert record["id"] == name
    assert (record["host"], record["pid"], record["state"]) == ("h1", "42", "attending")
    assert await world.store.engine_ids() == ["ocr"]
    assert await world.store.engine("unseen") is None


async def test_attending_again_changes_no_slot(world: World) -> None:
    name = await world.attend("a", 2)
    await world.submit("a")
    await world.attend("a", 2, name=name)
    assert await world.free("a") == 1


async def test_the_spec_stays_when_the_last_instance_leaves(world: World) -> None:
    name = await world.attend("a", 2)
    await world.instance(name).leave("scaled in")
    state = await world.store.engine("a")
    assert state
    assert state.spec.concurrency == 2
    assert state.instances == ()
    assert state.free_slots == 0


async def test_the_specs_version_grows_with_changes_only(world: World) -> None:
    versions = [await world.store.specs_version()]
    for slots in (1, 1, 2):
        await world.attend("a", slots)
        versions.append(await world.store.specs_version())
    assert versions[0] < versions[1] == versions[2] < versions[3]


async def test_a_new_instance_wakes_those_who_wait(world: World) -> None:
    await world.submit("a")
    assert await world.woken() == []
    await world.attend("a")
    assert await world.woken() == ["a"]


# -- ail -------------------------------------------------------------------------------------------


async def test_an_ailing_instance_takes_nothing_and_says_why(world: World) -> None:
    name = await world.attend("a", 2)
    running = await world.submit("a")
    for _ in range(2):
        assert await world.instance(name).ail("its workers crash") == b"ok"
    view = await world.view()
    record = view.records[name]
    assert (record["state"], record["reason"]) == ("ailing", "its workers crash")
    assert not view.faults()
    waiting = await world.submit("a")
    [capacity] = await world.store.capacities(["a"])
    assert (capacity.free_slots, capacity.ailing) == (0, "its workers crash")
    for part in await world.run(running):
        await world.finish(part)
    assert await world.status(waiting) == "pending"
    for _ in range(2):
        assert await world.instance(name).ail("") == b"ok"
    assert await world.manage() == 1
    assert await world.status(waiting) == "queuing"
    assert (await world.store.capacities(["a"]))[0].ailing == ""
    assert not (await world.view()).faults()


async def test_one_that_is_gone_or_draining_does_not_come_back_by_getting_well(
    world: World,
) -> None:
    name = await world.attend("a")
    await world.instance(name).ail("its workers crash")
    await world.instance(name).drain()
    await world.instance(name).ail("")
    assert await world.free("a") == 0
    assert await world.die(name) == [name]
    assert await world.instance(name).ail("") == b"gone"
    assert not (await world.view()).faults()


# -- beat and reap ---------------------------------------------------------------------------------


async def test_a_beat_puts_the_deadline_off(world: World) -> None:
    name = await world.attend()
    await world.store.reap(heartbeat_timeout=LONG)
    await world.link.send("ZADD", names.DEADLINES, 0, name)
    assert await world.instance(name).beat() == b"ok"
    assert await world.store.reap(heartbeat_timeout=LONG) == []


async def test_the_inbox_is_there_for_as_long_as_the_attendance(world: World) -> None:
    """Whoever dies between making its inbox and its attendance leaves it for a while only."""
    transport = RedisStreams(world.link, world.link, "early", max_message_bytes=1 << 20)
    await transport.open()
    inbox = names.inbox("early")
    assert 0 < await world.link.send("TTL", inbox) <= 300
    await world.attend(name="early")
    assert await world.link.send("TTL", inbox) == -1
    await world.link.send("EXPIRE", inbox, 300)
    await world.instance("early").beat()
    assert await world.link.send("TTL", inbox) == -1


async def test_a_beat_of_one_given_up_says_so_and_does_not_revive_it(world: World) -> None:
    name = await world.attend()
    assert await world.die(name) == [name]
    assert await world.instance(name).beat() == b"gone"
    assert not (await world.view()).deadlines


async def test_nobody_is_given_up_for_a_time_when_nobody_watched(world: World) -> None:
    dead, alive = await world.attend(), await world.attend()
    await world.link.send("ZADD", names.DEADLINES, 0, dead)
    assert await world.store.reap(heartbeat_timeout=LONG) == [], "the first look after a gap"
    await world.instance(alive).beat()
    deadlines = (await world.view()).deadlines
    assert deadlines[dead] > await world.store.now_us(), "everybody gets one timeout more"
    assert await world.die(dead) == [dead]


async def test_after_a_gap_everybody_has_a_whole_timeout_to_come_back(world: World) -> None:
    """Redis was away for nearly the timeout: a deadline that is close must not count, either."""
    name = await world.attend()
    soon = await world.store.now_us() + 1_000_000
    await world.link.send("ZADD", names.DEADLINES, soon, name)
    before = await world.store.now_us()
    assert await world.store.reap(heartbeat_timeout=LONG) == []
    assert (await world.view()).deadlines[name] >= before + LONG * 1e6


async def test_a_dead_instance_fails_its_sessions_and_no_others(world: World) -> None:
    dead = await world.attend("a", 2)
    lost = [await world.submit("a") for _ in range(2)]
    alive = await world.attend("a", 2)
    kept = await world.submit("a")
    await world.run(kept)
    assert await world.die(dead) == [dead]
    assert [await world.status(s) for s in lost] == ["failed", "failed"]
    record = await world.record(lost[0])
    assert record.fault
    assert record.fault.code == "instance-lost"
    assert dead in record.fault.message
    assert await world.status(kept) == "processing"
    assert await world.free("a") == 1
    assert (await world.view()).records.keys() == {alive}
    assert await world.die(dead) == []


async def test_with_attempts_left_they_begin_again_first_in_order_first(world: World) -> None:
    dead = await world.attend("a", 3)
    sessions = [await world.submit("a", rank=rank, max_attempts=2) for rank in (0, 2, 1)]
    await world.attend("a", 1)
    await world.die(dead)
    assert [await world.status(s) for s in sessions] == ["pending", "queuing", "pending"]
    assert (await world.record(sessions[1])).attempt == 2


async def test_of_two_that_die_together_none_is_given_the_work_of_the_other(world: World) -> None:
    dead = [await world.attend("a", 2) for _ in range(2)]
    sessions = [await world.submit("a", max_attempts=2) for _ in range(2)]
    assert await world.die(*dead) == dead
    assert [await world.status(s) for s in sessions] == ["pending"] * 2
    assert [(await world.record(s)).attempt for s in sessions] == [2, 2]


async def test_what_a_dead_instance_still_says_is_ignored(world: World) -> None:
    """Paused past its deadline, then it goes on."""
    name = await world.attend()
    session = await world.submit(max_attempts=2)
    (part,) = await world.run(session)
    await world.die(name)
    assert await world.ready(part) == "stale"
    assert await world.output(part, 0, b"late") == "stale"
    assert await world.notice(part, "progress") == "stale"
    assert await world.finish(part) == "pending"
    assert await world.refuse(part) == "stale"
    await world.attend(name=name)  # it comes back under the same id
    await world.manage()
    assert (await world.part(session)).attempt == 2
    assert await world.finish(part) == "queuing"
    assert await world.free() == 0


async def test_both_parts_on_a_dead_instance_end_with_it(world: World) -> None:
    name = await world.attend("a", 2)
    session = await world.submit(["a", "a"])
    await world.run(session)
    await world.die(name)
    assert await world.status(session) == "failed"
    assert await world.store.demand("a") == 0


async def test_not_more_than_asked_for_at_once(world: World) -> None:
    instances = [await world.attend() for _ in range(3)]
    await world.store.reap(heartbeat_timeout=LONG)
    for name in instances:
        await world.link.send("ZADD", names.DEADLINES, 0, name)
    found = [await world.store.reap(heartbeat_timeout=LONG, at_most=2) for _ in range(3)]
    assert [len(gone) for gone in found] == [2, 1, 0]


# -- drain and leave -------------------------------------------------------------------------------


async def test_a_draining_instance_ends_its_work_and_gets_no_more(world: World) -> None:
    name = await world.attend("a", 2)
    (part,) = await world.run(await world.submit("a"))
    assert await world.instance(name).drain() == 1
    assert (await world.submitted("a")).status == "pending"
    assert await world.finish(part) == "finished"
    assert await world.instance(name).drain() == 0
    assert await world.instance(name).beat() == b"ok"
    await world.attend("a", 2, name=name)
    assert await world.free("a") == 0, "it does not come back by saying that it is there"


async def test_only_an_idle_instance_is_drained_when_asked_so(world: World) -> None:
    busy, idle = await world.attend("a"), await world.attend("b")
    await world.submit("a")
    assert not await world.store.drain_if_idle(busy)
    assert await world.store.drain_if_idle(idle)
    assert not await world.store.drain_if_idle("unknown")
    assert (await world.submitted("b")).status == "pending"


@pytest.mark.parametrize("again", [False, True])
async def test_who_leaves_gives_everything_back(world: World, again: bool) -> None:
    name = await world.attend()
    session = await world.submit(max_attempts=2 if again else 1)
    await world.run(session)
    for _ in range(2):
        assert await world.instance(name).leave("scaled in") == b"ok"
    record = await world.record(session)
    assert record.status == ("pending" if again else "failed")
    if not again:
        assert record.fault
        assert (record.fault.code, record.fault.message) == ("instance-left", "scaled in")
    assert not any(key.startswith("be:i:") for key in (await world.view()).keys)


async def test_a_stop_that_is_under_way_when_the_instance_leaves(world: World) -> None:
    name = await world.attend()
    (part,) = await world.run(await world.submit())
    await world.store.stop(part.session, "x")
    await world.instance(name).leave("over")
    assert await world.status(part.session) == "canceled"
    assert await world.close(part, Outcome.STOPPED) == "canceled"
    assert not (await world.view()).timers
