"""A walk: random steps on a real ledger and on the model beside it, compared after every step.

A step is a few small numbers, read against what there is at that moment (``b=7`` may mean "the
seventh instance, modulo"). So any sequence of steps is a valid walk, and a failing one can be cut
down.
"""

import itertools
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeVar

from apps.sessions.store import PlacementRule, SessionStore
from blueengine.kit.redis_link import Link
from blueengine.ledger.instance import InstanceLedger
from blueengine.wire import codec, names
from blueengine.wire.report import Fault, Outcome, Tally
from tests.integration.ledger.model import ENDED, PATIENCE, Model, SlotKey
from tests.kit.builders import a_result, a_session, an_engine_spec
from tests.kit.ledger_view import LedgerView

Step = tuple[int, int, int, int, int]
WIDEST: Final = 1000
"""Each number of a step is below this."""

LONG: Final = 1000.0
REFUSALS: Final = 3
ENGINES: Final = ("ea", "eb", "ec", "ed")
SESSIONS: Final = 14
INSTANCES: Final = 7
REMEMBERED: Final = 40
T = TypeVar("T")

LEFT_OVER: Final = {names.ORDER, names.SPECS, names.ENGINES, names.WAKE, "be:watch"}


class MismatchError(AssertionError):
    """The ledger and the model differ, or the ledger contradicts itself."""


class Walk:
    """One walk, from an empty Redis."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.store = SessionStore(link)
        self.model = Model()
        self.view = LedgerView()
        self.parts: list[tuple[str, SlotKey]] = []
        """(instance, part) of every Start seen, the last ones."""
        self.lost: set[str] = set()
        """Engines whose wake-up was taken by somebody who then died."""
        self.made = 0
        self.told: list[str] = []
        self.counts: dict[str, int] = {}
        self.said = itertools.count()
        """Status messages so far: each is a new one."""

    async def run(self, steps: Iterable[Step], *, to_the_end: bool = True) -> None:
        """Take the steps; then let everything end and be forgotten."""
        await self.link.send("FLUSHALL")
        for step in steps:
            await self.step(step)
        if to_the_end:
            await self.finish_all()
            await self.clear_away()

    # -- steps ------------------------------------------------------------------------------------

    async def step(self, step: Step) -> None:
        kind, a, b, c, d = step
        name, action = STEPS[kind % len(STEPS)]
        self.counts[name] = self.counts.get(name, 0) + 1
        await action(self, a, b, c, d)
        await self.check()

    def say(self, text: str) -> None:
        self.told.append(text)

    def same(self, what: str, got: object, expected: object) -> None:
        if got != expected:
            raise MismatchError(f"{what}: the ledger has {got!r}, the model {expected!r}")

    async def submit(self, a: int, b: int, c: int, d: int) -> None:
        if len(self.model.sessions) >= SESSIONS:
            await self.forget(a, b, c, d)
            return
        self.made += 1
        sid = f"s{self.made}"
        count = (1, 1, 1, 2, 2, 3, 4)[a % 7]
        nodes = {f"n{i}": ENGINES[(b // 4**i + c * i) % 4] for i in range(count)}
        rank, most = (0, 0, 0, 1, -1)[c % 5], 1 + d % 3
        items = [codec.encode(a_result(b"start %d" % i)) for i in range(d % 2)]
        rule = PlacementRule(("spread", "pack")[b % 2], ("", "", "host", "zone")[d // 2 % 4])
        self.say(f"submit {sid} {nodes} rank {rank}, {most} attempts, {rule}")
        new = a_session(
            nodes,
            session=sid,
            rank=rank,
            max_attempts=most,
            time_limit=LONG if d % 4 == 0 else 0.0,
            stored_start_data=[("Out", codec.decode(type(a_result()), raw)) for raw in items],
            start_timeout=LONG,
            stop_grace=LONG,
            placement=rule,
        )
        foreseen = await self.store.foresee(new.plan, rank=rank, tenant="", placement=rule)
        await self.check()  # nothing was taken
        reply = await self.store.submit(new, specs_version=-1, gateway="")
        expected = self.model.submit(
            sid,
            nodes,
            rank=rank,
            most=most,
            start_items=items,
            pack=rule.policy == "pack",
            near=rule.near,
        )
        picks = self.model.sessions[sid].picks
        self.same("foreseen", {pick.node: pick.instance for pick in foreseen}, picks)
        self.same("status after submit", reply.status, expected)
        again = await self.store.submit(new, specs_version=-1, gateway="")
        self.same("second submit", (again.word, again.status), ("exists", expected))

    async def stop(self, a: int, b: int, c: int, d: int) -> None:
        if sid := self.choose(a, sorted(self.model.sessions)):
            self.say(f"stop {sid}")
            self.same("stop", await self.store.stop(sid, "asked"), self.model.stop(sid))

    async def forget(self, a: int, b: int, c: int, d: int) -> None:
        ended = sorted(s.sid for s in self.model.sessions.values() if s.ended)
        if sid := self.choose(a, ended or sorted(self.model.sessions)):
            self.say(f"forget {sid}")
            self.same("forget", await self.store.forget(sid), self.model.forget(sid))

    async def attend(self, a: int, b: int, c: int, d: int) -> None:
        known = sorted(self.model.instances)
        if len(known) >= INSTANCES or (known and a % 8 == 0):
            name = known[b % len(known)]  # it says so again
            engine = self.model.instances[name].engine
        else:
            # some ids come back: an instance that was given up and goes on
            engine = ENGINES[c % 4]
            name = f"{engine}-{d % 5}"
        await self._attend(name, engine, eager=d % 2 == 0)

    async def _attend(self, name: str, engine: str, *, eager: bool) -> None:
        # one engine has one concurrency, as it has one spec
        concurrency = 1 + ENGINES.index(engine) % 3
        self.say(f"attend {name}, {concurrency} slots{', eager' if eager else ''}")
        spec = an_engine_spec(engine, concurrency=concurrency)
        # where it is follows from its name; some say nothing, as older versions do
        number = int(name[-1])
        at = {"host": f"h{number % 3}", "zone": f"z{number % 2}"} if number else {}
        await self.instance(name).attend(spec, at | ({"eager": "1"} if eager else {}))
        self.model.attend(name, engine, concurrency, eager=eager, **at)

    async def drain(self, a: int, b: int, c: int, d: int) -> None:
        if name := self.choose(a, sorted(self.model.instances)):
            self.say(f"drain {name}")
            if b % 2:
                idle = await self.store.drain_if_idle(name)
                self.same("idle", idle, self.model.drain(name, only_idle=True) == 0)
            else:
                held = await self.instance(name).drain()
                self.same("held", held, self.model.drain(name, only_idle=False))

    async def leave(self, a: int, b: int, c: int, d: int) -> None:
        if name := self.choose(a, sorted(self.model.instances)):
            self.say(f"leave {name}")
            await self.instance(name).leave("scaled in")
            self.model.bury([name])

    async def die(self, a: int, b: int, c: int, d: int) -> None:
        alive = sorted(self.model.instances)
        dead = alive[a % len(alive) :][: 1 + b % 2] if alive else []
        self.say(f"die {dead}")
        await self.store.reap(heartbeat_timeout=LONG)
        for when, name in enumerate(dead):
            await self.link.send("ZADD", names.DEADLINES, "XX", when, name)
        gone = await self.store.reap(heartbeat_timeout=LONG)
        self.same("given up", gone, dead)
        self.model.bury(dead)

    async def beat(self, a: int, b: int, c: int, d: int) -> None:
        name = f"{ENGINES[a % 4]}-{b % 5}"
        answer = await self.instance(name).beat()
        self.same("beat", answer, b"ok" if name in self.model.instances else b"gone")

    async def ready(self, a: int, b: int, c: int, d: int) -> None:
        if part := self.part(a, b, {"starting"}):
            name, slot = part
            self.say(f"ready {name} {slot}")
            answer = await self.instance(name).ready(slot)
            self.same("ready", answer.decode(), self.model.ready(slot))

    async def refuse(self, a: int, b: int, c: int, d: int) -> None:
        if part := self.part(a, b, {"starting"}):
            name, slot = part
            self.say(f"refuse {name} {slot}")
            fault = Fault(code="refused", message="no")
            answer = await self.instance(name).refuse(slot, fault, limit=REFUSALS)
            expected = self.model.refuse(slot, name, limit=REFUSALS)
            self.same("refuse", answer.decode(), expected)

    async def output(self, a: int, b: int, c: int, d: int) -> None:
        if part := self.part(a, b, {"processing"}):
            name, slot = part
            first, items = self.items(slot, c, d)
            self.say(f"output {name} {slot} {first} {items}")
            answer = await self.instance(name).output(slot, "Out", first, items)
            self.same("output", answer.decode(), self.model.output(slot, first, items))

    async def notice(self, a: int, b: int, c: int, d: int) -> None:
        if part := self.part(a, b, {"processing"}):
            name, slot = part
            answer = await self.instance(name).notice(slot, next(self.said), "progress", b"{}")
            s = self.model.sessions.get(slot[0])
            live = s is not None and not s.ended and s.attempt == slot[1]
            self.same("notice", answer.decode(), "ok" if live else "stale")

    async def close(self, a: int, b: int, c: int, d: int) -> None:
        if part := self.part(a, b, {"processing", "stopping", "ready"}):
            name, slot = part
            s = self.model.sessions.get(slot[0])
            stopping = s and s.parts.get(slot[2]) == "stopping"
            choice = ("finished", "finished", "finished", "failed", "crash", "stopped")[c % 6]
            if stopping and c % 4:
                choice = "stopped"
            again, outcome = choice == "crash", "failed" if choice == "crash" else choice
            results = self.items(slot, 1, d) if d % 3 == 0 else None
            self.say(f"close {name} {slot} {choice} {results or ''}")
            fault = Fault(code="broken", message="it broke") if outcome == "failed" else None
            answer = await self.instance(name).close(
                slot,
                Outcome(outcome),
                fault,
                Tally(calls=1),
                again=again,
                results=[("Out", *results)] if results else (),
            )
            expected = self.model.close(slot, name, outcome, again=again, results=results)
            self.same("close", answer.decode(), expected)

    async def time_limit(self, a: int, b: int, c: int, d: int) -> None:
        timers = sorted(t for t in self.view.timers if t.startswith("limit"))
        if timer := self.choose(a, timers):
            self.say(f"over its limit: {timer}")
            await self.due(names.TIMERS, timer)
            self.model.limit(timer.split()[1])

    async def start_timeout(self, a: int, b: int, c: int, d: int) -> None:
        queuing = sorted(s.sid for s in self.model.sessions.values() if s.status == "queuing")
        if sid := self.choose(a, queuing):
            self.say(f"not ready in time: {sid}")
            await self.due(names.status("queuing"), sid)
            self.model.not_ready_in_time(sid)

    async def stop_ignored(self, a: int, b: int, c: int, d: int) -> None:
        timers = sorted(t for t in self.view.timers if t.startswith("stop"))
        if timer := self.choose(a, timers):
            self.say(f"ignored: {timer}")
            await self.due(names.TIMERS, timer)
            _, sid, attempt, node, name = timer.split()
            self.model.ignored_stop((sid, int(attempt), node), name)

    async def due(self, index: str, member: str) -> None:
        await self.link.send("ZADD", index, "XX", 0, member)
        acted, _ = await self.store.due()
        self.same("timers acted on", acted, 1)

    async def wake(self, a: int, b: int, c: int, d: int) -> None:
        if self.view.wakes:
            entry, engine = self.view.wakes[a % len(self.view.wakes)]
            if b % 8 == 0:
                self.say(f"lost wake-up of {engine}")
                self.lost.add(engine)
            else:
                await self.match(engine, at_most=(100, 100, 1, 2)[c % 4])
            if b % 8 != 1:  # else it comes a second time
                await self.link.send("XDEL", names.WAKE, entry)

    async def sweep(self, a: int, b: int, c: int, d: int) -> None:
        await self.match(ENGINES[a % 4], at_most=100)

    async def passed_by(self, a: int, b: int, c: int, d: int) -> None:
        """Free slots have passed a waiting session by so often that the next time is too much."""
        pending = sorted(s.sid for s in self.model.sessions.values() if s.status == "pending")
        if (sid := self.choose(a, pending)) and self.model.sessions[sid].missed < PATIENCE - 1:
            self.say(f"passed by: {sid}")
            await self.link.send("HSET", names.session(sid), "missed", PATIENCE - 1)
            self.model.sessions[sid].missed = PATIENCE - 1

    async def match(self, engine: str, *, at_most: int) -> None:
        self.say(f"match {engine}, at most {at_most}")
        placed = await self.store.match(engine, at_most=at_most)
        self.same("placed", placed, self.model.match(engine, at_most))
        self.lost.discard(engine)

    # -- helpers ----------------------------------------------------------------------------------

    def instance(self, name: str) -> InstanceLedger:
        return InstanceLedger(self.link, name, heartbeat_timeout=LONG)

    @staticmethod
    def choose(number: int, among: Sequence[T]) -> T | None:
        return among[number % len(among)] if among else None

    def part(self, a: int, b: int, likely: set[str]) -> tuple[str, SlotKey] | None:
        """Return a part to report on: mostly one whose turn it is, now and then any old one."""
        fitting = [p for p in self.parts if self._part_status(p) in likely]
        return self.choose(b, fitting if fitting and a % 6 else self.parts)

    def _part_status(self, part: tuple[str, SlotKey]) -> str:
        name, (sid, attempt, node) = part
        s = self.model.sessions.get(sid)
        if s is None or s.attempt != attempt or s.picks.get(node) != name:
            return ""
        return s.parts[node]

    def items(self, slot: SlotKey, c: int, d: int) -> tuple[int, list[bytes]]:
        s = self.model.sessions.get(slot[0])
        have = s.sent.get(slot[2], 0) if s else 0
        first = (have, have, have, max(0, have - 1), have + 1, 0)[c % 6]
        stamp = f"{slot[0]} {slot[1]} {slot[2]}"
        return first, [f"{stamp} {first + i}".encode() for i in range(1 + d % 2)]

    # -- comparing --------------------------------------------------------------------------------

    async def check(self) -> None:
        """Compare everything that can be seen; take the commands that were sent."""
        self.view = view = await LedgerView.take(self.link)
        if faults := view.faults():
            raise MismatchError("the ledger contradicts itself:\n  " + "\n  ".join(faults))
        self._compare_sessions(view)
        self._compare_slots(view)
        sent = {
            (fields["t"], name, (fields["s"], int(fields["a"]), fields["n"]))
            for name, entries in view.commands.items()
            for fields in entries
        }
        self.same("commands", sent, {c for c in self.model.sent if c[1] in self.model.instances})
        self.model.sent.clear()
        self.parts = (self.parts + sorted(self.model.placed))[-REMEMBERED:]
        self.model.placed.clear()
        if view.commands:
            await self.link.send("DEL", *(names.commands(name) for name in view.commands))
        awake = {engine for _, engine in view.wakes} | self.lost
        asleep = [e for e in ENGINES if e not in awake and self.model.should_wake(e)]
        if asleep:
            raise MismatchError(f"nobody is told that sessions waiting for {asleep} can be placed")

    def _compare_sessions(self, view: LedgerView) -> None:
        self.same("sessions", view.sessions.keys(), self.model.sessions.keys())
        for sid, s in self.model.sessions.items():
            stored = view.sessions[sid]
            self.same(
                sid,
                (
                    stored.status,
                    stored.attempt,
                    stored.parked,
                    int(stored.fields.get("missed", 0)),
                    stored.order,
                    {node: stored.part(node) for node in s.nodes},
                    {node: stored.instance(node) for node in s.picks},
                    view.results.get((sid, "Out"), []),
                ),
                (
                    s.status,
                    s.attempt,
                    s.parked,
                    s.missed,
                    s.order,
                    s.parts,
                    s.picks,
                    s.results,
                ),
            )
        self.same("elder", view.elder, self.model.elder)
        if view.elder:
            self.counts["steps with an elder"] = self.counts.get("steps with an elder", 0) + 1

    def _compare_slots(self, view: LedgerView) -> None:
        self.same("instances", view.records.keys(), self.model.instances.keys())
        for name, instance in self.model.instances.items():
            held = {(h.session, h.attempt, h.node) for h in view.held.get(name, ())}
            self.same(f"held by {name}", held, instance.held)
            score = view.free.get(instance.engine, {}).get(name)
            self.same(f"free of {name}", score, instance.free if instance.attending else None)
        for engine in ENGINES:
            needing = {
                s.sid
                for s in self.model.sessions.values()
                if s.status == "pending" and engine in s.nodes.values()
            }
            self.same(
                f"pending list of {engine}", view.pending_list.get(engine, {}).keys(), needing
            )

    # -- ends -------------------------------------------------------------------------------------

    async def finish_all(self) -> None:
        """Give every engine enough instances that work: then every session must end."""
        for engine in ENGINES:
            for number in range(4):
                await self._attend(f"{engine}-fresh{number}", engine, eager=number == 0)
                await self.check()
        for engine in self.lost.copy():
            await self.match(engine, at_most=100)
            await self.check()
        for _ in range(20 * SESSIONS):
            if all(s.ended for s in self.model.sessions.values()):
                return
            await self._everybody_works()
        waiting = [s for s in self.model.sessions.values() if not s.ended]
        raise MismatchError(f"these never end: {waiting}")

    async def _everybody_works(self) -> None:
        if self.view.wakes:
            entry, engine = self.view.wakes[0]
            await self.match(engine, at_most=100)
            await self.link.send("XDEL", names.WAKE, entry)
            await self.check()
        live = {(name, slot) for name, i in self.model.instances.items() for slot in i.held}
        for name, slot in sorted(live):
            if slot not in self.model.instances[name].held:
                continue
            status = self._part_status((name, slot))
            if status == "starting":
                await self.instance(name).ready(slot)
                self.model.ready(slot)
            elif status != "ready":
                outcome = "finished" if status == "processing" else "stopped"
                await self.instance(name).close(slot, Outcome(outcome), None, Tally())
                self.model.close(slot, name, outcome, again=False)
            await self.check()

    async def clear_away(self) -> None:
        """End and forget all: only what is known of engines stays."""
        for name in sorted(self.model.instances):
            await self.instance(name).leave("over")
            self.model.bury([name])
        for sid in sorted(self.model.sessions):
            if self.model.sessions[sid].status not in ENDED:
                await self.store.stop(sid, "over")
                self.model.stop(sid)
            self.same("forget", await self.store.forget(sid), self.model.forget(sid))
        await self.check()
        engines = {names.engine(engine) for engine in ENGINES}
        if left := self.view.keys - LEFT_OVER - engines:
            raise MismatchError(f"left over: {sorted(left)}")


Action = Callable[[Walk, int, int, int, int], Awaitable[None]]
_WEIGHTS: Final[dict[Action, int]] = {
    Walk.submit: 10,
    Walk.ready: 10,
    Walk.close: 14,
    Walk.wake: 10,
    Walk.attend: 5,
    Walk.output: 4,
    Walk.refuse: 3,
    Walk.stop: 2,
    Walk.die: 1,
    Walk.leave: 1,
    Walk.drain: 1,
    Walk.beat: 1,
    Walk.notice: 1,
    Walk.forget: 4,
    Walk.time_limit: 1,
    Walk.start_timeout: 1,
    Walk.stop_ignored: 2,
    Walk.sweep: 1,
    Walk.passed_by: 2,
}
STEPS: Final = [
    (action.__name__, action) for action, weight in _WEIGHTS.items() for _ in range(weight)
]
