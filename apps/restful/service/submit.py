"""Submit a session: check it, put its start data away, store it, and wait for it if asked to."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from apps.restful.service import start_data
from apps.restful.service import webhooks as hooks
from apps.restful.service.access import Who
from apps.restful.service.answer import Answer, Queue, look
from apps.restful.service.errors import BusyError, ConflictError, InvalidError, TooManyError
from apps.restful.service.orders import Order, Posted
from apps.restful.service.parts import Parts
from apps.sessions.store import (
    Capacity,
    NewSession,
    Pick,
    PlacementRule,
    Submitted,
    TenantState,
)
from blueengine import ids
from blueengine.graph.dag import Fault
from blueengine.transport.blobs import session_prefix
from blueengine.wire.envelope import Stored
from blueengine.wire.plan import Plan

SINGLE: Final = "process-single-engine"
WORKFLOW: Final = "process-workflow"
KINDS: Final = (SINGLE, WORKFLOW)

FULL_RETRY_SECONDS: Final = 2.0
"""After which time it is worth trying again where too many wait."""
_TRIES: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Whether a session would get its slots now."""

    plan: Plan
    rule: PlacementRule
    picks: Sequence[Pick]
    """The instances it would get; none when it would wait."""
    lacking: Sequence["Lack"]
    quota: TenantState | None
    """Why it would not run now, when that is its tenant's doing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """An engine that has no slot for a session now."""

    engine: str
    wanted: int
    free: int
    instances: int
    cure: str
    """What would satisfy it, in words."""


async def submit(parts: Parts, posted: Posted, who: Who) -> Answer:
    """Store a session of ``who`` and return what is known of it: at its end, or when the wait is over.

    Raises:
        InvalidError: With every fault of the request; nothing is stored.
        ConflictError: The Idempotency-Key came with another body.
        TooManyError: It would have to wait, and as many sessions do as may.
        BusyError: Engines change their specs faster than a session can be checked.
    """
    order = posted.known.order
    session = _new_id(parts, order)
    wait = min(order.wait, parts.settings.max_wait)
    for _ in range(_TRIES):
        plan, start, version = await _checked(parts, posted, who)
        feed = await start_data.put(start, session)
        stored = start.stored(plan, feed.feeds)
        new = NewSession(
            session=session,
            plan=plan,
            kind=order.kind,
            rank=order.graph.rank,
            start_data=feed,
            stored=stored,
            start_timeout=parts.settings.start_timeout,
            time_limit=order.time_limit,
            ttl=order.ttl or parts.settings.ttl,
            stop_grace=parts.settings.stop_grace,
            max_attempts=order.max_attempts,
            labels=order.graph.labels,
            idempotency_key=posted.idempotency_key,
            body_hash=posted.body_hash,
            tenant=who.tenant,
            placement=_rule(parts, order),
            webhooks=hooks.made(order.webhooks, who),
        )
        with parts.pokes.listen(session) as bell:
            gateway = parts.pokes.gateway if wait > 0 else ""
            done = await parts.store.submit(
                new,
                specs_version=version,
                gateway=gateway,
                max_pending=parts.settings.max_pending,
                max_pending_engine=parts.settings.max_pending_engine,
            )
            if done.session == session:
                channels = [name for name, c in plan.channels.items() if c.stored]
                if wait > 0:
                    return await look(parts, session, channels, bell, wait)
                return _fresh(done, channels, stored)
        if start.needs_files:
            await asyncio.to_thread(parts.blobs.remove_below, session_prefix(session))
        if done.word == "full":
            raise _full(done)
        if done.word != "specs":
            return await _other(parts, done, wait)
        await parts.specs.reload()
    raise BusyError.because("the specs of engines are changing; try again")


async def try_out(parts: Parts, posted: Posted, who: Who) -> Placement:
    """Check a session and say whether it would be placed now; nothing is stored.

    Raises:
        InvalidError: With every fault of the request.
    """
    order = posted.known.order
    plan, _, _ = await _checked(parts, posted, who)
    mine = await parts.store.next_order(order.graph.rank)
    state = await parts.store.tenant(who.tenant) if who.tenant else None
    over = state is not None and 0 < state.max_running <= state.running
    lacking = await lacks(parts, plan, mine)
    rule = _rule(parts, order)
    picks = await parts.store.foresee(
        plan, rank=order.graph.rank, tenant=who.tenant, placement=rule
    )
    return Placement(
        plan=plan, rule=rule, picks=picks, lacking=lacking, quota=state if over else None
    )


def _rule(parts: Parts, order: Order) -> PlacementRule:
    near = order.near or parts.settings.placement_near
    return PlacementRule(
        order.policy or parts.settings.placement_policy, near if near != "any" else ""
    )


async def lacks(parts: Parts, plan: Plan, order: float) -> list[Lack]:
    """Return the engines that have no slot for a session of this order, and what would help."""
    wanted: dict[str, int] = {}
    for node in plan.nodes.values():
        wanted[node.engine] = wanted.get(node.engine, 0) + 1
    found = []
    for capacity in await parts.store.capacities(list(wanted)):
        cure = _cure(capacity, wanted[capacity.engine], order)
        if cure:
            found.append(
                Lack(
                    engine=capacity.engine,
                    wanted=wanted[capacity.engine],
                    free=capacity.free_slots,
                    instances=capacity.instances,
                    cure=cure,
                )
            )
    return found


def _cure(has: Capacity, wanted: int, order: float) -> str:
    if not has.known:
        return f"engine {has.engine!r} was never seen: start an instance of it"
    if not has.instances:
        return f"engine {has.engine!r} has no instance now: start one, or let its autoscaler do so"
    if has.free_slots < wanted:
        more = wanted - has.free_slots
        slots = "one more slot" if more == 1 else f"{more} more slots"
        cure = f"engine {has.engine!r} needs {slots}: a session must end, or another instance start"
        return f"{cure}; an instance takes none: {has.ailing}" if has.ailing else cure
    if has.first_waiting is not None and has.first_waiting < order:
        return f"sessions that wait for engine {has.engine!r} come first"
    return ""


def _new_id(parts: Parts, order: Order) -> str:
    return ids.session_id(
        order.kind, order.graph.rank, unix_time=parts.clock.unix(), entropy=parts.entropy
    )


async def _checked(parts: Parts, posted: Posted, who: Who) -> tuple[Plan, start_data.Start, int]:
    """Return the plan, its start data, and the version of the specs it was checked against."""
    order = posted.known.order
    faults: Sequence[Fault] = ()
    for _ in range(_TRIES):
        version = parts.specs.version
        checked = posted.known.check(posted.payloads, parts.specs.known, version)
        refused = [
            *order.refused,
            *hooks.faults(order.webhooks, checked.plan, parts.fetcher.rules),
        ]
        if checked.plan is not None and not refused and not checked.feedings:
            return checked.plan, start_data.Start((), parts.blobs, who, parts.fetcher), version
        start = await start_data.begin(checked.feedings, parts.blobs, who, parts.fetcher)
        faults = [*checked.faults, *start.faults, *refused]
        if checked.plan is not None and not faults:
            return checked.plan, start, version
        # Before a request is refused, its faults must hold against the specs as they are now.
        if not await parts.specs.reload() and version == parts.specs.version:
            break
    raise InvalidError(faults)


def _fresh(
    done: Submitted, channels: Sequence[str], stored: Sequence[tuple[str, Stored]]
) -> Answer:
    """Return the answer of a session that was stored a moment ago, without asking for it again."""
    results: dict[str, list[Stored]] = {channel: [] for channel in channels}
    for channel, item in stored:
        results[channel].append(item)
    queue = None
    if done.status == "pending":
        queue = Queue(done.position, done.pending, done.queuing)
    return Answer(session=done.session, status=done.status, queue=queue, results=results)


def _full(done: Submitted) -> TooManyError:
    whose = {"all": "sessions", "tenant": "sessions of your tenant"}
    what = whose.get(done.full, f"sessions for engine {done.full!r}")
    return TooManyError.because(
        f"{done.limit} {what} are pending, which is as many as may be; come back later",
        kind="queue-full",
        retry_after=FULL_RETRY_SECONDS,
    )


async def _other(parts: Parts, done: Submitted, wait: float) -> Answer:
    """Return the answer of the session that an Idempotency-Key stands for."""
    if done.word == "conflict":
        raise ConflictError.because(
            "this Idempotency-Key was used with another body; take a new key for a new session",
            loc="/header/Idempotency-Key",
            kind="idempotency-conflict",
        )
    with parts.pokes.listen(done.session) as bell:
        if wait > 0:
            await parts.store.watch(done.session, parts.pokes.gateway)
            bell.ring()  # it may have ended before it was watched
        channels = await parts.store.stored_channels(done.session)
        return await look(parts, done.session, channels or (), bell if wait > 0 else None, wait)
