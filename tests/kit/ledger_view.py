"""Everything the ledger holds at one moment, and whether it fits together.

``LedgerView.take`` reads all of Redis in one atomic step. ``faults`` lists what contradicts what;
an empty list after every step is what the model test, the chaos tests and each script test want.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from blueengine.kit.redis_link import Link
from blueengine.wire.lifecycle import SUB_ENDED, TERMINAL, TRANSITIONS, Status, SubStatus

_DUMP: Final = """
local out = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind = redis.call('TYPE', key).ok
  local value
  if kind == 'hash' then value = redis.call('HGETALL', key)
  elseif kind == 'set' then value = redis.call('SMEMBERS', key)
  elseif kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif kind == 'list' then value = redis.call('LRANGE', key, 0, 4095)  -- of results, enough to compare
  elseif kind == 'stream' then value = redis.call('XRANGE', key, '-', '+')
  else value = redis.call('GET', key) end
  out[#out + 1] = {key, kind, value}
end
return out
"""

_EVENTS: Final = {"session", "part", "results", "notice"}
_RUNNING: Final = {Status.QUEUING, Status.PROCESSING, Status.STOPPING}
_WANTED: Final = {SubStatus.STARTING, SubStatus.READY, SubStatus.PROCESSING}


@dataclass(frozen=True)
class Slot:
    """A member of an instance's held set."""

    session: str
    attempt: int
    node: str

    @classmethod
    def parse(cls, member: str) -> "Slot":
        session, attempt, node = member.split(" ")
        return cls(session, int(attempt), node)

    def __str__(self) -> str:
        return f"{self.session} {self.attempt} {self.node}"


@dataclass
class Stored:
    """One session as it lies in Redis."""

    sid: str
    fields: dict[str, str]
    history: list[dict[str, str]]
    """Events in order, each with the attempt as ``a``."""

    @property
    def status(self) -> str:
        return self.fields["st"]

    @property
    def attempt(self) -> int:
        return int(self.fields["at"])

    @property
    def order(self) -> float:
        return float(self.fields["order"])

    @property
    def parked(self) -> str:
        return self.fields.get("parked", "")

    @property
    def tenant(self) -> str:
        return self.fields.get("tenant", "")

    @property
    def apart(self) -> bool:
        return self.fields.get("apart") == "1"

    @property
    def nodes(self) -> dict[str, str]:
        return dict(pair.split("=") for pair in self.fields["nodes"].split(","))

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL

    def part(self, node: str) -> str:
        return self.fields[f"{node}:st"]

    def instance(self, node: str) -> str:
        return self.fields.get(f"{node}:in", "")

    def statuses(self) -> list[str]:
        """Return the statuses in the order in which its history tells them."""
        return [e["st"] for e in self.history if e["k"] == "session"]

    def demand_member(self, node: str) -> str:
        engine = self.nodes[node]
        first = next(name for name, other in self.nodes.items() if other == engine)
        return self.sid if node == first else f"{self.sid}#{node}"


@dataclass
class LedgerView:
    """The contents of Redis, by kind of key."""

    sessions: dict[str, Stored] = field(default_factory=dict)
    results: dict[tuple[str, str], list[bytes]] = field(default_factory=dict)
    created: dict[str, float] = field(default_factory=dict)
    status: dict[str, dict[str, float]] = field(default_factory=dict)
    timers: dict[str, float] = field(default_factory=dict)
    expiry: dict[str, float] = field(default_factory=dict)
    specs: dict[str, dict[str, str]] = field(default_factory=dict)
    instances: dict[str, set[str]] = field(default_factory=dict)
    free: dict[str, dict[str, float]] = field(default_factory=dict)
    free_at: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)
    """(engine, place) -> the same for the instances there."""
    waiting: dict[str, dict[str, float]] = field(default_factory=dict)
    pending_list: dict[str, dict[str, float]] = field(default_factory=dict)
    demand: dict[str, set[str]] = field(default_factory=dict)
    records: dict[str, dict[str, str]] = field(default_factory=dict)
    held: dict[str, set[Slot]] = field(default_factory=dict)
    commands: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    deadlines: dict[str, float] = field(default_factory=dict)
    limits: dict[str, dict[str, str]] = field(default_factory=dict)
    tenant_sessions: dict[str, dict[str, float]] = field(default_factory=dict)
    tenant_status: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)
    apart: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)
    apart_engines: dict[str, set[str]] = field(default_factory=dict)
    wakes: list[tuple[str, str]] = field(default_factory=list)
    """(entry id, engine)."""
    elder: str = ""
    keys: set[str] = field(default_factory=set)

    @classmethod
    async def take(cls, link: Link) -> "LedgerView":
        """Read everything."""
        view = cls()
        for key, kind, value in await link.send("EVAL", _DUMP, 0):
            view._add(key.decode(), _plain(kind.decode(), value))
        return view

    def _add(self, key: str, value: Any) -> None:  # noqa: C901, PLR0912 - a table
        self.keys.add(key)
        match key.split(":"):
            case ["be", "s", sid]:
                self._session(sid).fields = value
            case ["be", "s", sid, "ev"]:
                self._session(sid).history = list(_events(value))
            case ["be", "s", sid, "r", channel]:
                self.results[sid, channel] = value
            case ["be", "status", status]:
                self.status[status] = value
            case ["be", "e", engine]:
                self.specs[engine] = value
            case ["be", "e", engine, "instances"]:
                self.instances[engine] = value
            case ["be", "e", engine, "free"]:
                self.free[engine] = value
            case ["be", "e", engine, "free", place]:
                self.free_at[engine, place] = value
            case ["be", "e", engine, "waiting"]:
                self.waiting[engine] = value
            case ["be", "t", tenant]:
                self.limits[tenant] = value
            case ["be", "t", tenant, "sessions"]:
                self.tenant_sessions[tenant] = value
            case ["be", "t", tenant, "status", status]:
                self.tenant_status[tenant, status] = value
            case ["be", "t", tenant, "apart", engine]:
                self.apart[tenant, engine] = value
            case ["be", "t", tenant, "apart"]:
                self.apart_engines[tenant] = value
            case ["be", "i", instance]:
                self.records[instance] = value
            case ["be", "i", instance, "held"]:
                self.held[instance] = {Slot.parse(member) for member in value}
            case ["be", "i", instance, "cmd"]:
                self.commands[instance] = [fields for _, fields in value]
            case ["be", "wake"]:
                self.wakes = [(entry, fields["e"]) for entry, fields in value]
            case ["be", "elder"]:
                self.elder = value
            case ["be", "sessions"]:
                self.created = value
            case ["be", ("timers" | "expiry" | "deadlines") as name]:
                setattr(self, name, value)
            case _:
                if key.startswith("__engine_pending_list_"):
                    self.pending_list[key[22:-2]] = value
                elif key.startswith("__engine_demand_"):
                    self.demand[key[16:-2]] = value

    def _session(self, sid: str) -> Stored:
        return self.sessions.setdefault(sid, Stored(sid, {}, []))

    def wanted_demand(self) -> dict[str, set[str]]:
        """Return what the demand sets must hold: one member per slot wanted or held."""
        wanted: dict[str, set[str]] = {}
        for s in self.sessions.values():
            if s.status == Status.PENDING:
                for node, engine in s.nodes.items():
                    wanted.setdefault(engine, set()).add(s.demand_member(node))
        for slots in self.held.values():
            for slot in slots:
                s = self.sessions[slot.session]
                member = s.demand_member(slot.node)
                if slot.attempt != s.attempt:
                    member = f"{s.sid}#{slot.node}@{slot.attempt}"
                wanted.setdefault(s.nodes[slot.node], set()).add(member)
        return wanted

    def faults(self) -> list[str]:
        """Return everything that does not fit together."""
        return [
            *self._held_faults(),
            *self._part_faults(),
            *self._instance_faults(),
            *self._place_faults(),
            *self._demand_faults(),
            *self._index_faults(),
            *self._queue_faults(),
            *self._tenant_faults(),
            *self._timer_faults(),
            *(fault for s in self.sessions.values() for fault in _history_faults(s)),
        ]

    def _held_faults(self) -> Iterator[str]:
        held_by: dict[str, int] = {}
        for instance, slots in self.held.items():
            if instance not in self.records:
                yield f"{instance} is gone and holds {sorted(map(str, slots))}"
            for slot in slots:
                s = self.sessions.get(slot.session)
                if s is None:
                    yield f"{instance} holds {slot} of no session"
                    continue
                held_by[s.sid] = held_by.get(s.sid, 0) + 1
                if slot.attempt > s.attempt:
                    yield f"{instance} holds {slot} of the future"
                if slot.attempt == s.attempt and s.instance(slot.node) != instance:
                    yield f"{instance} holds {slot}, which is {s.instance(slot.node)}'s"
        for s in self.sessions.values():
            if int(s.fields.get("slots", 0)) != held_by.get(s.sid, 0):
                yield f"{s.sid} counts {s.fields.get('slots')} slots, holds {held_by.get(s.sid, 0)}"

    def _part_faults(self) -> Iterator[str]:
        for s in self.sessions.values():
            for node in s.nodes:
                slot = Slot(s.sid, s.attempt, node)
                if s.part(node) in _WANTED and slot not in self.held.get(s.instance(node), set()):
                    yield f"{slot} is {s.part(node)} without a slot"

    def _instance_faults(self) -> Iterator[str]:
        for instance, record in self.records.items():
            engine = record["engine"]
            score = self.free.get(engine, {}).get(instance)
            expected = int(record["concurrency"]) - len(self.held.get(instance, ()))
            if record["state"] == "attending" and score != expected:
                yield f"{instance} has {score} free, expected {expected}"
            if record["state"] != "attending" and score is not None:
                yield f"{instance} is {record['state']} and offers {score}"
            if instance not in self.instances.get(engine, ()):
                yield f"{instance} has a record and is not in attendance"
            if instance not in self.deadlines:
                yield f"{instance} has no deadline"
        known = set(self.records)
        for name, found in (
            ("offers slots", {i for free in self.free.values() for i in free}),
            ("is in attendance", {i for ids in self.instances.values() for i in ids}),
            ("has a deadline", set(self.deadlines)),
            ("has commands", set(self.commands)),
        ):
            for instance in found - known:
                yield f"{instance} {name} without a record"

    def _place_faults(self) -> Iterator[str]:
        expected: dict[tuple[str, str], dict[str, float]] = {}
        for engine, free in self.free.items():
            for instance, slots in free.items():
                for kind in ("host", "zone"):
                    if place := self.records.get(instance, {}).get(kind):
                        expected.setdefault((engine, f"{kind}/{place}"), {})[instance] = slots
        if expected != self.free_at:
            yield f"free slots by place are {self.free_at}, expected {expected}"

    def _demand_faults(self) -> Iterator[str]:
        wanted = self.wanted_demand()
        for engine in wanted.keys() | self.demand.keys():
            if wanted.get(engine, set()) != self.demand.get(engine, set()):
                yield (
                    f"demand of {engine} is {sorted(self.demand.get(engine, ()))}, "
                    f"expected {sorted(wanted.get(engine, ()))}"
                )

    def _index_faults(self) -> Iterator[str]:
        for s in self.sessions.values():
            found = [status for status, members in self.status.items() if s.sid in members]
            if found != [s.status]:
                yield f"{s.sid} is {s.status} and indexed under {found}"
            elif s.status == Status.PENDING and self.status[s.status][s.sid] != s.order:
                yield f"{s.sid} is indexed by another order than its own"
            if s.sid not in self.created:
                yield f"{s.sid} is in no list of sessions"
            if s.terminal != (s.sid in self.expiry):
                yield f"{s.sid} is {s.status}, expiry: {s.sid in self.expiry}"
        for name, members in (
            ("sessions", self.created),
            ("expiry", self.expiry),
            *self.status.items(),
        ):
            for sid in members.keys() - self.sessions.keys():
                yield f"{name} has {sid}, which is no session"

    def _queue_faults(self) -> Iterator[str]:
        for s in self.sessions.values():
            pending = s.status == Status.PENDING
            for engine in {*s.nodes.values(), *self.pending_list}:
                score = self.pending_list.get(engine, {}).get(s.sid)
                expected = s.order if pending and engine in s.nodes.values() else None
                if score != expected:
                    yield f"{s.sid} in the pending list of {engine}: {score}, expected {expected}"
            queues = [(engine, m[s.sid]) for engine, m in self.waiting.items() if s.sid in m]
            apart = [(engine, m[s.sid]) for (_, engine), m in self.apart.items() if s.sid in m]
            place = [(s.parked, s.order)] if pending else []
            if (apart if s.apart else queues) != place or (queues if s.apart else apart):
                yield f"{s.sid} is {s.status}, parked on {s.parked!r}, waits in {queues}, {apart}"
            if not pending and (s.parked or s.apart):
                yield f"{s.sid} is {s.status} and parked on {s.parked}"
        for engine, members in (*self.waiting.items(), *self.pending_list.items()):
            for sid in members.keys() - self.sessions.keys():
                yield f"{engine} has {sid} in a queue, which is no session"
        if self.elder and self.elder not in self.status.get(Status.PENDING, ()):
            yield f"the elder {self.elder} is not pending"

    def _tenant_faults(self) -> Iterator[str]:
        for s in self.sessions.values():
            listed = [
                tenant for tenant, members in self.tenant_sessions.items() if s.sid in members
            ]
            if listed != ([s.tenant] if s.tenant else []):
                yield f"{s.sid} of {s.tenant!r} is listed for {listed}"
            indexed = [key for key, members in self.tenant_status.items() if s.sid in members]
            if indexed != ([(s.tenant, s.status)] if s.tenant else []):
                yield f"{s.sid} of {s.tenant!r} is {s.status} and indexed under {indexed}"
        for name, members in (*self.tenant_sessions.items(), *self.tenant_status.items()):
            for sid in members.keys() - self.sessions.keys():
                yield f"the tenant index {name} has {sid}, which is no session"
        for (tenant, engine), members in self.apart.items():
            if engine not in self.apart_engines.get(tenant, ()):
                yield f"{tenant} has no note of sessions apart for {engine}"
            recalled = [
                sid for sid in self.waiting.get(engine, ()) if self.sessions[sid].tenant == tenant
            ]
            if self.room(tenant) > 0 and not recalled:
                yield f"{tenant} has room, and {sorted(members)} wait apart for {engine}"

    def room(self, tenant: str) -> float:
        """Return how many more sessions of a tenant may run."""
        most = int(self.limits.get(tenant, {}).get("max_running", 0))
        running = [s for s in self.sessions.values() if s.tenant == tenant and s.status in _RUNNING]
        return most - len(running) if most else math.inf

    def _timer_faults(self) -> Iterator[str]:
        stops = set()
        for timer in self.timers:
            kind, sid, *rest = timer.split(" ")
            s = self.sessions.get(sid)
            if s is None:
                yield f"timer {timer!r} of no session"
            elif kind == "limit" and s.terminal:
                yield f"timer {timer!r} of a session that is {s.status}"
            elif kind == "stop":
                attempt, node, instance = rest
                slot = Slot(sid, int(attempt), node)
                stops.add(slot)
                if slot not in self.held.get(instance, ()):
                    yield f"timer {timer!r} of a slot that is not taken"
        for slots in self.held.values():
            for slot in slots:
                s = self.sessions[slot.session]
                asked = slot.attempt != s.attempt or s.part(slot.node) not in _WANTED
                if asked != (slot in stops):
                    yield (
                        f"{slot} ({s.status}, attempt {s.attempt}, {s.part(slot.node)}) "
                        f"has {'a' if slot in stops else 'no'} timer to stop"
                    )


def _history_faults(s: Stored) -> Iterator[str]:
    told = s.statuses()
    if not told or told[0] != Status.PENDING or told[-1] != s.status:
        yield f"{s.sid} is {s.status}, its history says {told}"
    for before, after in itertools.pairwise(told):
        if after not in TRANSITIONS[Status(before)].values():
            yield f"{s.sid} went from {before} to {after}"
    terminal = [status for status in told if status in TERMINAL]
    if len(terminal) > 1:
        yield f"{s.sid} ended {len(terminal)} times: {terminal}"
    if s.terminal and any(
        s.part(node) not in SUB_ENDED and s.part(node) != SubStatus.STOPPING for node in s.nodes
    ):
        yield f"{s.sid} is {s.status} and its parts are {[s.part(node) for node in s.nodes]}"


def _plain(kind: str, value: Any) -> Any:
    plain: Any = value
    if kind == "hash":
        plain = dict(_pairs(value))
    elif kind == "set":
        plain = set(_words(value))
    elif kind == "zset":
        plain = {member: float(score) for member, score in _pairs(value)}
    elif kind == "stream":
        plain = [(entry.decode(), _entry(flat)) for entry, flat in value]
    elif kind == "string":
        plain = value.decode()
    return plain


def _entry(flat: list[bytes]) -> dict[str, str] | list[tuple[str, str]]:
    pairs = _pairs(flat)
    # events repeat their field names
    return pairs if any(name == "k" and value in _EVENTS for name, value in pairs) else dict(pairs)


def _pairs(flat: list[bytes]) -> list[tuple[str, str]]:
    return list(zip(_words(flat[::2]), _words(flat[1::2]), strict=True))


def _words(raw: list[bytes]) -> list[str]:
    return [word.decode(errors="replace") for word in raw]


def _events(entries: list[tuple[str, list[tuple[str, str]]]]) -> Iterator[dict[str, str]]:
    for _, pairs in entries:
        attempt, event = "", dict[str, str]()
        for name, value in pairs:
            if name == "a":
                attempt = value
            elif name == "k":
                if event:
                    yield event
                event = {"a": attempt, "k": value}
            else:
                event[name] = value
        if event:
            yield event
