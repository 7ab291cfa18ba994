"""submit: a session is stored once, and placed at once unless somebody is before it."""

from typing import Any

import msgspec
import pytest

from blueengine.wire import codec, names
from blueengine.wire.plan import Channel, Plan
from tests.integration.ledger.world import World
from tests.kit.builders import a_plan, a_result, a_session, a_session_id


async def test_a_free_engine_gets_its_start_at_once(world: World) -> None:
    instance = await world.attend()
    reply = await world.submitted()
    assert (reply.word, reply.status, reply.position) == ("created", "queuing", -1)
    (start,) = await world.commands(instance)
    assert (start["t"], start["s"], start["a"], start["n"]) == ("start", reply.session, "1", "n1")
    assert start["k"] == f"n1={instance}"
    assert start["d"], "the node that reads start data gets it"
    assert (await world.record(reply.session)).parts[0].status == "starting"


async def test_the_plan_comes_back_as_it_was(world: World) -> None:
    plan = a_plan(["a", "b"], labels={"team": "x"})
    new = a_session(plan=plan)
    await world.store.submit(new, specs_version=-1, gateway="")
    assert (await world.record(new.session)).plan == plan
    raw = await world.link.send("HGET", names.session(new.session), "plan")
    assert codec.decode(Plan, raw) == plan


async def test_only_nodes_that_read_start_data_get_it(world: World) -> None:
    first, second = await world.attend("a"), await world.attend("b")
    await world.submit(["a", "b"])
    assert (await world.commands(first))[0]["d"]
    assert not (await world.commands(second))[0]["d"]


async def test_an_engine_nobody_ever_saw_is_waited_for(world: World) -> None:
    replies = [await world.submitted("unseen") for _ in range(3)]
    assert [r.status for r in replies] == ["pending"] * 3
    assert [(r.position, r.pending) for r in replies] == [(0, 1), (1, 2), (2, 3)]
    assert await world.link.send("ZCARD", "__engine_pending_list_unseen__") == 3
    assert await world.store.demand("unseen") == 3


async def test_all_engines_or_none(world: World) -> None:
    instance = await world.attend("a")
    session = await world.submit(["a", "unseen"])
    assert await world.status(session) == "pending"
    assert await world.free("a") == 1
    assert not await world.commands(instance)
    assert (await world.record(session)).parked == "unseen"


async def test_one_engine_twice_takes_two_slots(world: World) -> None:
    await world.attend("a", 1)
    session = await world.submit(["a", "a"])
    assert await world.status(session) == "pending"
    assert await world.store.demand("a") == 2
    assert (await world.view()).pending_list["a"].keys() == {session}, "the session counts once"
    await world.attend("a", 1)
    await world.manage()
    one, two = await world.parts(session)
    assert one.instance != two.instance
    assert await world.free("a") == 0


async def test_both_nodes_of_one_engine_may_share_an_instance(world: World) -> None:
    instance = await world.attend("a", 2)
    session = await world.submit(["a", "a"])
    assert {part.instance for part in await world.parts(session)} == {instance}
    assert len(await world.held(instance)) == 2


async def test_the_instance_with_the_most_free_slots_is_picked(world: World) -> None:
    small, large = await world.attend("a", 1), await world.attend("a", 3)
    picks = [(await world.part(await world.submit("a"))).instance for _ in range(4)]
    assert picks.count(large) == 3
    assert picks.count(small) == 1
    assert picks[0] == large


async def test_a_newcomer_does_not_overtake_those_parked(world: World) -> None:
    first = await world.submit("a")
    await world.attend("a")  # capacity and a waiting session meet: a wake-up, nobody has acted
    second = await world.submitted("a")
    assert (second.status, second.position) == ("pending", 1)
    await world.manage()
    assert await world.status(first) == "queuing"
    assert await world.status(second.session) == "pending"


async def test_a_higher_rank_goes_first(world: World) -> None:
    low = await world.submit("a", rank=0)
    high = await world.submit("a", rank=5)
    lowest = await world.submitted("a", rank=-1)
    assert lowest.position == 2
    await world.attend("a", 1)
    await world.manage()
    assert [await world.status(s) for s in (high, low)] == ["queuing", "pending"]


async def test_a_higher_rank_need_not_wait_behind_a_lower_one(world: World) -> None:
    await world.submit("a", rank=0)
    await world.attend("a", 1)
    # the wake-up of the first has not been acted on, the second comes before it anyway
    assert (await world.submitted("a", rank=1)).status == "queuing"


async def test_nobody_waits_behind_an_engine_at_zero(world: World) -> None:
    await world.attend("a", 1)
    await world.submit(["a", "zero"])
    assert (await world.submitted("a")).status == "queuing"


async def test_behind_one_who_cannot_be_placed_a_wake_up_is_written(world: World) -> None:
    await world.attend("a", 1)
    await world.submit(["a", "a"])  # needs two, there is one
    await world.woken()
    small = await world.submitted("a")
    assert small.status == "pending", "it lines up"
    assert await world.woken() == ["a"], "and somebody is told to look"
    assert await world.store.match("a") == 1
    assert await world.status(small.session) == "queuing"


async def test_a_repeated_submit_is_the_same_session(world: World) -> None:
    await world.attend()
    new = a_session()
    first, again = [await world.store.submit(new, specs_version=-1, gateway="") for _ in "12"]
    assert (first.word, again.word) == ("created", "exists")
    assert again.session == first.session
    assert await world.store.counts(["queuing"]) == {"queuing": 1}


async def test_one_idempotency_key_is_one_session(world: World) -> None:
    same: dict[str, Any] = {"idempotency_key": "key", "body_hash": "h1"}
    first, again = await world.submitted(**same), await world.submitted(**same)
    assert (again.word, again.session) == ("exists", first.session)
    other = await world.submitted(idempotency_key="key", body_hash="h2")
    assert (other.word, other.session) == ("conflict", "")
    assert 86000 < await world.link.send("TTL", names.idempotency("key")) <= 86400


async def test_the_key_of_a_forgotten_session_starts_a_new_one(world: World) -> None:
    same: dict[str, Any] = {"idempotency_key": "key", "body_hash": "h1"}
    first = await world.submit(**same)
    await world.store.stop(first, "x")
    assert await world.store.forget(first)
    again = await world.submitted(**same)
    assert again.word == "created"
    assert again.session != first


async def test_a_spec_that_changed_since_the_check_is_told(world: World) -> None:
    version = await world.store.specs_version()
    await world.attend()
    stale = await world.submitted(specs_version=version)
    assert (stale.word, stale.session) == ("specs", "")
    assert not (await world.view()).sessions
    version = await world.store.specs_version()
    assert (await world.submitted(specs_version=version)).word == "created"


async def test_stored_start_data_is_a_result_from_the_beginning(world: World) -> None:
    session = await world.submit(
        stored_start_data=[("Out", a_result(b"1")), ("Out", a_result(b"2"))]
    )
    assert await world.results(session) == [b"1", b"2"]


async def test_a_graph_larger_than_a_lua_stack(world: World) -> None:
    await world.attend("a", 40)
    names_ = [f"c{number}" for number in range(250)]
    plan = a_plan(["a"] * 40)
    channels = plan.channels | {name: Channel(type="JSON", stored=True) for name in names_}
    plan = msgspec.structs.replace(plan, channels=channels)
    new = a_session(plan=plan, max_attempts=2)
    await world.store.submit(new, specs_version=-1, gateway="")
    assert await world.crash(await world.part(new.session)) == "pending"
    await world.store.stop(new.session, "enough")
    assert await world.status(new.session) == "canceled"


@pytest.mark.parametrize("rank", [100_000, -100_000])
async def test_arrival_counts_at_extreme_ranks(world: World, rank: int) -> None:
    ids = [a_session_id(rank=rank) for _ in range(5)]
    for sid in ids:
        await world.submit("a", session=sid, rank=rank)
    assert [
        s for s, _ in sorted((await world.view()).waiting["a"].items(), key=lambda p: p[1])
    ] == ids
