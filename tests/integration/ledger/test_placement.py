"""Which instance a session is given: spread or packed, and near its other engines."""

import pytest

from apps.sessions.checkup import Checkup
from apps.sessions.store import PACK, SPREAD, PlacementRule
from blueengine.wire import names
from tests.integration.ledger.world import LONG, World
from tests.kit.builders import a_plan

SPREADING = PlacementRule(SPREAD)
PACKING = PlacementRule(PACK)
ON_ONE_HOST = PlacementRule(SPREAD, "host")
IN_ONE_ZONE = PlacementRule(PACK, "zone")


async def picked(world: World, session: str) -> list[str]:
    return [part.instance for part in (await world.record(session)).parts]


async def used(world: World, engine: str) -> dict[str, int]:
    view = await world.view()
    return {i: len(view.held.get(i, ())) for i in sorted(view.free[engine])}


async def test_sessions_are_spread_over_the_instances(world: World) -> None:
    for _ in range(3):
        await world.attend("a", 2)
    for _ in range(3):
        await world.submit("a")
    assert list((await used(world, "a")).values()) == [1, 1, 1]


async def test_packed_sessions_fill_one_instance_before_they_take_another(world: World) -> None:
    for _ in range(3):
        await world.attend("a", 2)
    for _ in range(3):
        await world.submit("a", placement=PACKING)
    assert sorted((await used(world, "a")).values()) == [0, 1, 2], "one is idle and can go"


async def test_a_full_instance_is_never_packed(world: World) -> None:
    await world.attend("a", 1)
    await world.attend("a", 1)
    for _ in range(3):
        await world.submit("a", placement=PACKING)
    assert list((await used(world, "a")).values()) == [1, 1]
    assert (await world.view()).waiting["a"].keys() == {
        s.sid for s in (await world.view()).sessions.values() if s.status == "pending"
    }


@pytest.mark.parametrize("kind", ["host", "zone"])
async def test_engines_of_a_session_are_picked_at_one_place(world: World, kind: str) -> None:
    for place in ("x", "y", "z"):
        await world.attend("b", 4, name=f"b-{place}", **{kind: place})
    await world.attend("a", 9, name="a-y", **{kind: "y"})
    await world.attend("c", 1, name="c-x", **{kind: "x"})
    await world.attend("c", 1, name="c-y", **{kind: "y"})
    near = PlacementRule(SPREAD, kind)
    session = await world.submit(["b", "a", "c"], placement=near)
    assert await picked(world, session) == ["b-y", "a-y", "c-y"]
    elsewhere = await world.submit(["b", "a", "c"], placement=near)
    assert await picked(world, elsewhere) == ["b-y", "a-y", "c-x"], "no slot there: as usual"


async def test_near_is_a_wish_and_never_makes_a_session_wait(world: World) -> None:
    await world.attend("a", 1, name="a-x", host="x")
    await world.attend("b", 1, name="b-y", host="y")
    assert await world.status(await world.submit(["a", "b"], placement=ON_ONE_HOST)) == "queuing"


async def test_instances_that_do_not_say_where_they_are_take_sessions_as_usual(
    world: World,
) -> None:
    await world.attend("a", 1)
    await world.attend("b", 2)
    session = await world.submit(["a", "b"], placement=IN_ONE_ZONE)
    assert await world.status(session) == "queuing"


async def test_a_session_that_waited_is_placed_by_its_rule(world: World) -> None:
    session = await world.submit(["a", "b"], placement=ON_ONE_HOST)
    await world.attend("a", 1, name="a-y", host="y")
    await world.attend("b", 3, name="b-x", host="x")
    await world.attend("b", 3, name="b-y", host="y")
    await world.manage()
    assert await picked(world, session) == ["a-y", "b-y"]
    assert (await world.record(session)).placement == ON_ONE_HOST


async def test_who_refused_is_passed_over_at_the_place_too(world: World) -> None:
    await world.attend("a", 2, name="a-x", host="x")
    for name in ("b-x1", "b-x2"):
        await world.attend("b", 1, name=name, host="x")
    await world.attend("b", 1, name="b-y", host="y")
    session = await world.submit(["a", "b"], placement=ON_ONE_HOST)
    refuser = await world.part(session, "n2")
    assert await world.refuse(refuser) == "again"
    others = {"b-x1", "b-x2"} - {refuser.instance}
    assert {(await world.part(session, "n2")).instance} == others


async def test_a_slot_given_back_is_offered_at_its_place_again(world: World) -> None:
    await world.attend("a", 5, name="a-x", host="x", zone="eu")
    await world.attend("b", 1, name="b-x", host="x", zone="eu")
    await world.attend("b", 9, name="b-y", host="y", zone="us")
    for _ in range(2):
        session = await world.submit(["a", "b"], placement=ON_ONE_HOST)
        assert await picked(world, session) == ["a-x", "b-x"]
        for part in await world.run(session):
            await world.finish(part)
        assert (await world.view()).faults() == []


async def test_slots_an_older_version_took_without_noting_the_place_are_seen(world: World) -> None:
    await world.attend("a", 5, name="a-x", host="x")
    await world.attend("b", 1, name="b-x", host="x")
    await world.attend("b", 9, name="b-y", host="y")
    await world.link.send("ZADD", names.free_at("b", "host/x"), 7, "b-x", 3, "b-gone")
    await world.submit("b", placement=PlacementRule(PACK))  # b-x is full now
    await world.link.send("ZADD", names.free_at("b", "host/x"), 1, "b-x")
    session = await world.submit(["a", "b"], placement=ON_ONE_HOST)
    assert await picked(world, session) == ["a-x", "b-y"]
    assert (await world.view()).faults() == [], "what was wrong is right now"


async def test_the_checkup_mends_what_is_on_offer_at_a_place(world: World) -> None:
    await world.attend("b", 1, name="b-x", host="x")
    await world.link.send("DEL", names.free_at("b", "host/x"))
    await world.link.send("ZADD", names.free_at("b", "zone/nowhere"), 1, "b-x")
    found = [one.code async for one in Checkup(world.link, heartbeat_timeout=LONG).run()]
    assert found == ["place", "left-over"]
    _ = [one async for one in Checkup(world.link, fix=True, heartbeat_timeout=LONG).run()]
    assert (await world.view()).faults() == []


async def test_what_is_foreseen_is_what_comes_and_takes_nothing(world: World) -> None:
    for place in ("x", "y"):
        await world.attend("a", 2, name=f"a-{place}", host=place, zone="eu")
        await world.attend("b", 2, name=f"b-{place}", host=place, zone="eu")
    for rule in (SPREADING, PACKING, ON_ONE_HOST, IN_ONE_ZONE):
        plan = a_plan(["a", "b"])
        before = await world.view()
        seen = await world.store.foresee(plan, rank=0, tenant="", placement=rule)
        assert await world.view() == before
        assert [pick.zone for pick in seen] == ["eu", "eu"]
        if rule.near:
            assert seen[0].host == seen[1].host
        session = await world.submit(["a", "b"], placement=rule)
        assert await picked(world, session) == [pick.instance for pick in seen]
        for part in await world.run(session):
            await world.finish(part)


async def test_nothing_is_foreseen_for_one_that_would_wait(world: World) -> None:
    await world.attend("a", 1)
    plan = a_plan(["a", "b"])
    assert await world.store.foresee(plan, rank=0, tenant="", placement=SPREADING) == []
    await world.attend("b", 1)
    assert len(await world.store.foresee(plan, rank=0, tenant="", placement=PACKING)) == 2
    await world.submit(["a", "a"])  # it comes first, though there is no room for it
    assert await world.store.foresee(plan, rank=0, tenant="", placement=SPREADING) == []
    assert len(await world.store.foresee(plan, rank=1, tenant="", placement=SPREADING)) == 2
