"""match: freed capacity goes to those who wait, in order; nobody starves."""

import random

import pytest

from blueengine.wire import names
from tests.integration.ledger.model import PATIENCE
from tests.integration.ledger.world import World
from tests.kit.builders import an_engine_spec


async def test_in_order_of_rank_then_arrival(world: World) -> None:
    sessions = {rank: await world.submit("a", rank=rank) for rank in (0, 2, 1)}
    late = await world.submit("a", rank=2)
    order = []
    instance = await world.attend("a", 1)
    for _ in range(4):
        await world.manage()
        (slot,) = await world.held(instance)
        order.append(slot.session)
        await world.finish((await world.run(slot.session))[0])
    assert order == [sessions[2], late, sessions[1], sessions[0]]


async def test_no_more_than_asked_for_and_the_rest_is_woken_again(world: World) -> None:
    for _ in range(5):
        await world.submit("a")
    await world.attend("a", 5)
    await world.woken()
    assert await world.store.match("a", at_most=2) == 2
    assert await world.woken() == ["a"]
    assert await world.store.match("a") == 3
    assert await world.woken() == []


async def test_a_repeated_or_pointless_match_does_nothing(world: World) -> None:
    assert await world.store.match("nobody") == 0
    await world.submit("a")
    assert await world.store.match("a") == 0
    await world.attend("a", 1)
    assert [await world.store.match("a") for _ in range(3)] == [1, 0, 0]


async def test_who_lacks_another_engine_moves_to_its_queue(world: World) -> None:
    both = await world.submit(["a", "b"])
    assert (await world.record(both)).parked == "a"
    await world.attend("a")
    alone = await world.submit("a")
    await world.manage()
    assert (await world.record(both)).parked == "b"
    assert await world.status(alone) == "queuing", "who waits for b does not hold up a"


async def test_nobody_overtakes_one_whose_wake_up_is_on_its_way(world: World) -> None:
    """The first waits for b, the second for a; both come free, and a is looked at first."""
    await world.attend("a")
    await world.attend("b")
    one, two = await world.run(await world.submit(["a", "b"]))
    first, second = await world.submit(["b", "a"]), await world.submit(["a", "b"])
    assert [(await world.record(s)).parked for s in (first, second)] == ["b", "b"]
    await world.finish(one)
    await world.store.match("b")
    await world.finish(two)
    await world.woken()
    await world.link.send("ZREM", "be:e:b:waiting", second)
    order = await world.link.send("HGET", f"be:s:{second}", "order")
    await world.link.send("ZADD", "be:e:a:waiting", order, second)
    await world.link.send("HSET", f"be:s:{second}", "parked", "a")
    assert await world.store.match("a") == 1
    assert [await world.status(s) for s in (first, second)] == ["queuing", "pending"]


async def test_who_needs_two_lets_others_pass_at_first(world: World) -> None:
    await world.attend("a", 1)
    two, one = await world.submit(["a", "a"]), await world.submit("a")
    await world.manage()
    assert await world.status(two) == "pending"
    assert await world.status(one) == "queuing"


async def test_no_wake_up_without_both_sides(world: World) -> None:
    await world.attend("a", 1)
    await world.submit("a")
    assert await world.woken() == []
    await world.submit("a")
    assert await world.woken() == []
    await world.submit("b")
    assert await world.woken() == []


async def test_wake_ups_that_nobody_takes_are_bounded(world: World) -> None:
    name = await world.attend("a")
    running = await world.submit("a")
    await world.submit("a")
    [part] = await world.run(running)
    assert await world.link.send("ZADD", names.free("a"), 1, name) == 0
    for _ in range(12_000):
        world.instance(name).attend(an_engine_spec("a"), {})
    assert 10_000 <= await world.link.send("XLEN", names.WAKE) < 11_000
    await world.link.send("ZADD", names.free("a"), 0, name)
    await world.finish(part)


async def test_each_way_of_freeing_a_slot_wakes_those_who_wait(world: World) -> None:
    await world.attend("a", 1)
    running = await world.submit("a")
    queue = [await world.submit("a") for _ in range(5)]
    (part,) = await world.run(running)
    await world.finish(part)
    assert await world.woken() == ["a"]
    assert await world.manage() == 0
    await world.store.match("a")

    (part,) = await world.run(queue[0])
    await world.fail(part)
    assert await world.manage() == 1

    await world.store.stop(queue[1], "x")
    assert await world.ignore_stop(await world.part(queue[1])) == 1
    assert await world.manage() == 1

    assert await world.refuse(await world.part(queue[2]), limit=1) == "failed"
    assert await world.manage() == 1

    await world.attend("a", 1)
    assert await world.manage() == 1
    assert await world.status(queue[4]) == "queuing"


async def test_a_session_of_two_engines_does_not_starve_behind_small_ones(world: World) -> None:
    await world.attend("a", 1)
    await world.attend("b", 1)
    busy = {engine: await world.submit(engine) for engine in "ab"}
    large = await world.submit(["a", "b"])
    rounds = 0
    while await world.status(large) == "pending":
        rounds += 1
        assert rounds < 60, "it starves"
        engine = "ab"[rounds % 2]
        await world.submit(engine)  # somebody always waits, so a free slot never stays free
        if busy[engine]:
            (part,) = await world.run(busy[engine])
            await world.finish(part)
        await world.manage()
        held = (await world.view()).held
        for name in "ab":
            busy[name] = next(
                (s.session for i, slots in held.items() if i.startswith(name) for s in slots), ""
            )
    assert {slot.session for slots in (await world.view()).held.values() for slot in slots} == {
        large
    }
    assert (await world.view()).elder == ""


async def test_a_session_of_two_slots_does_not_starve_behind_small_ones(world: World) -> None:
    instance = await world.attend("a", 2)
    first, second = await world.submit("a"), await world.submit("a")
    running = [first, second]
    large = await world.submit(["a", "a"])
    rounds = 0
    while await world.status(large) == "pending":
        rounds += 1
        assert rounds < 60, "it starves"
        await world.submit("a")
        if running:
            (part,) = await world.run(running.pop(0))
            await world.finish(part)
        await world.manage()
        running = [s.session for s in await world.held(instance)]


@pytest.mark.parametrize("seed", range(6))
async def test_however_much_a_session_needs_it_is_placed_within_a_bound(
    world: World, seed: int
) -> None:
    """In each round one session of every engine ends, in any order, and small ones never stop coming."""
    rng = random.Random(seed)
    engines, slots = "abcd", 1 + seed % 3
    for engine in engines:
        await world.attend(engine, slots)
    needs = [e for e in engines for _ in range(rng.randint(1, slots))]
    rng.shuffle(needs)
    for engine in engines:
        for _ in range(slots + 3):
            await world.submit(engine)
    large = await world.submit(needs)
    rounds = 0
    while await world.status(large) == "pending":
        rounds += 1
        assert rounds <= PATIENCE + slots + 1, "it starves"
        for engine in rng.sample(engines, len(engines)):
            await world.submit(engine)
            held = (await world.view()).held
            running = sorted(
                s.session for i, of in held.items() if i.startswith(engine) for s in of
            )
            if running and large not in running:
                [part] = await world.run(rng.choice(running))
                await world.finish(part)
            await world.manage()
    assert (await world.view()).elder == ""


async def test_nothing_is_kept_for_one_whose_engine_cannot_come(world: World) -> None:
    """The elder waits for b; when b goes away, a must not stand idle."""
    await world.attend("a", 1)
    b = await world.attend("b", 1)
    await world.run(await world.submit("b"))
    large = await world.submit(["a", "b"])
    for _ in range(10):
        # it is passed by again and again: a is free, b is not
        await world.link.send("HSET", f"be:s:{large}", "missed", 7)
        await world.link.send("ZREM", "be:e:b:waiting", large)
        await world.link.send("ZADD", "be:e:a:waiting", 1, large)
        await world.link.send("HSET", f"be:s:{large}", "parked", "a", "order", 1)
        await world.link.send("ZADD", "be:status:pending", 1, large)
        for engine in "ab":
            await world.link.send("ZADD", f"__engine_pending_list_{engine}__", 1, large)
        await world.store.match("a")
    assert (await world.view()).elder == large
    small = await world.submit("a")
    await world.manage()
    assert await world.status(small) == "pending", "a is kept for the elder"
    await world.die(b)
    await world.manage()
    assert (await world.view()).elder == ""
    assert await world.status(small) == "queuing"
    assert await world.status(large) == "pending"


async def test_what_the_elder_does_not_need_is_given_away(world: World) -> None:
    await world.attend("a", 3)
    await world.attend("b", 1)
    await world.run(await world.submit("b"))
    large = await world.submit(["a", "b"])
    await world.link.send("SET", "be:elder", large)
    small = [await world.submit("a") for _ in range(3)]
    assert [await world.status(s) for s in small] == ["queuing", "queuing", "pending"]
    await world.store.stop(large, "x")
    await world.manage()
    assert await world.status(small[2]) == "queuing"
