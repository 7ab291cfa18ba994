"""Tenants: whose sessions are whose, and how many of them may run and wait."""

import itertools
import random

import pytest

from apps.sessions.checkup import Checkup
from blueengine.wire import names
from tests.integration.ledger.world import LONG, World


async def limit(world: World, tenant: str, running: int, pending: int = 0) -> None:
    await world.store.limit_tenant(tenant, max_running=running, max_pending=pending)


async def submit(world: World, tenant: str, engine: str = "echo", **changes: object) -> str:
    return await world.submit(engine, tenant=tenant, **changes)


async def finish(world: World, session: str) -> None:
    for part in await world.run(session):
        await world.finish(part)


async def statuses(world: World, *sessions: str) -> list[str]:
    return [await world.status(session) for session in sessions]


async def test_a_session_over_the_quota_waits_although_slots_are_free(world: World) -> None:
    await world.attend(slots=9)
    await limit(world, "acme", 2)
    sessions = [await submit(world, "acme") for _ in range(3)]
    assert await statuses(world, *sessions) == ["queuing", "queuing", "pending"]
    assert await world.free() == 7
    record = await world.record(sessions[2])
    assert (record.apart, record.parked, record.tenant) == (True, "echo", "acme")
    state = await world.store.tenant("acme")
    assert state
    assert (state.running, state.pending, state.max_running) == (2, 1, 2)


async def test_it_is_in_nobodys_way(world: World) -> None:
    await world.attend(slots=9)
    await limit(world, "acme", 1)
    running, *waiting = [await submit(world, "acme") for _ in range(5)]
    for tenant in ("globex", ""):
        assert await world.status(await submit(world, tenant)) == "queuing"
    assert await statuses(world, running, *waiting) == ["queuing", *["pending"] * 4]


async def test_the_next_one_runs_when_one_ends(world: World) -> None:
    await world.attend(slots=9)
    await limit(world, "acme", 1)
    sessions = [await submit(world, "acme", rank=rank) for rank in (0, 0, 0, 5)]
    order = [sessions[0], sessions[3], sessions[1], sessions[2]]
    for running, following in itertools.pairwise(order):
        assert await world.status(running) == "queuing"
        await finish(world, running)
        assert await world.manage() == 1
        assert await world.status(following) == "queuing"


@pytest.mark.parametrize("way", ["fail", "cancel", "die", "time"])
async def test_however_one_ends_the_next_one_runs(world: World, way: str) -> None:
    instance = await world.attend(slots=2)
    await world.attend(slots=9, name="other")
    await limit(world, "acme", 1)
    first = await submit(world, "acme")
    following = await submit(world, "acme")
    (part,) = await world.parts(first)
    match way:
        case "fail":
            await world.ready(part)
            await world.fail(part)
        case "cancel":
            await world.store.stop(first, "enough")
        case "die":
            await world.die(part.instance)
        case "time":
            await world.overdue(names.status("queuing"), first)
    assert await world.manage() == 1
    assert await world.status(following) == "queuing", instance


async def test_one_that_begins_again_keeps_its_place_in_the_quota(world: World) -> None:
    first, second = await world.attend(), await world.attend()
    await limit(world, "acme", 1)
    session = await submit(world, "acme", max_attempts=2)
    following = await submit(world, "acme")
    (part,) = await world.parts(session)
    await world.die(part.instance)
    assert await statuses(world, session, following) == ["queuing", "pending"], (first, second)


async def test_what_waits_apart_may_be_canceled(world: World) -> None:
    await world.attend(slots=9)
    await limit(world, "acme", 1)
    running, canceled, following = [await submit(world, "acme") for _ in range(3)]
    assert await world.store.stop(canceled, "enough") == ("canceled", "canceled")
    await finish(world, running)
    await world.manage()
    assert await statuses(world, canceled, following) == ["canceled", "queuing"]


async def test_an_engine_at_zero_holds_up_no_other_engine_of_the_tenant(world: World) -> None:
    await world.attend("busy", slots=9)
    await limit(world, "acme", 1)
    running = await submit(world, "acme", "busy")
    asleep = [await submit(world, "acme", "asleep") for _ in range(3)]
    awake = [await submit(world, "acme", "busy") for _ in range(3)]
    for one in [running, *awake]:
        assert await world.status(one) == "queuing"
        await finish(world, one)
        await world.manage()
    await world.attend("asleep", slots=9)
    for one in asleep:
        await world.manage()
        assert await world.status(one) == "queuing"
        await finish(world, one)


async def test_a_quota_may_be_raised_lowered_and_taken_away(world: World) -> None:
    await world.attend(slots=9)
    await limit(world, "acme", 1)
    sessions = [await submit(world, "acme") for _ in range(8)]

    async def running() -> int:
        await world.manage()
        return (await statuses(world, *sessions)).count("queuing")

    await limit(world, "acme", 3)
    assert await running() == 3
    await limit(world, "acme", 1)
    await finish(world, sessions[0])
    assert await running() == 2
    await limit(world, "acme", 0)
    assert await running() == 7


async def test_a_quota_that_comes_late_moves_those_that_wait_in_an_engines_queue(
    world: World,
) -> None:
    mine = [await submit(world, "acme") for _ in range(5)]
    other = await submit(world, "globex")
    await limit(world, "acme", 1)
    await world.attend(slots=9)
    await world.manage()
    assert await statuses(world, *mine, other) == ["queuing", *["pending"] * 4, "queuing"]
    assert [(await world.record(session)).apart for session in mine] == [False, *[True] * 4]


async def test_nothing_is_kept_for_an_elder_that_is_over_its_quota(world: World) -> None:
    """It became the elder, and another session of its tenant was faster at the quota."""
    await world.attend("a", slots=2)
    blocker = await world.submit("b")  # no instance of b yet
    elder = await world.submit(["a", "b"], tenant="acme")
    await world.link.send("SET", names.TEMPLATES["elder"], elder)
    assert await world.status(await world.submit("a", tenant="globex")) == "queuing"
    assert await world.status(await world.submit("a", tenant="globex")) == "pending"  # kept
    await limit(world, "acme", 1)
    faster = await world.submit("c", tenant="acme")
    await world.attend("c")
    await world.manage()
    assert await world.status(faster) == "queuing"
    later = await world.submit("a", tenant="globex")
    await world.store.match("a")
    await world.manage()
    assert "queuing" in await statuses(world, later, blocker) or await world.free("a") == 0


async def test_one_end_moves_one_session_however_many_wait(world: World) -> None:
    """The work of an end is the same with 10 and with 1,000 sessions that wait apart."""

    async def calls() -> int:
        info = (await world.link.send("INFO", "commandstats")).decode()
        return sum(
            int(line.partition("calls=")[2].partition(",")[0])
            for line in info.splitlines()
            if line.startswith("cmdstat_") and "info" not in line
        )

    async def cost(waiting: int, tenant: str) -> int:
        await limit(world, tenant, 1)
        running, *_ = [await submit(world, tenant) for _ in range(waiting + 1)]
        before = await calls()
        await finish(world, running)
        for engine in ("echo", "echo", "echo"):
            await world.store.match(engine)
        return await calls() - before

    await world.attend(slots=99)
    few = await cost(10, "few")
    many = await cost(1000, "many")
    assert many <= few + 5


async def test_a_pending_session_too_many_is_turned_away_and_leaves_nothing(world: World) -> None:
    await world.attend("free", slots=9)
    for _ in range(2):
        await world.submit("asleep")
    before = await world.link.send("DBSIZE")
    limits = [{"max_pending": 2}, {"max_pending_engine": 2}, {"max_pending": 2, "tenant": "acme"}]
    for one in limits:
        done = await world.submitted("asleep", idempotency_key="k", **one)
        assert (done.word, done.limit) == ("full", 2)
    assert done.full == "all"
    assert await world.link.send("DBSIZE") == before
    # one that need not wait is taken, and so is one for another engine when the limit is an engine's
    assert (await world.submitted("free", max_pending=2)).status == "queuing"
    assert (await world.submitted("other", max_pending_engine=2)).word == "created"
    # the same again, once there is room
    assert (await world.submitted("asleep", idempotency_key="k", max_pending=9)).word == "created"


async def test_a_tenant_may_have_so_many_pending(world: World) -> None:
    await limit(world, "acme", 0, 2)
    words = [(await world.submitted("asleep", tenant="acme")).word for _ in range(3)]
    assert words == ["created", "created", "full"]
    assert (await world.submitted("asleep", tenant="globex")).word == "created"


async def test_the_doctor_finds_nothing_wrong_with_sessions_that_wait_apart(world: World) -> None:
    await world.attend(slots=9)
    await limit(world, "acme", 1)
    _, apart = [await submit(world, "acme") for _ in range(2)]
    checkup = Checkup(world.link, fix=True, heartbeat_timeout=LONG)
    assert [finding async for finding in checkup.run()] == []
    await world.link.send("ZREM", names.apart("acme", "echo"), apart)
    assert [finding.code async for finding in checkup.run()] == ["queue"]
    assert [finding async for finding in checkup.run()] == []
    await world.manage()
    assert (await world.record(apart)).apart


async def test_a_session_that_is_forgotten_leaves_nothing_of_its_tenant(world: World) -> None:
    await world.attend()
    session = await submit(world, "acme")
    await finish(world, session)
    assert await world.store.tenant_of(session) == "acme"
    assert await world.store.forget(session)
    assert await world.store.tenant_of(session) is None
    assert await world.link.send("KEYS", "be:t:*") == []


QUOTAS = {"acme": 1, "globex": 3, "": 10**6}


class Walk:
    """Something happens, again and again."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.dice = random.Random(seed)
        self.sessions: dict[str, str] = {}
        self.instances: list[str] = []

    async def at_work(self, tenant: str) -> list[str]:
        working = {"queuing", "processing", "stopping"}
        mine = [session for session, whose in self.sessions.items() if whose == tenant]
        return [session for session in mine if await self.world.status(session) in working]

    async def all_at_work(self) -> list[str]:
        return [session for tenant in QUOTAS for session in await self.at_work(tenant)]

    async def submit(self) -> None:
        tenant = self.dice.choice(list(QUOTAS))
        engines = self.dice.sample("abcd", self.dice.choice([1, 1, 1, 2]))
        rank = self.dice.randrange(2)
        session = await self.world.submit(engines, tenant=tenant, rank=rank, max_attempts=3)
        self.sessions[session] = tenant

    async def end(self) -> None:
        if working := await self.all_at_work():
            await finish(self.world, self.dice.choice(working))

    async def cancel(self) -> None:
        waiting = [s for s in self.sessions if await self.world.status(s) == "pending"]
        if waiting and self.dice.random() < 0.3:
            await self.world.store.stop(self.dice.choice(waiting), "enough")

    async def die(self) -> None:
        if self.dice.random() < 0.3:
            gone = self.instances.pop(self.dice.randrange(len(self.instances)))
            await self.world.die(gone)
            await self.attend(gone[0])

    async def attend(self, engine: str) -> None:
        self.instances.append(await self.world.attend(engine, slots=self.dice.randint(1, 3)))

    async def step(self) -> None:
        steps = [self.submit] * 5 + [self.end] * 3 + [self.cancel, self.die]
        await self.dice.choice(steps)()
        if self.dice.random() < 0.7:
            await self.world.manage()


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_happens_quotas_hold_and_nobody_is_left_behind(
    world: World, seed: int
) -> None:
    """A random walk; then everything that can run does, and all of it ends."""
    for tenant, most in QUOTAS.items():
        if tenant:
            await limit(world, tenant, most)
    walk = Walk(world, seed)
    for engine in "abc":
        await walk.attend(engine)
    for _ in range(80):
        await walk.step()
        for tenant, most in QUOTAS.items():
            assert len(await walk.at_work(tenant)) <= most
        assert not (await world.view()).faults()
    await walk.attend("d")
    await world.manage()
    while working := await walk.all_at_work():
        for session in working:
            await finish(world, session)
            await world.manage()
    left = [session for session in walk.sessions if await world.status(session) == "pending"]
    assert left == []
    assert await world.link.send("KEYS", "be:t:*:apart*") == []
