"""Sessions in Redis, as the services use them: one method per atomic step or read.

Promises: every method may be repeated without harm; times are microseconds since the epoch by
Redis' clock; a method raises ``StoreAwayError`` when Redis is away and ``ReadOnlyStoreError`` when
it refuses writes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from apps.sessions import outbox
from apps.sessions.vault import PLAIN, Vault
from blueengine.kit import aio
from blueengine.kit.redis_link import Arg, Link
from blueengine.wire import codec, names
from blueengine.wire.envelope import Stored
from blueengine.wire.lifecycle import Status
from blueengine.wire.plan import Plan, StartData, heard_first
from blueengine.wire.report import Fault, Tally
from blueengine.wire.spec import EngineSpec
from blueengine.wire.webhook import Webhook

SCRIPTS: Final = (
    "submit", "foresee", "limit_tenant", "match", "stop", "watch", "unwatch", "reap", "due", "forget",
    "drain",
)  # fmt: skip
"""The scripts a link must know to be used by a store."""

ENTRIES_AT_ONCE: Final = 500
RUNNING: Final = (Status.QUEUING, Status.PROCESSING, Status.STOPPING)
"""What counts against a tenant's ``max_running``."""
SPREAD: Final = "spread"
PACK: Final = "pack"
_MOST_PLANS: Final = 64
RANK_STEP: Final = 68_719_476_736
"""How far apart two ranks are in the order of sessions, as in submit.lua."""


class PlacementRule(msgspec.Struct, frozen=True):
    """Which of an engine's instances a session is given when several have a free slot."""

    policy: str = SPREAD
    """``spread``: the one with the most free slots; ``pack``: the one with the fewest."""
    near: str = ""
    """``host`` | ``zone``: rather one where an engine of the session is already; empty: any."""

    def text(self) -> str:
        """Return it as the scripts read it."""
        return f"{self.policy},{self.near}" if self != _ANY else ""


_ANY: Final = PlacementRule()


def rule_of(text: str) -> PlacementRule:
    """Return the rule that a stored session has."""
    policy, _, near = text.partition(",")
    return PlacementRule(policy, near) if text else _ANY


@dataclass(frozen=True, slots=True)
class Pick:
    """The instance that a node would be given."""

    node: str
    engine: str
    instance: str
    host: str
    zone: str


class NewSession(msgspec.Struct, frozen=True, kw_only=True):
    """All that is stored when a session is submitted. Times are seconds."""

    session: str
    plan: Plan
    kind: str
    rank: int
    start_data: StartData
    stored: Sequence[tuple[str, Stored]] = ()
    """Start data of stored channels: it is a result from the beginning."""
    start_timeout: float = 30.0
    time_limit: float = 0.0
    ttl: float = 86_400.0
    stop_grace: float = 10.0
    """An engine that has not said after this time that it stopped is taken as stopped."""
    max_attempts: int = 1
    labels: Mapping[str, str] = {}
    idempotency_key: str = ""
    body_hash: str = ""
    webhooks: Sequence[Webhook] = ()
    tenant: str = ""
    """Whose it is; empty: nobody's in particular."""
    placement: PlacementRule = PlacementRule()


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a submit. The three counts are there only while the session is pending."""

    word: str
    """``created`` | ``exists`` (same id or Idempotency-Key) | ``specs`` (an engine's spec changed
    since the session was checked: check again) | ``conflict`` (the key came with another body) | ``full``
    (it would have to wait, and as many do as may: ``all``, its ``tenant``'s, or those of an engine)."""
    session: str = ""
    status: str = ""
    position: int = -1
    pending: int = 0
    queuing: int = 0
    full: str = ""
    limit: int = 0


@dataclass(frozen=True, kw_only=True)
class SubSession:
    """One engine's part in a session."""

    node: str
    engine: str
    status: str
    instance: str
    accepted: int
    ended: int
    progress: dict[str, object] | None
    tally: Tally
    fault: Fault | None


@dataclass(frozen=True, kw_only=True)
class SessionRecord:
    """A session as stored. A time of 0 means: not yet."""

    session: str
    kind: str
    rank: int
    status: str
    attempt: int
    max_attempts: int
    refused: int
    order: float
    """Its place in the queues: the lowest is next."""
    plan: Plan
    labels: dict[str, str]
    fault: Fault | None
    created: int
    picked: int
    ready: int
    first_result: int
    ended: int
    parked: str
    """The engine in whose queue it waits while pending."""
    tenant: str
    placement: PlacementRule
    apart: bool
    """It waits for its tenant to have fewer sessions running; after that, for ``parked``."""
    parts: tuple[SubSession, ...]
    webhooks: int
    """How many it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line that an engine wrote about a session."""

    id: str
    at: int
    """Microseconds, by the clock of the engine's machine."""
    attempt: int
    node: str
    level: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One event of a session's history. ``id`` orders them: ``<stream id>.<index>``."""

    id: str
    at: int
    """Microseconds (millisecond resolution)."""
    attempt: int
    fields: dict[str, str]
    """``k`` = session (st) | part (n, st) | results (n, c, count) | notice (n, type, body)."""


@dataclass(frozen=True, kw_only=True)
class EngineState:
    """One engine: its spec (kept at zero instances) and its load."""

    spec: EngineSpec
    instances: tuple[dict[str, str], ...]
    """Attendance records, with ``id`` and ``used`` beside what the instance said of itself."""
    free_slots: int
    used_slots: int
    pending: int
    demand: int
    waiting: int


@dataclass(frozen=True, kw_only=True)
class Head:
    """What a list shows of a session."""

    session: str
    kind: str
    rank: int
    status: str
    engines: tuple[str, ...]
    labels: dict[str, str]
    created: int
    ended: int


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """What one engine has for a session that wants to be placed."""

    engine: str
    known: bool
    """It was in attendance at least once."""
    instances: int
    free_slots: int
    ailing: str = ""
    """Why an instance takes no session; empty when all do."""
    first_waiting: float | None
    """Order of the session at the front of its queue, None when nobody waits."""


@dataclass(frozen=True, kw_only=True)
class TenantState:
    """A tenant's limits (0: none) and how far it uses them."""

    tenant: str
    max_running: int
    max_pending: int
    running: int
    pending: int


def told_results(poke: bytes) -> dict[str, list[Stored]]:
    """Return the results by channel that a poke tells: all of a session that has finished.

    The format is that of ``outcome_of`` in ledger/lua/lib/results.lua.
    """
    head, _, text = poke.partition(b"\n")
    words, at = [], 0
    for length in map(int, head.split()[1:]):
        words.append(text[at : at + length])
        at += length
    results: dict[str, list[Stored]] = {}
    rest = iter(words)
    for channel in rest:
        _first, count = next(rest), int(next(rest))
        items = results.setdefault(channel.decode(), [])
        items += [codec.decode(Stored, next(rest)) for _ in range(count)]
    return results


class SessionStore:
    """The services' view of the ledger."""

    def __init__(self, link: Link, vault: Vault = PLAIN) -> None:
        """Work over ``link``, which must know ``SCRIPTS``; ``vault`` keeps what is secret."""
        self._link = link
        self._vault = vault
        self._plans: dict[int, _Said] = {}

    # -- a session --------------------------------------------------------------------------------

    async def submit(
        self,
        new: NewSession,
        *,
        specs_version: int,
        gateway: str,
        max_pending: int = 0,
        max_pending_engine: int = 0,
    ) -> Submitted:
        """Store a session; it has its slots at once when they are free and nobody is before it.

        Args:
            new: The session.
            specs_version: ``specs_version()`` at the time the session was checked; -1: not checked.
            gateway: Is poked when the session ends; empty when nobody waits.
            max_pending: A session that would have to wait is turned away when so many do (0: never).
            max_pending_engine: The same, for those that wait for one engine.
        """
        said = self._said(new.plan)
        stored: list[Arg] = []
        for channel, item in new.stored:
            stored += [channel, codec.encode(item)]
        hooks, *described = outbox.described(new.webhooks, self._vault)
        reply = await self._link.run(
            "submit",
            new.session,
            new.kind,
            new.rank,
            said.encoded,
            said.nodes,
            said.first,
            codec.encode(new.start_data),
            said.stored,
            specs_version,
            gateway,
            _us(new.start_timeout),
            _us(new.time_limit),
            _us(new.ttl),
            _us(new.stop_grace),
            new.max_attempts,
            msgspec.json.encode(dict(new.labels)),
            # two tenants may have the same key; no key has a space in it
            f"{new.tenant} {new.idempotency_key}"
            if new.tenant and new.idempotency_key
            else new.idempotency_key,
            new.body_hash,
            hooks,
            new.tenant,
            max_pending,
            max_pending_engine,
            new.placement.text(),
            *described,
            *stored,
        )
        word = reply[0].decode()
        if word == "full":
            return Submitted(word=word, full=reply[1].decode(), limit=int(reply[2]))
        if len(reply) == 1:
            return Submitted(word=word)
        return Submitted(
            word=word,
            session=reply[1].decode(),
            status=reply[2].decode(),
            position=reply[3],
            pending=reply[4],
            queuing=reply[5],
        )

    def _said(self, plan: Plan) -> "_Said":
        """Return what scripts need to know of a plan; callers use the same one over and over."""
        said = self._plans.get(id(plan))
        if said is None:
            if len(self._plans) >= _MOST_PLANS:
                del self._plans[next(iter(self._plans))]
            said = self._plans[id(plan)] = _Said(
                plan=plan,
                encoded=codec.encode(plan),
                nodes=_nodes(plan),
                first=",".join(heard_first(plan)),
                stored=",".join(name for name, channel in plan.channels.items() if channel.stored),
            )
        return said

    async def foresee(
        self, plan: Plan, *, rank: int, tenant: str, placement: PlacementRule
    ) -> list[Pick]:
        """Return which instances a session would be given now; none when it would wait."""
        found = await self._link.run("foresee", _nodes(plan), rank, placement.text(), tenant)
        return [
            Pick(name, node.engine, *raw.decode().split(" "))
            for (name, node), raw in zip(plan.nodes.items(), found, strict=bool(found))
        ]

    async def stop(self, session: str, reason: str) -> tuple[str, str]:
        """End a session: ``(canceled | stopping | ended | unknown, its status)``."""
        reply = [word.decode() for word in await self._link.run("stop", session, reason)]
        return reply[0], reply[-1]

    async def watch(self, session: str, gateway: str, *, everything: bool = False) -> str | None:
        """Have ``gateway`` poked at the session's end (or at every event); its status now."""
        mode = "follow" if everything else "wait"
        status = await self._link.run("watch", session, gateway, mode)
        return status.decode() if status else None

    def unwatch(self, session: str, gateway: str) -> None:
        """Have ``gateway`` poked no more at every event; nobody waits for this to be done."""
        self._link.run("unwatch", session, gateway).add_done_callback(aio.take_note)

    async def read(self, session: str) -> SessionRecord | None:
        """Return a session, or None when it is unknown or forgotten."""
        flat = await self._link.send("HGETALL", names.session(session))
        return _record(session, dict(zip(flat[::2], flat[1::2], strict=True))) if flat else None

    async def tenant_of(self, session: str) -> str | None:
        """Return whose session it is (empty: nobody's in particular), or None when it is unknown."""
        status, tenant = await self._link.send("HMGET", names.session(session), "st", "tenant")
        return None if status is None else (tenant or b"").decode()

    async def stored_channels(self, session: str) -> tuple[str, ...] | None:
        """Return the names of its stored channels, or None when the session is unknown."""
        status, stored = await self._link.send("HMGET", names.session(session), "st", "stored")
        if status is None:
            return None
        return tuple(stored.decode().split(",")) if stored else ()

    async def outcome(
        self, session: str, channels: Sequence[str], *, limit: int = 1000
    ) -> tuple[str, Fault | None, dict[str, list[Stored]]]:
        """Return status, fault and the first stored messages of these channels: one round trip."""
        head = self._link.send("HMGET", names.session(session), "st", "fault")
        lists = [
            self._link.send("LRANGE", names.results(session, channel), 0, limit - 1)
            for channel in channels
        ]
        status, why = await head
        results = {
            channel: [codec.decode(Stored, raw) for raw in await items]
            for channel, items in zip(channels, lists, strict=True)
        }
        return (status or b"").decode(), _fault(why), results

    async def results(self, session: str, channel: str, *, after: int, limit: int) -> list[Stored]:
        """Return up to ``limit`` stored messages, from index ``after`` on (0 is the first)."""
        raw = await self._link.send(
            "LRANGE", names.results(session, channel), after, after + limit - 1
        )
        return [codec.decode(Stored, item) for item in raw]

    async def result_count(self, session: str, channel: str) -> int:
        """Return how many messages of the channel are stored."""
        count: int = await self._link.send("LLEN", names.results(session, channel))
        return count

    async def logs(self, session: str, *, after: str, limit: int) -> list[Line]:
        """Return lines of its log behind the one with this id (from the first without)."""
        raw = await self._link.send(
            "XRANGE", names.logs(session), f"({after}" if after else "-", "+", "COUNT", limit
        )
        return [_line(line_id.decode(), [word.decode() for word in flat]) for line_id, flat in raw]

    async def history(self, session: str, *, after: str = "") -> list[Entry]:
        """Return events after the one with this id (from the beginning without), oldest first."""
        stream_id, _, index = after.partition(".")
        start = stream_id or "-"  # inclusive: the entry may hold events behind this one
        raw = await self._link.send(
            "XRANGE", names.events(session), start, "+", "COUNT", ENTRIES_AT_ONCE
        )
        entries: list[Entry] = []
        for entry_id, flat in raw:
            entries += _entries(entry_id.decode(), [word.decode() for word in flat])
        if not after:
            return entries
        return [
            e for e in entries if not e.id.startswith(stream_id + ".") or _index(e) > int(index)
        ]

    async def queue(self, session: str) -> tuple[int, int, int]:
        """Return (sessions before this one or -1 when it is not pending, pending, queuing)."""
        rank, pending, queuing = (
            self._link.send("ZRANK", names.status("pending"), session),
            self._link.send("ZCARD", names.status("pending")),
            self._link.send("ZCARD", names.status("queuing")),
        )
        before = await rank
        return -1 if before is None else before, await pending, await queuing

    # -- many sessions ----------------------------------------------------------------------------

    async def page(
        self, *, tenant: str = "", status: str = "", before: int = 0, limit: int = 50
    ) -> list[tuple[str, int]]:
        """Return (session, created) newest first, created before ``before`` (0: from the newest).

        With ``tenant`` only its own. Without, the index of ``pending`` is in queue order and that of ``queuing`` by its deadline, so for
        these two ``before`` is not used and the whole (short) index is read.
        """
        if not tenant and status in {"pending", "queuing"}:
            raw = await self._link.send("ZRANGE", names.status(status), 0, -1)
            times = [self._link.send("HGET", names.session(sid.decode()), "created") for sid in raw]
            found = [(sid.decode(), int(await at or 0)) for sid, at in zip(raw, times, strict=True)]
            found.sort(key=lambda pair: pair[1], reverse=True)
            return [pair for pair in found if not before or pair[1] < before][:limit]
        raw = await self._link.send(
            "ZREVRANGEBYSCORE",
            _index_of(tenant, status),
            f"({before}" if before else "+inf",
            "-inf",
            "WITHSCORES",
            "LIMIT",
            0,
            limit,
        )
        return [(sid.decode(), int(float(at))) for sid, at in zip(raw[::2], raw[1::2], strict=True)]

    async def heads(self, sessions: Sequence[str]) -> list[Head]:
        """Return the heads of these sessions, in order, without those that are forgotten."""
        fields = ("kind", "rank", "st", "nodes", "labels", "created", "ended")
        replies = [
            self._link.send("HMGET", names.session(session), *fields) for session in sessions
        ]
        found = []
        for session, reply in zip(sessions, replies, strict=True):
            kind, rank, status, nodes, labels, created, ended = await reply
            if status is None:
                continue
            engines = (pair.partition("=")[2] for pair in nodes.decode().split(","))
            found.append(
                Head(
                    session=session,
                    kind=kind.decode(),
                    rank=int(rank),
                    status=status.decode(),
                    engines=tuple(engines),
                    labels=msgspec.json.decode(labels or b"{}"),
                    created=int(created),
                    ended=int(ended or 0),
                )
            )
        return found

    async def counts(self, statuses: Sequence[str], *, tenant: str = "") -> dict[str, int]:
        """Return how many sessions (with ``tenant``: of its own) are in each status."""
        replies = [self._link.send("ZCARD", _index_of(tenant, status)) for status in statuses]
        return {status: await reply for status, reply in zip(statuses, replies, strict=True)}

    # -- tenants ----------------------------------------------------------------------------------

    async def limit_tenant(self, tenant: str, *, max_running: int, max_pending: int) -> None:
        """Say how many sessions of a tenant may run and wait at the same time (0: no limit)."""
        await self._link.run("limit_tenant", tenant, max_running, max_pending)

    async def tenants(self) -> list[str]:
        """Return every tenant that was given a key or a limit, sorted."""
        return sorted(word.decode() for word in await self._link.send("SMEMBERS", names.TENANTS))

    async def tenant(self, tenant: str) -> TenantState | None:
        """Return a tenant's limits and load; None when nobody knows it."""
        known = self._link.send("SISMEMBER", names.TENANTS, tenant)
        limits = self._link.send("HMGET", names.tenant(tenant), "max_running", "max_pending")
        counts = await self.counts([status.value for status in Status], tenant=tenant)
        max_running, max_pending = (int(word or 0) for word in await limits)
        if not await known:
            return None
        return TenantState(
            tenant=tenant,
            max_running=max_running,
            max_pending=max_pending,
            running=sum(counts[status] for status in RUNNING),
            pending=counts[Status.PENDING],
        )

    # -- engines ----------------------------------------------------------------------------------

    async def specs_version(self) -> int:
        """Return a number that grows whenever an engine's spec changes."""
        return int(await self._link.send("GET", names.SPECS) or 0)

    async def engine_ids(self) -> list[str]:
        """Return every engine ever seen in attendance, sorted."""
        return sorted(word.decode() for word in await self._link.send("SMEMBERS", names.ENGINES))

    async def attending(self, instances: Sequence[str]) -> set[str]:
        """Return which of these instances are in attendance."""
        looks = [self._link.send("EXISTS", names.instance(instance)) for instance in instances]
        found = [await look for look in looks]
        return {instance for instance, there in zip(instances, found, strict=True) if there}

    async def specs(self) -> dict[str, EngineSpec]:
        """Return the spec of every engine ever seen."""
        ids = await self.engine_ids()
        raws = [self._link.send("HGET", names.engine(engine), "spec") for engine in ids]
        return {
            engine: msgspec.json.decode(await raw, type=EngineSpec)
            for engine, raw in zip(ids, raws, strict=True)
        }

    async def engine(self, engine: str) -> EngineState | None:
        """Return an engine's spec and load, or None when it was never seen."""
        send = self._link.send
        replies = (
            send("HGET", names.engine(engine), "spec"),
            send("SMEMBERS", names.instances(engine)),
            send("ZRANGE", names.free(engine), 0, -1, "WITHSCORES"),
            send("ZCARD", names.pending_list(engine)),
            send("SCARD", names.demand(engine)),
            send("ZCARD", names.waiting(engine)),
        )
        spec, ids, free, pending, demand, waiting = [await reply for reply in replies]
        if spec is None:
            return None
        attending = sorted(word.decode() for word in ids)
        facts = [send("HGETALL", names.instance(instance)) for instance in attending]
        held = [send("SCARD", names.held(instance)) for instance in attending]
        instances = []
        for instance, fact, used in zip(attending, facts, held, strict=True):
            flat, slots = await fact, await used
            if flat:
                pairs = zip(flat[::2], flat[1::2], strict=True)
                record = {name.decode(): value.decode() for name, value in pairs}
                instances.append({"id": instance, "used": str(slots), **record})
        return EngineState(
            spec=msgspec.json.decode(spec, type=EngineSpec),
            instances=tuple(instances),
            free_slots=int(sum(float(score) for score in free[1::2])),
            used_slots=sum(int(record["used"]) for record in instances),
            pending=pending,
            demand=demand,
            waiting=waiting,
        )

    async def capacities(self, engines: Sequence[str]) -> list[Capacity]:
        """Return what each of these engines has free, and whether somebody waits for it."""
        send = self._link.send
        replies = [
            (
                send("HMGET", names.engine(engine), "spec", "ailing"),
                send("SCARD", names.instances(engine)),
                send("ZRANGEBYSCORE", names.free(engine), 1, "+inf", "WITHSCORES"),
                send("ZRANGE", names.waiting(engine), 0, 0, "WITHSCORES"),
            )
            for engine in engines
        ]
        found = []
        for engine, asked in zip(engines, replies, strict=True):
            (spec, ailing), instances, free, front = [await reply for reply in asked]
            found.append(
                Capacity(
                    engine=engine,
                    known=spec is not None,
                    ailing=(ailing or b"").decode(),
                    instances=instances,
                    free_slots=int(sum(float(score) for score in free[1::2])),
                    first_waiting=float(front[1]) if front else None,
                )
            )
        return found

    async def next_order(self, rank: int) -> float:
        """Return the order a session of this rank would get now."""
        return float(int(await self._link.send("GET", names.ORDER) or 0) + 1) - rank * RANK_STEP

    async def demand(self, engine: str) -> int:
        """Return pending and active slots of an engine."""
        count: int = await self._link.send("SCARD", names.demand(engine))
        return count

    async def drain_if_idle(self, instance: str) -> bool:
        """Keep new sessions off an instance that holds none; False when it is busy or unknown."""
        held: int = await self._link.run("drain", instance, "idle")
        return held == 0

    # -- what management does ---------------------------------------------------------------------

    async def match(self, engine: str, *, at_most: int = 100) -> int:
        """Give an engine's free slots to those who wait for them; how many were placed."""
        placed: int = await self._link.run("match", engine, at_most)
        return placed

    async def reap(self, *, heartbeat_timeout: float, at_most: int = 100) -> list[str]:
        """Give up instances whose heartbeat is overdue; which ones."""
        gone = await self._link.run("reap", at_most, _us(heartbeat_timeout))
        return [word.decode() for word in gone]

    async def due(self, *, at_most: int = 100) -> tuple[int, float | None]:
        """Act on timers that ran out: (how many, seconds until the next one or None)."""
        acted, wait = await self._link.run("due", at_most)
        return acted, None if float(wait) < 0 else float(wait) / 1e6

    async def expired(self, *, now_us: int, at_most: int = 100) -> list[str]:
        """Return ended sessions whose time to be kept is over."""
        raw = await self._link.send(
            "ZRANGEBYSCORE", names.EXPIRY, "-inf", now_us, "LIMIT", 0, at_most
        )
        return [word.decode() for word in raw]

    async def existing(self, sessions: Sequence[str]) -> set[str]:
        """Return those of these sessions that are there."""
        replies = [self._link.send("EXISTS", names.session(session)) for session in sessions]
        return {s for s, reply in zip(sessions, replies, strict=True) if await reply}

    async def lease(self, job: str, holder: str, *, seconds: float) -> bool:
        """Whether ``holder`` is the one that does a periodic job now; it is for ``seconds``.

        Who asks again gets the same answer, so a reply that got lost does no harm.
        """
        key = names.lease(job)
        taken = self._link.send("SET", key, holder, "NX", "PX", int(seconds * 1000))
        has = self._link.send("GET", key)
        return bool(await taken) or await has == holder.encode()

    async def forget(self, session: str) -> bool:
        """Delete an ended session and all that is kept of it in Redis."""
        return bool(await self._link.run("forget", session))

    async def now_us(self) -> int:
        """Return Redis' time."""
        seconds, micros = await self._link.send("TIME")
        return int(seconds) * 1_000_000 + int(micros)

    async def ping(self) -> None:
        """Ask Redis for a sign of life."""
        await self._link.send("PING")


class _Said(msgspec.Struct, frozen=True, kw_only=True):
    """What scripts need to know of a plan, as they want to be told it."""

    plan: Plan
    """Kept, so that no other plan has its ``id``."""
    encoded: bytes
    nodes: str
    first: str
    stored: str


def _nodes(plan: Plan) -> str:
    return ",".join(f"{name}={node.engine}" for name, node in plan.nodes.items())


def _index_of(tenant: str, status: str) -> str:
    if tenant:
        return names.tenant_status(tenant, status) if status else names.tenant_sessions(tenant)
    return names.status(status) if status else names.SESSIONS


def _us(seconds: float) -> int:
    return int(seconds * 1_000_000)


def _fault(raw: bytes | None) -> Fault | None:
    return msgspec.json.decode(raw, type=Fault) if raw else None


def _line(line_id: str, flat: list[str]) -> Line:
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    return Line(
        id=line_id,
        at=int(fields["t"]),
        attempt=int(fields["a"]),
        node=fields["n"],
        level=fields["l"],
        text=fields["m"],
    )


def _index(entry: Entry) -> int:
    return int(entry.id.partition(".")[2])


def _entries(stream_id: str, flat: list[str]) -> list[Entry]:
    """Split one stream entry (all that one atomic step did) into its events."""
    at = int(stream_id.partition("-")[0]) * 1000
    attempt, events = 0, list[dict[str, str]]()
    for name, value in zip(flat[::2], flat[1::2], strict=True):
        if name == "a":
            attempt = int(value)
        elif name == "k":
            events.append({name: value})
        else:
            events[-1][name] = value
    return [
        Entry(id=f"{stream_id}.{index}", at=at, attempt=attempt, fields=fields)
        for index, fields in enumerate(events)
    ]


def _record(session: str, raw: dict[bytes, bytes]) -> SessionRecord:
    def text(name: str) -> str:
        return raw.get(name.encode(), b"").decode()

    def number(name: str) -> int:
        return int(raw.get(name.encode()) or 0)

    plan = codec.decode(Plan, raw[b"plan"])
    parts = tuple(
        SubSession(
            node=node,
            engine=spec.engine,
            status=text(f"{node}:st"),
            instance=text(f"{node}:in"),
            # an eager instance says nothing: it accepted by being picked
            accepted=number(f"{node}:accepted")
            or (number("picked") if text(f"{node}:st") not in {"pending", "starting"} else 0),
            ended=number(f"{node}:ended"),
            progress=msgspec.json.decode(raw.get(f"{node}:progress".encode()) or b"null"),
            tally=msgspec.json.decode(raw.get(f"{node}:tally".encode()) or b"{}", type=Tally),
            fault=_fault(raw.get(f"{node}:fault".encode())),
        )
        for node, spec in plan.nodes.items()
    )
    return SessionRecord(
        session=session,
        kind=text("kind"),
        rank=number("rank"),
        status=text("st"),
        attempt=number("at"),
        max_attempts=number("max"),
        refused=number("refused"),
        order=float(raw.get(b"order") or 0),
        plan=plan,
        labels=msgspec.json.decode(raw.get(b"labels") or b"{}"),
        fault=_fault(raw.get(b"fault")),
        created=number("created"),
        picked=number("picked"),
        ready=number("ready"),
        first_result=number("first"),
        ended=number("ended"),
        parked=text("parked"),
        tenant=text("tenant"),
        placement=rule_of(text("placement")),
        apart=text("apart") == "1",
        parts=parts,
        webhooks=len(msgspec.json.decode(raw.get(b"hooks") or b"[]")),
    )
