"""stop, due, forget, watch: how sessions end when nobody finishes them, and who is told."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from apps.sessions.store import told_results
from blueengine.kit.redis_link import Link, Subscription
from blueengine.wire import codec, names
from blueengine.wire.report import Outcome
from tests.integration.ledger.world import World
from tests.kit.builders import a_result
from tests.kit.wait import until

# -- stop ------------------------------------------------------------------------------------------


async def test_a_pending_session_is_canceled_at_once(world: World) -> None:
    session = await world.submit("a")
    assert await world.store.stop(session, "not needed") == ("canceled", "canceled")
    record = await world.record(session)
    assert record.fault
    assert record.fault.message == "not needed"
    assert await world.store.demand("a") == 0
    assert await world.store.stop(session, "again") == ("ended", "canceled")


async def test_a_queuing_session_is_canceled_and_its_engines_are_told(world: World) -> None:
    instance = await world.attend()
    session = await world.submit()
    assert await world.store.stop(session, "x") == ("canceled", "canceled")
    assert await world.kinds(instance) == ["start", "stop"]
    part = await world.part(session)
    assert await world.free() == 0, "until the engine lets go"
    assert await world.ready(part) == "stale"
    assert await world.close(part, Outcome.STOPPED) == "canceled"
    assert await world.free() == 1


async def test_a_processing_session_stops_when_all_its_engines_have(world: World) -> None:
    for engine in "ab":
        await world.attend(engine)
    session = await world.submit(["a", "b"])
    one, two = await world.run(session)
    assert await world.store.stop(session, "x") == ("stopping", "stopping")
    assert await world.store.stop(session, "x") == ("stopping", "stopping")
    assert await world.close(one, Outcome.STOPPED) == "stopping"
    assert await world.finish(two) == "canceled", "even if one has finished meanwhile"
    assert [row.status for row in (await world.record(session)).parts] == ["canceled", "finished"]


async def test_an_engine_that_ignores_stop_is_taken_as_stopped(world: World) -> None:
    await world.attend()
    (part,) = await world.run(await world.submit())
    await world.store.stop(part.session, "x")
    assert await world.ignore_stop(part) == 1
    assert await world.status(part.session) == "canceled"
    assert await world.free() == 1
    assert await world.close(part, Outcome.STOPPED) == "canceled"
    assert await world.free() == 1


async def test_a_stop_of_nothing(world: World) -> None:
    assert await world.store.stop("unknown", "x") == ("unknown", "unknown")


async def test_an_engine_that_dies_while_stopping_ends_the_session(world: World) -> None:
    instance = await world.attend()
    session = await world.submit(max_attempts=3)
    await world.run(session)
    await world.store.stop(session, "x")
    await world.die(instance)
    assert await world.status(session) == "canceled"


# -- due -------------------------------------------------------------------------------------------


async def test_an_engine_not_ready_in_time_fails_the_session(world: World) -> None:
    for engine in "ab":
        await world.attend(engine)
    session = await world.submit(["a", "b"])
    one, two = await world.parts(session)
    await world.ready(one)
    assert await world.overdue(names.status("queuing"), session) == 1
    record = await world.record(session)
    assert record.status == "failed"
    assert record.fault
    assert (record.fault.code, record.fault.node) == ("start-timeout", "n2")
    assert [await world.kinds(p.instance) for p in (one, two)] == [["start", "stop"]] * 2
    for part in (one, two):
        await world.close(part, Outcome.STOPPED)


async def test_a_start_timeout_of_no_time_at_all(world: World) -> None:
    await world.attend()
    session = await world.submit(start_timeout=0)
    assert (await world.store.due())[0] == 1
    assert await world.status(session) == "failed"


async def test_an_engine_not_ready_in_time_is_tried_again_with_attempts_left(world: World) -> None:
    first, second = [await world.attend("a") for _ in range(2)]
    session = await world.submit("a", max_attempts=2)
    part = await world.part(session)
    await world.overdue(names.status("queuing"), session)
    again = await world.part(session)
    assert {part.instance, again.instance} == {first, second}
    assert await world.ready(part) == "stale"
    assert await world.store.demand("a") == 2, "the late one still holds its slot"
    await world.ignore_stop(part)
    assert await world.store.demand("a") == 1


@pytest.mark.parametrize("running", [False, True])
async def test_a_session_over_its_time_limit_fails(world: World, running: bool) -> None:
    if running:
        await world.attend()
    session = await world.submit(time_limit=1000)
    assert await world.overdue(names.TIMERS, f"limit {session}") == 1
    record = await world.record(session)
    assert record.status == "failed"
    assert record.fault
    assert record.fault.code == "timeout"
    assert (await world.store.due())[0] == 0


async def test_a_session_that_ends_in_time_has_no_timer_left(world: World) -> None:
    await world.attend()
    (part,) = await world.run(await world.submit(time_limit=1000))
    assert (await world.view()).timers
    await world.finish(part)
    assert not (await world.view()).timers


async def test_due_says_when_to_come_again(world: World) -> None:
    assert await world.store.due() == (0, None)
    await world.submit(time_limit=100)
    acted, wait = await world.store.due()
    assert acted == 0
    assert wait == pytest.approx(100, abs=5)
    await world.attend("other")  # its heartbeat is due later
    assert (await world.store.due())[1] == pytest.approx(100, abs=5)


async def test_not_more_timers_than_asked_for(world: World) -> None:
    for _ in range(5):
        await world.submit(time_limit=0.000001)
    assert [(await world.store.due(at_most=2))[0] for _ in range(4)] == [2, 2, 1, 0]


# -- forget ----------------------------------------------------------------------------------------


async def test_nothing_is_left_after_forget(world: World) -> None:
    """Only what is known of engines, and counters."""
    for engine in "ab":
        await world.attend(engine)
    sessions = [
        await world.submit(
            ["a", "b"], time_limit=1000, max_attempts=2, ttl=0,
            stored_start_data=[("Out", a_result())],
        )
        for _ in range(4)
    ]  # fmt: skip
    one, two = await world.run(sessions[0])
    await world.output(one, 0, b"x")
    await world.notice(two, "progress")
    await world.crash(one)
    await world.close(two, Outcome.STOPPED)
    await world.manage()
    for session in sessions[:2]:
        assert await world.status(session) == "queuing"
        for part in await world.run(session):
            await world.finish(part)
        await world.manage()
    await world.store.stop(sessions[3], "x")
    await world.run(sessions[2])
    for instance in list((await world.view()).records):
        await world.instance(instance).leave("over")
    await world.manage()
    await world.store.stop(sessions[2], "x")
    expired = await world.store.expired(now_us=await world.store.now_us())
    assert sorted(expired) == sorted(sessions)
    assert [await world.store.forget(session) for session in sessions] == [True] * 4
    assert [await world.store.forget(session) for session in sessions] == [False] * 4
    left = (await world.view()).keys
    assert left <= {"be:order", "be:specs", "be:engines", "be:e:a", "be:e:b", "be:watch", "be:wake"}


async def test_what_has_not_ended_is_not_forgotten(world: World) -> None:
    session = await world.submit("a")
    assert not await world.store.forget(session)
    assert await world.status(session) == "pending"


async def test_an_ended_session_is_kept_for_its_ttl(world: World) -> None:
    session = await world.submit("a", ttl=100)
    await world.store.stop(session, "x")
    now = await world.store.now_us()
    assert await world.store.expired(now_us=now + 99_000_000) == []
    assert await world.store.expired(now_us=now + 101_000_000) == [session]


# -- watch and poke --------------------------------------------------------------------------------


class Ears:
    """What gateways g1 and g2, and whoever scales, are told."""

    def __init__(self, link: Link) -> None:
        self.heard: list[bytes] = []
        self.holds = False
        channels = [names.poke("g1"), names.poke("g2"), names.SCALE]
        self.link = Link(
            link.address,
            subscription=Subscription(channels, self.heard.append, self.on_connect),
        )

    def on_connect(self) -> None:
        self.holds = True

    async def take(self, world: World) -> list[str]:
        """Everything said until now."""
        mark = b"the end"
        await world.link.send("PUBLISH", names.poke("g1"), mark)
        await until(lambda: mark in self.heard)
        said = [word.decode("latin-1") for word in self.heard if word != mark]
        self.heard.clear()
        return said


@pytest.fixture
async def ears(world: World) -> AsyncIterator[Ears]:
    ears = Ears(world.link)
    await ears.link.open()
    await until(lambda: ears.holds)
    yield ears
    await ears.link.close()


async def test_who_submits_and_waits_is_poked_once_at_the_end(world: World, ears: Ears) -> None:
    await world.attend()
    reply = await world.submitted(gateway="g1")
    (part,) = await world.run(reply.session)
    await world.output(part, 0, b"x")
    assert await ears.take(world) == []
    await world.finish(part)
    await world.finish(part)
    (poke,) = await ears.take(world)
    assert poke.startswith(f"{reply.session} ")


async def test_small_results_that_come_with_the_end_are_told_with_it(
    world: World, ears: Ears
) -> None:
    await world.attend()
    reply = await world.submitted(gateway="g1", stored=["Out", "In"])
    (part,) = await world.run(reply.session)
    items = [codec.encode(a_result(payload)) for payload in (b"first\n", b"", b"\x00 third")]
    await ears.take(world)
    await world.finish(part, results=[("Out", 0, items), ("In", 0, items[:1])])
    (poke,) = await ears.take(world)
    told = told_results(poke.encode("latin-1"))
    _, _, stored = await world.store.outcome(reply.session, ["Out", "In"])
    assert told == stored
    assert [item.payload for item in told["Out"]] == [b"first\n", b"", b"\x00 third"]


async def test_small_results_that_came_before_the_end_are_told_with_it(
    world: World, ears: Ears
) -> None:
    await world.attend("a")
    await world.attend("b")
    reply = await world.submitted(["a", "b"], gateway="g1", stored=["Ch1", "Out"])
    first, last = await world.run(reply.session)
    await world.output(first, 0, b"before", channel="Ch1")
    await ears.take(world)
    item = codec.encode(a_result(b"\n\x00"))
    await world.finish(last, results=[("Out", 0, [item, item])])
    assert await ears.take(world) == []
    await world.finish(first)
    (poke,) = await ears.take(world)
    _, _, stored = await world.store.outcome(reply.session, ["Ch1", "Out"])
    assert told_results(poke.encode("latin-1")) == stored
    assert [len(items) for items in stored.values()] == [1, 2]


@pytest.mark.parametrize("before", [True, False], ids=["before", "with the end"])
@pytest.mark.parametrize(("size", "count"), [(20_000, 1), (1_000, 18), (0, 101)])
async def test_results_are_not_told_when_they_are_large_or_many(
    world: World, ears: Ears, size: int, count: int, *, before: bool
) -> None:
    await world.attend()
    reply = await world.submitted(gateway="g1")
    (part,) = await world.run(reply.session)
    payloads = [b"x" * size] * count
    if before:
        await world.output(part, 0, *payloads)
    await ears.take(world)
    items = [codec.encode(a_result(payload)) for payload in payloads]
    await world.finish(part, results=[] if before else [("Out", 0, items)])
    pokes = await ears.take(world)
    assert (pokes == [reply.session]) is (before or count * size > 16_000), (
        "many that come with it fit"
    )


async def test_results_are_not_told_beside_stored_start_data(world: World, ears: Ears) -> None:
    await world.attend()
    start = [("Out", a_result(b"start"))]
    reply = await world.submitted(gateway="g1", stored_start_data=start)
    (part,) = await world.run(reply.session)
    await ears.take(world)
    await world.finish(part, results=[("Out", 0, [codec.encode(a_result(b"x"))])])
    assert await ears.take(world) == [reply.session]


async def test_who_watches_later_is_poked_at_the_end_each_once(world: World, ears: Ears) -> None:
    session = await world.submit("a", session="s1")
    for gateway in ("g1", "g2", "g1", "g2"):
        assert await world.store.watch(session, gateway) == "pending"
    await ears.take(world)
    await world.store.stop(session, "x")
    assert await ears.take(world) == [session, session]


async def test_who_follows_is_poked_at_everything(world: World, ears: Ears) -> None:
    await world.attend()
    session = await world.submit()
    await world.store.watch(session, "g1", everything=True)
    (part,) = await world.run(session)
    await world.output(part, 0, b"x")
    await world.notice(part, "progress")
    await world.finish(part)
    assert await ears.take(world) == [session] * 4


async def test_watching_tells_how_it_stands(world: World) -> None:
    assert await world.store.watch("unknown", "g1") is None
    session = await world.submit("a")
    await world.store.stop(session, "x")
    assert await world.store.watch(session, "g1") == "canceled", "no poke will come any more"


async def test_whoever_scales_engines_is_told_of_all_a_parked_session_needs(
    world: World, ears: Ears
) -> None:
    await world.attend("a")
    await ears.take(world)
    await world.submit(["a", "b", "c"])
    assert set(await ears.take(world)) == {"a", "b", "c"}
    await world.submit("a")
    assert await ears.take(world) == [], "placed: nothing to scale"


# -- reading ---------------------------------------------------------------------------------------


async def test_history_is_read_on_from_where_one_was(world: World) -> None:
    await world.attend()
    (part,) = await world.run(await world.submit())
    await world.output(part, 0, b"x")
    await world.finish(part)
    entries = await world.store.history(part.session)
    assert [e.fields["st"] for e in entries if e.fields["k"] == "session"] == [
        "pending", "queuing", "processing", "finished",
    ]  # fmt: skip
    for index, entry in enumerate(entries):
        rest = await world.store.history(part.session, after=entry.id)
        assert rest == entries[index + 1 :]


async def test_a_wait_costs_one_round_trip(world: World) -> None:
    await world.attend()
    (part,) = await world.run(await world.submit())
    await world.output(part, 0, b"x")
    status, fault, results = await world.store.outcome(part.session, ["Out", "Other"])
    assert (status, fault) == ("processing", None)
    assert {channel: [r.payload for r in found] for channel, found in results.items()} == {
        "Out": [b"x"], "Other": [],
    }  # fmt: skip
    assert await world.store.outcome("unknown", []) == ("", None, {})


async def test_pages_go_from_new_to_old(world: World) -> None:
    sessions = [await world.submit("a") for _ in range(5)]
    for session in sessions[1:]:
        await world.store.stop(session, "x")
    for status, expected in (("", sessions[::-1]), ("canceled", sessions[:0:-1]), ("pending", sessions[:1])):  # fmt: skip
        found: list[str] = []
        before = 0
        while page := await world.store.page(status=status, before=before, limit=2):
            found += [session for session, _ in page]
            before = page[-1][1]
        assert found == expected


async def test_everything_at_once_from_many_sides(world: World) -> None:
    """Two instances of management, clients and engines do not disturb each other."""
    await world.attend("a", 3)
    sessions = [await world.submit("a") for _ in range(30)]

    async def work() -> None:
        while True:
            held = (await world.view()).held
            slots = [(i, slot) for i, found in held.items() for slot in found]
            if not slots:
                return
            for _, slot in slots:
                part = await world.part(slot.session)
                await world.ready(part)  # stale when the other worker was faster
                await world.finish(part)
            await asyncio.gather(*(world.store.match("a") for _ in range(3)))

    await asyncio.wait_for(asyncio.gather(work(), work()), 30)
    assert await world.store.counts(["finished"]) == {"finished": len(sessions)}
