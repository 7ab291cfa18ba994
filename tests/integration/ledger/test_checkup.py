"""The checkup finds what was damaged, mends it, and finds nothing where nothing is wrong."""

import random
from collections.abc import Callable
from typing import Any, Final

import pytest

from apps.sessions.checkup import Checkup, Finding
from blueengine.wire import names
from tests.integration.ledger.walk import WIDEST, Walk
from tests.integration.ledger.world import LONG, World
from tests.kit.ledger_view import LedgerView


async def found(world: World, *, fix: bool = False) -> list[Finding]:
    return [one async for one in Checkup(world.link, fix=fix, heartbeat_timeout=LONG).run()]


class Town:
    """A ledger with sessions in every kind of state."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def build(self) -> None:
        world = self.world
        self.a, self.b = await world.attend("a", 2), await world.attend("b", 1)
        self.other = await world.attend("b", 1)
        self.ended = await world.submit("a")
        await world.finish((await world.run(self.ended))[0])
        self.running = await world.submit(["a", "b"], time_limit=LONG)
        self.parts = await world.run(self.running)
        self.stopping = await world.submit("a")
        await world.run(self.stopping)
        await world.store.stop(self.stopping, "enough")
        self.again = await world.submit("b", max_attempts=3)
        [part] = await world.run(self.again)
        await world.crash(part)
        self.starting = (await world.status(self.again)) == "queuing"
        self.waiting = await world.submit(["a", "b"])
        self.never = await world.submit("nobody")


@pytest.fixture
async def town(world: World) -> Town:
    town = Town(world)
    await town.build()
    return town


async def test_nothing_is_found_where_all_is_well(world: World, town: Town) -> None:
    before = await world.view()
    assert await found(world) == []
    assert await found(world, fix=True) == []
    assert await world.view() == before


Damage = Callable[[Town], list[tuple[Any, ...]]]

DAMAGES: Final[dict[str, tuple[str, Damage]]] = {
    "a slot of a session that is gone": (
        "slot",
        lambda t: [("SADD", names.held(t.a), "session-gone 1 n1")],
    ),
    "a slot of a part that has ended": (
        "slot",
        lambda t: [("SADD", names.held(t.a), f"{t.ended} 1 n1")],
    ),
    "a slot that was lost": (
        "part-without-slot",
        lambda t: [("SREM", names.held(t.a), f"{t.running} 1 n1")],
    ),
    "a slot too many on offer": ("free-slots", lambda t: [("ZINCRBY", names.free("a"), 1, t.a)]),
    "an instance that offers nothing": ("free-slots", lambda t: [("ZREM", names.free("a"), t.a)]),
    "an instance nobody watches": ("heartbeat", lambda t: [("ZREM", names.DEADLINES, t.a)]),
    "an instance in no attendance": (
        "attendance",
        lambda t: [("SREM", names.instances("a"), t.a)],
    ),
    "an instance that is not there": (
        "left-over",
        lambda t: [
            ("ZADD", names.free("a"), 3, "ghost"),
            ("SADD", names.instances("a"), "ghost"),
            ("ZADD", names.DEADLINES, 1, "ghost"),
        ],
    ),
    "a session nobody will find": ("queue", lambda t: [("ZREM", names.waiting("nobody"), t.never)]),
    "a session in a foreign queue": (
        "left-over",
        lambda t: [("ZADD", names.waiting("a"), 1, t.never)],
    ),
    "a pending key that misses one": (
        "pending-key",
        lambda t: [("ZREM", names.pending_list("a"), t.waiting)],
    ),
    "a pending key with one too many": (
        "pending-key",
        lambda t: [("ZADD", names.pending_list("a"), 1, t.ended)],
    ),
    "a demand key that misses one": (
        "demand-key",
        lambda t: [("SREM", names.demand("a"), t.running)],
    ),
    "a demand key with one too many": (
        "demand-key",
        lambda t: [("SADD", names.demand("a"), t.ended)],
    ),
    "demand of a session that is gone": (
        "left-over",
        lambda t: [("SADD", names.demand("a"), "session-gone#n1@2")],
    ),
    "a status index that lies": (
        "status-index",
        lambda t: [
            ("ZADD", names.status("pending"), 1, t.ended),
            ("ZREM", names.status("processing"), t.running),
        ],
    ),
    "a list of sessions that misses one": (
        "session-index",
        lambda t: [("ZREM", names.SESSIONS, t.running)],
    ),
    "an ended session that is kept for ever": (
        "expiry",
        lambda t: [("ZREM", names.EXPIRY, t.ended)],
    ),
    "a running session that would be deleted": (
        "expiry",
        lambda t: [("ZADD", names.EXPIRY, 1, t.running)],
    ),
    "a time limit nobody watches": (
        "limit-timer",
        lambda t: [("ZREM", names.TIMERS, f"limit {t.running}")],
    ),
    "a stop nobody watches": (
        "stop-timer",
        lambda t: [("ZREM", names.TIMERS, f"stop {t.stopping} 1 n1 {t.a}")],
    ),
    "timers of nobody": (
        "left-over",
        lambda t: [("ZADD", names.TIMERS, 9e15, "limit gone", 9e15, f"stop {t.ended} 1 n1 {t.a}")],
    ),
    "a wrong count of slots": (
        "slot-count",
        lambda t: [("HSET", names.session(t.running), "slots", 7)],
    ),
    "a wrong count of parts": (
        "parts-left",
        lambda t: [("HSET", names.session(t.running), "left", 7)],
    ),
    "an elder that is gone": ("left-over", lambda t: [("SET", "be:elder", "session-gone")]),
    "keys of an instance that is gone": (
        "orphan",
        lambda t: [
            ("XADD", names.inbox("ghost"), "*", "h", "x"),
            ("XADD", names.commands("ghost"), "*", "t", "x"),
            ("SADD", names.held("ghost"), "session-gone 1 n1"),
        ],
    ),
    "keys of a session that is gone": (
        "orphan",
        lambda t: [
            ("RPUSH", names.results("session-gone", "Out"), "x"),
            ("XADD", names.events("session-gone"), "*", "k", "session"),
        ],
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_is_found_and_mended(world: World, town: Town, damage: str) -> None:
    code, commands = DAMAGES[damage]
    for command in commands(town):
        await world.link.send(*command)
    seen = await found(world)
    assert code in {one.code for one in seen}, seen
    assert seen == await found(world), "to look changes nothing"
    assert code in {one.code for one in await found(world, fix=True)}
    await found(world, fix=True)  # what a mended part brings with it
    assert await found(world) == []
    view = await world.view()
    assert not view.faults()
    assert not [key for key in view.keys if "gone" in key or "ghost" in key]


async def test_a_young_inbox_is_left_alone(world: World) -> None:
    await world.link.send("XADD", names.inbox("soon"), "*", "h", "x")
    await world.link.send("EXPIRE", names.inbox("soon"), 100)
    assert await found(world) == []


async def test_a_session_that_lost_its_slot_begins_again_or_fails(world: World) -> None:
    name = await world.attend("a", 2)
    once, thrice = await world.submit("a"), await world.submit("a", max_attempts=3)
    for session in (once, thrice):
        await world.run(session)
        await world.link.send("SREM", names.held(name), f"{session} 1 n1")
    await found(world, fix=True)
    record = await world.record(once)
    assert record.fault
    assert (record.status, record.fault.code) == ("failed", "lost")
    assert (await world.record(thrice)).attempt == 2
    assert await world.free("a") == 1
    assert not (await world.view()).faults()


@pytest.mark.parametrize("seed", range(3))
async def test_it_agrees_with_the_oracle_wherever_a_walk_leads(world: World, seed: int) -> None:
    rng = random.Random(seed)
    walk = Walk(world.link)
    for _ in range(3):
        steps = [tuple(rng.randrange(WIDEST) for _ in range(5)) for _ in range(60)]
        for step in steps:
            await walk.step(step)  # type: ignore[arg-type]
        assert await found(world) == [], walk.told[-5:]
    for _ in range(12):
        await _damage(world, rng)
    for _ in range(4):  # what was mended may show what it hid
        await found(world, fix=True)
    assert await found(world) == []
    assert not (await LedgerView.take(world.link)).faults()


async def _damage(world: World, rng: random.Random) -> None:
    """Take one member out of one index, or put a session where it does not belong."""
    keys = sorted(key.decode() for key in await world.link.send("KEYS", "*"))
    indexes = [k for k in keys if k.endswith((":free", ":waiting", "__")) or ":status:" in k]
    indexes += [k for k in keys if k in {names.EXPIRY, names.TIMERS, names.DEADLINES}]
    if not indexes:
        return
    key = rng.choice(indexes)
    is_set = key.startswith("__engine_demand")
    members = sorted(
        await world.link.send("SMEMBERS" if is_set else "ZRANGE", key, *([] if is_set else [0, -1]))
    )
    if rng.random() < 0.7 and members:
        await world.link.send("SREM" if is_set else "ZREM", key, rng.choice(members))
    else:
        words = (key, "nothing") if is_set else (key, 5, "nothing")
        await world.link.send("SADD" if is_set else "ZADD", *words)
