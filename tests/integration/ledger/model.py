"""The ledger once more, as plain Python: what must be true after each step, written from its
promises and not from its scripts. It knows no Redis, no time and no history; what depends on time
is a method that somebody calls.
"""

from dataclasses import dataclass, field
from typing import Final

PATIENCE: Final = 8
RANK: Final = 2**36

ENDED: Final = {"finished", "failed", "canceled"}
AT_WORK: Final = {"starting", "ready", "processing"}

SlotKey = tuple[str, int, str]
"""(session, attempt, node)."""


@dataclass
class ModelInstance:
    name: str
    engine: str
    concurrency: int
    eager: bool
    host: str = ""
    zone: str = ""
    attending: bool = True
    held: set[SlotKey] = field(default_factory=set)

    @property
    def free(self) -> int:
        return self.concurrency - len(self.held)


@dataclass
class ModelSession:
    sid: str
    order: int
    nodes: dict[str, str]
    most: int
    """Attempts."""
    pack: bool = False
    near: str = ""
    status: str = "pending"
    attempt: int = 1
    refused: int = 0
    refusers: set[str] = field(default_factory=set)
    parts: dict[str, str] = field(default_factory=dict)
    picks: dict[str, str] = field(default_factory=dict)
    parked: str = ""
    missed: int = 0
    results: list[bytes] = field(default_factory=list)
    kept: int = 0
    """So many results are start data."""
    sent: dict[str, int] = field(default_factory=dict)
    """Messages stored by each node in this attempt."""

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    def wants(self) -> dict[str, int]:
        count: dict[str, int] = {}
        for engine in self.nodes.values():
            count[engine] = count.get(engine, 0) + 1
        return count


class Model:
    """Sessions, instances and queues; each method is one step and returns what the ledger answers."""

    def __init__(self) -> None:
        self.sessions: dict[str, ModelSession] = {}
        self.instances: dict[str, ModelInstance] = {}
        self.concurrency: dict[str, int] = {}
        self.elder = ""
        self.arrivals = 0
        self.sent: set[tuple[str, str, SlotKey]] = set()
        """(start | go | stop, instance, part): the commands of this step."""
        self.placed: set[tuple[str, SlotKey]] = set()
        """(instance, part): the slots taken in this step."""

    # -- what can be seen -------------------------------------------------------------------------

    def on_offer(self, engine: str) -> list[ModelInstance]:
        """Instances that may take work, the one to be preferred first."""
        offering = [i for i in self.instances.values() if i.engine == engine and i.attending]
        return sorted(offering, key=lambda i: (i.free, i.name), reverse=True)

    def free(self, engine: str) -> int:
        return sum(i.free for i in self.on_offer(engine))

    def queue(self, engine: str) -> list[ModelSession]:
        """Sessions parked on an engine, in order."""
        parked = [s for s in self.sessions.values() if s.parked == engine]
        return sorted(parked, key=lambda s: s.order)

    def slots(self, sid: str) -> int:
        return sum(1 for i in self.instances.values() for slot in i.held if slot[0] == sid)

    def lacks(self, s: ModelSession) -> tuple[str, bool, dict[str, str]]:
        """(engine that lacks a slot or "", it is only kept for the elder, picks) for a session."""
        taken: dict[str, int] = {}
        picks: dict[str, str] = {}
        place = ""
        turn = list(s.nodes)
        if s.near:  # who has the fewest instances says where
            turn.sort(key=lambda node: len(self.on_offer(s.nodes[node])))
        for node in turn:
            engine = s.nodes[node]
            pick = self._pick_near(s, engine, taken, place) or self._pick(s, engine, taken)
            if pick is None:
                return engine, False, {}
            if s.near and len(picks) == 0:
                place = self.place(self.instances[pick], s.near)
            picks[node] = pick
            taken[pick] = taken.get(pick, 0) + 1
        picks = {node: picks[node] for node in s.nodes}
        elder = self.sessions.get(self.elder)
        if elder and elder is not s and elder.order < s.order:
            for engine in s.nodes.values():
                wanted = elder.wants().get(engine, 0)
                left = self.free(engine) - sum(
                    count for i, count in taken.items() if self.instances[i].engine == engine
                )
                if wanted and left < wanted:
                    return engine, True, {}
        return "", False, picks

    @staticmethod
    def place(instance: ModelInstance, near: str) -> str:
        return instance.host if near == "host" else instance.zone

    def _pick_near(
        self, s: ModelSession, engine: str, taken: dict[str, int], place: str
    ) -> str | None:
        """One that did not refuse, where the first engine of the session is."""
        there = [
            i
            for i in self.on_offer(engine)
            if place and self.place(i, s.near) == place and i.name not in s.refusers
        ]
        return self._by_policy(s, there, taken)

    @staticmethod
    def _by_policy(
        s: ModelSession, among: list[ModelInstance], taken: dict[str, int]
    ) -> str | None:
        left = sorted((i.free - taken.get(i.name, 0), i.name) for i in among)
        some = [name for free, name in left if free > 0]
        return some[0 if s.pack else -1] if some else None

    def _pick(self, s: ModelSession, engine: str, taken: dict[str, int]) -> str | None:
        def left(i: ModelInstance) -> tuple[int, str]:
            return i.free - taken.get(i.name, 0), i.name

        offering = sorted(self.on_offer(engine), key=left, reverse=True)
        others = [i for i in offering if i.name not in s.refusers]
        if pick := self._by_policy(s, others, taken):
            return pick
        if offering and left(offering[0])[0] > 0 and (not others or s.missed >= PATIENCE):
            return offering[0].name
        return None

    def possible(self, s: ModelSession) -> bool:
        return all(
            self.concurrency.get(engine, 0) * len(self.on_offer(engine)) >= wanted
            for engine, wanted in s.wants().items()
        )

    def should_wake(self, engine: str) -> bool:
        """Somebody who waits for the engine could be placed now."""
        return self.free(engine) > 0 and any(not self.lacks(s)[0] for s in self.queue(engine))

    # -- placing ----------------------------------------------------------------------------------

    def _place(self, s: ModelSession, picks: dict[str, str]) -> None:
        s.picks, s.parked, s.missed = picks, "", 0
        for node, name in picks.items():
            self.instances[name].held.add((s.sid, s.attempt, node))
            s.parts[node] = "ready" if self.instances[name].eager else "starting"
            self.placed.add((name, (s.sid, s.attempt, node)))
        # where nobody has to prepare, the client's first reader alone is told
        nobody_prepares = all(part == "ready" for part in s.parts.values())
        for node in list(picks)[:1] if nobody_prepares else picks:
            self.sent.add(("start", picks[node], (s.sid, s.attempt, node)))
        s.status = "queuing"
        self._go(s)
        self._no_elder(s)

    def _go(self, s: ModelSession) -> None:
        if all(part == "ready" for part in s.parts.values()):
            s.status = "processing"
            s.parts = dict.fromkeys(s.parts, "processing")

    def _no_elder(self, s: ModelSession) -> None:
        if self.elder == s.sid:
            self.elder = ""

    def _queue(self, s: ModelSession) -> None:
        """A new or requeued session: placed at once unless somebody before it waits."""
        s.status = "pending"
        for engine in s.nodes.values():
            if any(other.order < s.order for other in self.queue(engine) if other is not s):
                s.parked = engine
                return
        lacking, _, picks = self.lacks(s)
        if lacking:
            s.parked = lacking
        else:
            self._place(s, picks)

    def match(self, engine: str, at_most: int) -> int:
        placed = done = 0
        passed: set[str] = set()
        while done < at_most and self.free(engine) > 0:
            waiting = [s for s in self.queue(engine) if s.sid not in passed]
            if not waiting:
                break
            s = waiting[0]
            before = self._place_first(s, engine)
            placed, done = placed + before, done + before
            lacking, kept, picks = self.lacks(s)
            if lacking and not kept and s.missed < PATIENCE and (len(s.nodes) > 1 or s.refusers):
                s.missed += 1
                if s.missed == PATIENCE:
                    lacking, kept, picks = self.lacks(s)
            if not lacking:
                self._place(s, picks)
                placed, done = placed + 1, done + 1
                continue
            if not kept:
                self._claim_elder(s)
            if lacking == engine:
                passed.add(s.sid)
            else:
                s.parked = lacking
                done += 1
        return placed

    def _place_first(self, s: ModelSession, but: str) -> int:
        """Nobody is overtaken who waits for another engine of this session and could be placed."""
        placed = 0
        for engine in dict.fromkeys(s.nodes.values()):
            if engine == but:
                continue
            for other in [o for o in self.queue(engine) if o.order < s.order][:10]:
                placed += self._place_first(other, engine)
                lacking, _, picks = self.lacks(other)
                if not lacking:
                    self._place(other, picks)
                    placed += 1
        return placed

    def _claim_elder(self, s: ModelSession) -> None:
        elder = self.sessions.get(self.elder)
        before = elder is not None and elder.order <= s.order
        if s.missed >= PATIENCE and len(s.nodes) > 1 and not before and self.possible(s):
            self.elder = s.sid

    def _capacity_lost(self) -> None:
        elder = self.sessions.get(self.elder)
        if elder and not self.possible(elder):
            self.elder = ""

    # -- clients ----------------------------------------------------------------------------------

    def submit(
        self,
        sid: str,
        nodes: dict[str, str],
        *,
        rank: int,
        most: int,
        start_items: list[bytes],
        pack: bool = False,
        near: str = "",
    ) -> str:
        self.arrivals += 1
        s = ModelSession(sid, self.arrivals - rank * RANK, nodes, most, pack, near)
        s.parts = dict.fromkeys(nodes, "pending")
        s.kept = len(start_items)
        s.results = list(start_items)
        self._queue(s)
        self.sessions[sid] = s
        return s.status

    def stop(self, sid: str) -> tuple[str, str]:
        s = self.sessions.get(sid)
        if s is None:
            return "unknown", "unknown"
        if s.ended:
            return "ended", s.status
        if s.status == "processing":
            s.status = "stopping"
            self._tell_to_stop(s)
        elif s.status != "stopping":
            self._tell_to_stop(s)
            self._settle(s, "canceled")
        return s.status, s.status

    def limit(self, sid: str) -> None:
        s = self.sessions[sid]
        if not s.ended and s.status != "stopping":
            self._tell_to_stop(s)
            self._settle(s, "failed")

    def forget(self, sid: str) -> bool:
        s = self.sessions.get(sid)
        if s is None or not s.ended or self.slots(sid):
            return False
        del self.sessions[sid]
        return True

    # -- instances --------------------------------------------------------------------------------

    def attend(
        self,
        name: str,
        engine: str,
        concurrency: int,
        *,
        eager: bool,
        host: str = "",
        zone: str = "",
    ) -> None:
        self.concurrency[engine] = concurrency
        if name not in self.instances:
            self.instances[name] = ModelInstance(name, engine, concurrency, eager, host, zone)

    def drain(self, name: str, *, only_idle: bool) -> int:
        instance = self.instances.get(name)
        if instance is None:
            return -2
        if only_idle and instance.held:
            return -1
        instance.attending = False
        self._capacity_lost()
        return len(instance.held)

    def bury(self, names: list[str]) -> None:
        """Some die at the same moment, or one leaves."""
        dead = [self.instances[name] for name in names if name in self.instances]
        for instance in dead:
            instance.attending = False
        for instance in dead:
            for slot in sorted(instance.held, key=lambda t: (self.sessions[t[0]].order, t[2])):
                sid, attempt, node = slot
                s = self.sessions[sid]
                instance.held.discard(slot)
                if s.attempt == attempt:
                    self._broke(s, node, again=True)
            del self.instances[instance.name]
            self._capacity_lost()

    def ready(self, slot: SlotKey) -> str:
        sid, attempt, node = slot
        s = self.sessions.get(sid)
        if s is None or s.attempt != attempt:
            return "stale"
        if s.parts[node] == "starting":
            s.parts[node] = "ready"
            self._go(s)
            fed = next(iter(s.nodes))
            if s.status == "processing" and fed != node:
                self.sent.add(("go", s.picks[fed], (sid, attempt, fed)))
        return {"ready": "wait", "processing": "go"}.get(s.parts[node], "stale")

    def refuse(self, slot: SlotKey, name: str, *, limit: int) -> str:
        sid, attempt, node = slot
        s = self.sessions.get(sid)
        if s is None:
            return "stale"
        self._give_back(slot, name)
        if s.attempt != attempt or s.parts[node] in ENDED:
            return "stale"
        if s.status == "processing":
            self._broke(s, node, again=False)
            return "failed"
        if s.status != "queuing":
            self._part(s, node, "canceled")
            return "stale"
        s.refused += 1
        if s.refused >= limit:
            self._broke(s, node, again=False)
            return "failed"
        s.refusers.add(name)
        s.parts[node] = "canceled"  # it has no Stop to answer
        self._requeue(s)
        return "again"

    def output(self, slot: SlotKey, first: int, items: list[bytes]) -> str:
        sid, attempt, node = slot
        s = self.sessions.get(sid)
        if s is None or s.ended or s.attempt != attempt:
            return "stale"
        if s.parts[node] not in {"processing", "stopping"}:
            return "stale"
        return self._keep(s, node, first, items)

    def _keep(self, s: ModelSession, node: str, first: int, items: list[bytes]) -> str:
        have = s.sent.get(node, 0)
        if first > have:
            return "gap"
        s.results += items[have - first :]
        s.sent[node] = max(have, first + len(items))
        return "ok"

    def close(
        self,
        slot: SlotKey,
        name: str,
        outcome: str,
        *,
        again: bool,
        results: tuple[int, list[bytes]] | None = None,
    ) -> str:
        sid, attempt, node = slot
        s = self.sessions.get(sid)
        if s is None:
            return "stale"
        self._give_back(slot, name)
        part = s.parts[node]
        if s.attempt != attempt or s.picks.get(node) != name or part in ENDED or part == "pending":
            return s.status
        if results and not s.ended:
            self._keep(s, node, *results)
        asked = part == "stopping"
        in_turn = outcome == "failed" or asked or (outcome == "finished" and part == "processing")
        if not in_turn or outcome == "failed":
            self._broke(s, node, again=again)
        else:
            self._part(s, node, "finished" if outcome == "finished" else "canceled")
        return s.status

    # -- time -------------------------------------------------------------------------------------

    def not_ready_in_time(self, sid: str) -> None:
        s = self.sessions[sid]
        late = next((node for node, part in s.parts.items() if part == "starting"), None)
        late = late or next(iter(s.nodes))
        self._tell_to_stop(s)
        self._broke(s, late, again=True)

    def ignored_stop(self, slot: SlotKey, name: str) -> None:
        sid, attempt, node = slot
        s = self.sessions[sid]
        self._give_back(slot, name)
        if s.attempt == attempt:
            self._part(s, node, "canceled")

    # -- ways out ---------------------------------------------------------------------------------

    def _give_back(self, slot: SlotKey, name: str) -> None:
        if name in self.instances:
            self.instances[name].held.discard(slot)

    def _holds(self, s: ModelSession, node: str) -> bool:
        instance = self.instances.get(s.picks.get(node, ""))
        return instance is not None and (s.sid, s.attempt, node) in instance.held

    def _tell_to_stop(self, s: ModelSession) -> None:
        for node, part in s.parts.items():
            if part in AT_WORK:
                s.parts[node] = "stopping"
                self.sent.add(("stop", s.picks[node], (s.sid, s.attempt, node)))

    def _settle(self, s: ModelSession, status: str) -> None:
        s.status = status
        s.parked = ""
        self._no_elder(s)
        for node, part in s.parts.items():
            if part not in ENDED and not self._holds(s, node):
                s.parts[node] = "canceled"

    def _part(self, s: ModelSession, node: str, status: str) -> None:
        """One part ended in this way; the session with it, when it was the last."""
        if s.parts[node] in ENDED:
            return
        s.parts[node] = status
        if all(part in ENDED for part in s.parts.values()):
            if s.status == "stopping":
                self._settle(s, "canceled")
            elif s.status == "processing" and status != "failed":
                self._settle(s, "finished")

    def _broke(self, s: ModelSession, node: str, *, again: bool) -> None:
        if s.ended or s.status == "stopping":
            self._part(s, node, "failed")
        elif again and s.attempt - s.refused < s.most:
            s.parts[node] = "failed"  # it has no Stop to answer
            self._requeue(s)
        else:
            self._part(s, node, "failed")
            self._tell_to_stop(s)
            self._settle(s, "failed")

    def _requeue(self, s: ModelSession) -> None:
        self._tell_to_stop(s)
        s.attempt += 1
        s.parts = dict.fromkeys(s.nodes, "pending")
        s.picks, s.sent = {}, {}
        del s.results[s.kept :]
        self._queue(s)
