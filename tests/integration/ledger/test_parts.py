"""ready, refuse, output, notice, close: what an instance says of its part in a session."""

import asyncio
import dataclasses

import pytest

from blueengine.wire import codec
from blueengine.wire.report import Fault, Outcome, Tally
from tests.integration.ledger.world import Part, World
from tests.kit.builders import a_result


def other_attempt(part: Part, by: int = 1) -> Part:
    return dataclasses.replace(part, attempt=part.attempt + by)


# -- ready -----------------------------------------------------------------------------------------


async def test_the_last_ready_releases_the_input(world: World) -> None:
    for engine in "abc":
        await world.attend(engine)
    session = await world.submit(["a", "b", "c"])
    one, two, three = await world.parts(session)
    assert [await world.ready(part) for part in (one, two)] == ["wait", "wait"]
    assert await world.status(session) == "queuing"
    assert await world.kinds(one.instance) == ["start"], "no input before all are ready"
    assert await world.ready(three) == "go"
    assert await world.status(session) == "processing"
    assert await world.kinds(one.instance) == ["start", "go"], "it reads the start data"
    assert await world.kinds(two.instance) == ["start"], "it reads what the first writes"
    assert [row.status for row in (await world.record(session)).parts] == ["processing"] * 3


async def test_who_is_ready_last_needs_no_go(world: World) -> None:
    for engine in "ab":
        await world.attend(engine)
    one, two = await world.parts(await world.submit(["a", "b"]))
    assert await world.ready(two) == "wait"
    assert await world.ready(one) == "go"
    assert await world.kinds(one.instance) == ["start"]


async def test_ready_again_is_the_same_answer_and_nothing_more(world: World) -> None:
    for engine in "ab":
        await world.attend(engine)
    session = await world.submit(["a", "b"])
    one, two = await world.parts(session)
    assert [await world.ready(one) for _ in range(3)] == ["wait"] * 3
    assert [await world.ready(two) for _ in range(3)] == ["go"] * 3
    assert await world.ready(one) == "go"
    assert await world.kinds(one.instance) == ["start", "go"]
    assert (await world.view()).sessions[session].statuses() == ["pending", "queuing", "processing"]


async def test_ready_of_another_attempt_or_of_an_ended_session_is_stale(world: World) -> None:
    await world.attend()
    part = await world.part(await world.submit())
    assert await world.ready(other_attempt(part)) == "stale"
    await world.store.stop(part.session, "x")
    assert await world.ready(part) == "stale"
    assert await world.ready(Part("i", "unknown", 1, "n1")) == "stale"


async def test_an_eager_instance_is_ready_by_being_there(world: World) -> None:
    instance = await world.attend(eager="1")
    session = await world.submit()
    assert await world.status(session) == "processing"
    (start,) = await world.commands(instance)
    assert start["g"] == "1"
    assert await world.ready(await world.part(session)) == "go", "should it say so nevertheless"
    assert await world.finish(await world.part(session)) == "finished"


async def test_an_eager_instance_waits_for_one_that_is_not(world: World) -> None:
    eager, slow = await world.attend("a", eager="1"), await world.attend("b")
    session = await world.submit(["a", "b"])
    assert await world.status(session) == "queuing"
    assert (await world.commands(eager))[0]["g"] == "0"
    assert await world.ready(await world.part(session, "n2")) == "go"
    assert await world.kinds(eager) == ["start", "go"]
    assert await world.kinds(slow) == ["start"]


# -- refuse ----------------------------------------------------------------------------------------


async def test_a_refused_session_goes_to_another_instance(world: World) -> None:
    first, second = [await world.attend("a") for _ in range(2)]
    session = await world.submit("a")
    part = await world.part(session)
    assert await world.refuse(part) == "again"
    again = await world.part(session)
    assert {part.instance, again.instance} == {first, second}
    assert again.attempt == 2
    assert not await world.held(part.instance)


async def test_a_refused_session_waits_for_a_busy_instance_that_did_not_refuse(
    world: World,
) -> None:
    await world.attend("a")
    refuser = await world.part(await world.submit("a"))
    await world.attend("a")
    busy = await world.submit("a")
    assert await world.refuse(refuser) == "again"
    assert await world.status(refuser.session) == "pending"
    await world.manage()
    assert await world.status(refuser.session) == "pending", "not back to the one that refused"
    other = await world.submit("a")
    await world.manage()
    assert (await world.part(other)).instance == refuser.instance, "who has room for others"
    (part,) = await world.run(busy)
    await world.finish(part)
    await world.manage()
    assert (await world.part(refuser.session)).instance == part.instance


async def test_when_the_other_instance_dies_the_refuser_is_asked_again(world: World) -> None:
    await world.attend("a")
    refused = await world.part(await world.submit("a"))
    other = await world.attend("a")
    await world.submit("a")
    await world.refuse(refused)
    assert await world.status(refused.session) == "pending"
    await world.die(other)
    await world.manage()
    assert (await world.part(refused.session)).instance == refused.instance


async def test_the_only_instance_is_asked_again_until_it_is_too_often(world: World) -> None:
    await world.attend("a")
    session = await world.submit("a")
    answers = [await world.refuse(await world.part(session), limit=3) for _ in range(3)]
    assert answers == ["again", "again", "failed"]
    record = await world.record(session)
    assert record.status == "failed"
    assert record.refused == 3
    assert record.fault
    assert record.fault.message == "not this one"
    assert await world.free("a") == 1


async def test_refusals_do_not_use_up_the_attempts(world: World) -> None:
    await world.attend("a", 2)
    session = await world.submit("a", max_attempts=2)
    await world.refuse(await world.part(session))
    assert await world.crash(await world.part(session)) == "queuing"
    assert await world.crash(await world.part(session)) == "failed"


async def test_a_refusal_stops_the_others_and_all_begin_again(world: World) -> None:
    await world.attend("a", 2)
    await world.attend("b", 2)
    session = await world.submit(["a", "b"])
    one, two = await world.parts(session)
    await world.ready(one)
    assert await world.refuse(two) == "again"
    assert await world.kinds(one.instance) == ["start", "stop", "start"]
    assert await world.store.demand("a") == 2, "the old slot is still held"
    assert await world.close(one, Outcome.STOPPED) == "queuing"
    assert await world.store.demand("a") == 1
    assert [await world.ready(p) for p in await world.parts(session)] == ["wait", "go"]


async def test_a_refusal_again_or_late_changes_nothing(world: World) -> None:
    await world.attend("a", 2)
    session = await world.submit("a")
    part = await world.part(session)
    assert await world.refuse(part) == "again"
    assert await world.refuse(part) == "stale"
    assert (await world.record(session)).attempt == 2
    await world.store.stop(session, "x")
    current = await world.part(session)
    assert await world.refuse(current) == "stale"
    assert await world.free("a") == 2, "but its slot is given back"


async def test_a_refusal_of_a_part_taken_for_ready_fails_the_session(world: World) -> None:
    await world.attend(eager="1")
    session = await world.submit()
    assert await world.refuse(await world.part(session)) == "failed"
    assert await world.status(session) == "failed"


# -- output ----------------------------------------------------------------------------------------


async def test_results_are_kept_in_order_each_once(world: World) -> None:
    await world.attend()
    (part,) = await world.run(await world.submit())
    assert await world.output(part, 0, b"0", b"1") == "ok"
    assert await world.output(part, 0, b"0", b"1") == "ok"
    assert await world.output(part, 1, b"1", b"2") == "ok", "the second half is new"
    assert await world.output(part, 3, b"3") == "ok"
    assert await world.results(part.session) == [b"0", b"1", b"2", b"3"]
    assert (await world.record(part.session)).first_result > 0


async def test_a_gap_stores_nothing(world: World) -> None:
    await world.attend()
    (part,) = await world.run(await world.submit())
    assert await world.output(part, 2, b"2") == "gap"
    assert await world.results(part.session) == []
    assert await world.output(part, 0, b"0") == "ok"


async def test_two_writers_of_a_channel_count_apart(world: World) -> None:
    await world.attend("a", 2)
    one, two = await world.run(await world.submit(["a", "a"]))
    await world.output(one, 0, b"one")
    await world.output(two, 0, b"two")
    assert await world.results(one.session) == [b"one", b"two"]


async def test_results_before_go_after_the_end_or_of_an_old_attempt_are_dropped(
    world: World,
) -> None:
    await world.attend("a", 2)
    session = await world.submit("a", max_attempts=2)
    part = await world.part(session)
    assert await world.output(part, 0, b"early") == "stale"
    await world.ready(part)
    assert await world.output(other_attempt(part), 0, b"future") == "stale"
    await world.output(part, 0, b"first attempt")
    await world.crash(part)
    assert await world.results(session) == [], "what the old attempt made is dropped"
    assert await world.output(part, 1, b"late") == "stale"
    (again,) = await world.run(session)
    assert await world.output(again, 0, b"second attempt") == "ok", "it counts from 0 again"
    await world.finish(again)
    assert await world.output(again, 1, b"late") == "stale"
    assert await world.results(session) == [b"second attempt"]


async def test_stored_start_data_outlives_a_new_attempt(world: World) -> None:
    await world.attend("a", 2)
    session = await world.submit(
        "a", max_attempts=2, stored_start_data=[("Out", a_result(b"start"))]
    )
    (part,) = await world.run(session)
    await world.output(part, 0, b"made")
    await world.crash(part)
    assert await world.results(session) == [b"start"]


# -- notice ----------------------------------------------------------------------------------------


async def test_a_notice_is_history_and_progress_is_shown(world: World) -> None:
    await world.attend()
    (part,) = await world.run(await world.submit())
    assert await world.notice(part, "progress", b'{"done": 1, "total": 4}') == "ok"
    assert await world.notice(part, "page-found", b'{"page": 2}') == "ok"
    assert (await world.record(part.session)).parts[0].progress == {"done": 1, "total": 4}
    notices = [e for e in await world.store.history(part.session) if e.fields["k"] == "notice"]
    assert [e.fields["type"] for e in notices] == ["progress", "page-found"]
    assert notices[1].fields["body"] == '{"page": 2}'


async def test_a_notice_of_an_old_attempt_or_an_ended_session_is_stale(world: World) -> None:
    await world.attend()
    (part,) = await world.run(await world.submit())
    assert await world.notice(other_attempt(part), "x") == "stale"
    await world.finish(part)
    assert await world.notice(part, "x") == "stale"


# -- close -----------------------------------------------------------------------------------------


async def test_the_last_part_that_finishes_ends_the_session(world: World) -> None:
    for engine in "ab":
        await world.attend(engine)
    session = await world.submit(["a", "b"])
    one, two = await world.run(session)
    assert await world.finish(one) == "processing"
    assert await world.free("a") == 1, "a slot is free as soon as its part has ended"
    assert await world.store.demand("a") == 0
    assert await world.finish(two) == "finished"
    record = await world.record(session)
    assert record.ended >= record.ready >= record.picked >= record.created > 0
    assert [row.tally.calls for row in record.parts] == [1, 1]


async def test_close_again_gives_nothing_back_twice(world: World) -> None:
    await world.attend("echo", 2)
    (part,) = await world.run(await world.submit())
    assert [await world.finish(part) for _ in range(3)] == ["finished"] * 3
    assert await world.fail(part) == "finished"
    assert await world.free() == 2


async def test_a_part_that_fails_fails_the_session_and_stops_the_others(world: World) -> None:
    for engine in "ab":
        await world.attend(engine)
    session = await world.submit(["a", "b"])
    one, two = await world.run(session)
    assert await world.fail(one, "no such page") == "failed"
    record = await world.record(session)
    assert record.fault
    assert (record.fault.message, record.fault.node) == ("no such page", "n1")
    assert [row.status for row in record.parts] == ["failed", "stopping"]
    assert await world.kinds(two.instance) == ["start", "stop"]
    assert await world.free("b") == 0, "it is still at it"
    assert await world.close(two, Outcome.STOPPED) == "failed"
    assert await world.free("b") == 1


async def test_a_crash_begins_again_while_attempts_are_left(world: World) -> None:
    await world.attend()
    session = await world.submit(max_attempts=2)
    (part,) = await world.run(session)
    assert await world.crash(part) == "queuing", "its own slot is free for it at once"
    assert await world.finish(part) == "queuing", "late"
    (again,) = await world.run(session)
    assert again.attempt == 2
    assert await world.crash(again) == "failed"
    told = (await world.view()).sessions[session].statuses()
    assert told == ["pending", "queuing", "processing"] * 2 + ["failed"]


async def test_after_a_crash_it_waits_if_somebody_is_before_it(world: World) -> None:
    await world.attend()
    session = await world.submit(max_attempts=2)
    (part,) = await world.run(session)
    first = await world.submit(rank=1)
    assert await world.crash(part) == "pending"
    assert await world.manage() == 1
    assert await world.status(first) == "queuing"


async def test_after_a_crash_others_with_a_free_slot_are_woken(world: World) -> None:
    """The slot the crash gave back goes to whoever waits, though the session itself waits, too."""
    await world.attend("a")
    await world.attend("b")
    large = await world.submit(["a", "b"], max_attempts=2)
    one, two = await world.run(large)
    small = await world.submit("a")
    await world.crash(one)  # it now waits for b, which the old attempt still holds
    await world.manage()
    assert await world.status(small) == "queuing"
    await world.close(two, Outcome.STOPPED)
    (part,) = await world.run(small)
    await world.finish(part)
    await world.manage()
    assert await world.status(large) == "queuing"


async def test_the_session_of_a_slot_that_was_not_given_back_is_not_forgotten(world: World) -> None:
    for engine in "ab":
        await world.attend(engine)
    one, two = await world.run(await world.submit(["a", "b"], ttl=0))
    await world.fail(one)
    assert not await world.store.forget(one.session)
    assert await world.store.expired(now_us=await world.store.now_us()) == [], "put off"
    await world.close(two, Outcome.STOPPED)
    assert await world.store.forget(one.session)
    assert await world.free("b") == 1


async def test_a_close_of_an_unknown_session_is_stale(world: World) -> None:
    assert await world.finish(Part("i", "unknown", 1, "n1")) == "stale"


async def test_only_the_instance_that_plays_a_part_can_end_it(world: World) -> None:
    await world.attend()
    (part,) = await world.run(await world.submit())
    stranger = dataclasses.replace(part, instance="stranger")
    assert await world.finish(stranger) == "processing"
    assert await world.free() == 0


@pytest.mark.parametrize("outcome", [Outcome.FINISHED, Outcome.STOPPED])
async def test_ending_before_all_are_ready_fails_instead_of_waiting_for_ever(
    world: World, outcome: Outcome
) -> None:
    for engine in "ab":
        await world.attend(engine)
    session = await world.submit(["a", "b"])
    one, _ = await world.parts(session)
    await world.ready(one)
    assert await world.close(one, outcome) == "failed"
    fault = (await world.record(session)).fault
    assert fault
    assert fault.code == "out-of-turn"
    assert fault.node == "n1"


async def test_last_results_come_with_the_close(world: World) -> None:
    await world.attend()
    (part,) = await world.run(await world.submit())
    await world.output(part, 0, b"0")
    last = [codec.encode(a_result(payload)) for payload in (b"0", b"1")]
    assert await world.finish(part, results=[("Out", 0, last)]) == "finished"
    assert await world.finish(part, results=[("Out", 0, last)]) == "finished"
    assert await world.results(part.session) == [b"0", b"1"]


async def test_results_with_a_crash_do_not_shift_the_next_attempt(world: World) -> None:
    await world.attend()
    session = await world.submit(max_attempts=2)
    (part,) = await world.run(session)
    last = [codec.encode(a_result(b"old"))]
    fault = Fault(code="worker-died", message="exit 137")
    await world.close(part, Outcome.FAILED, fault, again=True, results=[("Out", 0, last)])
    (again,) = await world.run(session)
    assert await world.output(again, 0, b"new") == "ok"
    assert await world.results(session) == [b"new"]
    row = (await world.record(session)).parts[0]
    assert row.tally == Tally(), "what the old attempt counted is gone"


async def test_reports_of_many_sessions_share_a_round_trip(world: World) -> None:
    await world.attend("echo", 50)
    sessions = [await world.submit() for _ in range(50)]
    parts = [await world.part(session) for session in sessions]
    ledger = world.instance(parts[0].instance)
    futures = []
    for part in parts:
        futures += [
            ledger.ready(part.key),
            ledger.output(part.key, "Out", 0, [codec.encode(a_result())]),
            ledger.close(part.key, Outcome.FINISHED, None, Tally()),
        ]
    replies = await asyncio.gather(*futures)
    assert replies == [b"go", b"ok", b"finished"] * 50
    assert await world.free() == 50
