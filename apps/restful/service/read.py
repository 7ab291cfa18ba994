"""Read sessions: their answer, their details, their results, lists of them, and stop one."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from apps.restful.service.access import Who
from apps.restful.service.answer import Answer, Queue, load_inline, look
from apps.restful.service.errors import ConflictError, UnknownError
from apps.restful.service.parts import Parts
from apps.restful.service.submit import Lack, lacks
from apps.sessions.outbox import Watching
from apps.sessions.store import Entry, Head, SessionRecord, TenantState
from blueengine.errors import BlueEngineError
from blueengine.graph.dag import is_name
from blueengine.transport.blobs import BlobError
from blueengine.wire.envelope import Stored

HISTORY_PAGES: Final = 20
"""Pages of history that the timeline is made from; the stream is kept at about as many."""
SCANNED_AT_ONCE: Final = 1000
"""Sessions that one list request looks at; with filters it may answer fewer than its limit."""

_SESSION: Final = re.compile(r"session-[A-Za-z0-9_.-]{1,200}")


@dataclass(frozen=True, kw_only=True)
class Detail:
    """Everything known of a session."""

    record: SessionRecord
    history: Sequence[Entry]
    """Changes of the session's status, oldest first."""
    results: Mapping[str, int]
    """How many messages each stored channel has."""
    queue: Queue | None
    lacking: Sequence[Lack]
    quota: TenantState | None
    """Why it must not run yet, when that is its tenant's doing."""
    webhooks: Sequence[Watching]


@dataclass(frozen=True, kw_only=True)
class Results:
    """A page of one channel's results."""

    type: str
    after: int
    items: Sequence[Stored]
    count: int


@dataclass(frozen=True, kw_only=True)
class Blob:
    """One result as bytes: held, or in the blob store."""

    stored: Stored
    size: int = 0
    """Of what is in the blob store."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A page of sessions."""

    heads: Sequence[Head]
    cursor: int
    """Where the next page begins; 0 when there is none."""


def unknown(session: str) -> UnknownError:
    """Return the error of a session that is not there."""
    return UnknownError.because(
        f"there is no session {session[:120]!r}; it may have been deleted after its ttlSecond"
    )


def check_id(session: str) -> None:
    """Refuse what can be no session's id, before it becomes part of a key.

    Raises:
        UnknownError: It can be none.
    """
    if not _SESSION.fullmatch(session):
        raise unknown(session)


async def read_answer(
    parts: Parts, session: str, *, kind: str, channels: Sequence[str], wait: float
) -> Answer:
    """Return status and results, after waiting for the end if asked to.

    Raises:
        UnknownError: No such session of this kind, or a channel that is not stored.
    """
    check_id(session)
    if not session.startswith(f"session-{kind}-"):
        raise unknown(session)
    stored = await parts.store.stored_channels(session)
    if stored is None:
        raise unknown(session)
    for channel in channels:
        _check_stored(channel, stored)
    wanted = tuple(dict.fromkeys(channels)) or stored
    wait = min(wait, parts.settings.max_wait)
    if wait <= 0:
        return await look(parts, session, wanted, None, 0)
    with parts.pokes.listen(session) as bell:
        await parts.store.watch(session, parts.pokes.gateway)
        bell.ring()  # it may have ended before it was watched
        return await look(parts, session, wanted, bell, wait)


async def read_detail(parts: Parts, session: str) -> Detail:
    """Return everything known of a session.

    Raises:
        UnknownError: There is no such session.
    """
    record = await _record(parts, session)
    stored = [name for name, channel in record.plan.channels.items() if channel.stored]
    history, counts = await asyncio.gather(
        _status_history(parts, session),
        asyncio.gather(*[parts.store.result_count(session, channel) for channel in stored]),
    )
    queue: Queue | None = None
    lacking: Sequence[Lack] = ()
    quota = None
    if record.status == "pending":
        queue = Queue(*await parts.store.queue(session))
        lacking = await lacks(parts, record.plan, record.order)
        quota = await parts.store.tenant(record.tenant) if record.apart else None
    return Detail(
        record=record,
        history=history,
        results=dict(zip(stored, counts, strict=True)),
        queue=queue if queue is not None and queue.position >= 0 else None,
        lacking=lacking,
        quota=quota,
        webhooks=await parts.outbox.watching(session, record.webhooks) if record.webhooks else (),
    )


async def stop(parts: Parts, session: str, reason: str) -> str:
    """End a session and return its status now.

    Raises:
        UnknownError: There is no such session.
        ConflictError: It has ended.
    """
    check_id(session)
    word, status = await parts.store.stop(session, reason)
    if word == "unknown":
        raise unknown(session)
    if word == "ended":
        raise ConflictError.because(f"the session has ended: it is {status}", kind="session-ended")
    return status


async def read_results(
    parts: Parts, session: str, channel: str, *, after: int, limit: int
) -> Results:
    """Return a page of a channel's results, from index ``after`` on.

    Raises:
        UnknownError: No such session, or its channel is not stored.
    """
    record = await _with_stored(parts, session, channel)
    items, count = await asyncio.gather(
        parts.store.results(session, channel, after=after, limit=limit),
        parts.store.result_count(session, channel),
    )
    if any(item.blob for item in items):
        items = (await asyncio.to_thread(load_inline, parts.blobs, {channel: items}))[channel]
    return Results(type=record.plan.channels[channel].type, after=after, items=items, count=count)


async def read_blob(parts: Parts, session: str, channel: str, index: int) -> Blob:
    """Return one result as bytes.

    Raises:
        UnknownError: No such session, channel or message, or its file is gone.
    """
    await _with_stored(parts, session, channel)
    items = await parts.store.results(session, channel, after=index, limit=1)
    if not items:
        raise UnknownError.because(f"channel {channel!r} has no result {index}")
    if not items[0].blob:
        return Blob(stored=items[0])
    try:
        size = await asyncio.to_thread(parts.blobs.size, items[0].blob)
    except BlobError as exc:
        raise UnknownError.because(str(exc)) from exc
    return Blob(stored=items[0], size=size)


async def list_sessions(
    parts: Parts,
    who: Who,
    *,
    status: str,
    engine: str,
    labels: Mapping[str, str],
    limit: int,
    before: int,
) -> Listed:
    """Return sessions that ``who`` sees, newest first, created before ``before`` (0: the newest)."""
    found: list[Head] = []
    scanned = 0
    while True:
        page = await parts.store.page(tenant=who.sees, status=status, before=before, limit=limit)
        for head in await parts.store.heads([session for session, _ in page]):
            if _matches(head, status, engine, labels):
                found.append(head)
                if len(found) == limit:
                    return Listed(heads=found, cursor=head.created)
        scanned += len(page)
        if len(page) < limit:
            return Listed(heads=found, cursor=0)
        before = page[-1][1]
        if scanned >= SCANNED_AT_ONCE:
            return Listed(heads=found, cursor=before)


def _matches(head: Head, status: str, engine: str, labels: Mapping[str, str]) -> bool:
    return (
        (not status or head.status == status)
        and (not engine or engine in head.engines)
        and all(head.labels.get(name) == value for name, value in labels.items())
    )


async def _record(parts: Parts, session: str) -> SessionRecord:
    check_id(session)
    record = await parts.store.read(session)
    if record is None:
        raise unknown(session)
    return record


async def _with_stored(parts: Parts, session: str, channel: str) -> SessionRecord:
    record = await _record(parts, session)
    stored = [name for name, spec in record.plan.channels.items() if spec.stored]
    _check_stored(channel, stored)
    return record


def _check_stored(channel: str, stored: Sequence[str]) -> None:
    if channel not in stored:
        shown = channel[:64] if is_name(channel[:64]) else repr(channel[:64])
        has = f"; it has: {', '.join(stored)}" if stored else ""
        raise UnknownError.because(f"the session stores no results of channel {shown}{has}")


async def _status_history(parts: Parts, session: str) -> list[Entry]:
    changes: list[Entry] = []
    after = ""
    for _ in range(HISTORY_PAGES):
        entries = await parts.store.history(session, after=after)
        if not entries:
            break
        changes += [entry for entry in entries if entry.fields["k"] == "session"]
        after = entries[-1].id
    return changes


async def is_ready(parts: Parts, *, within: float) -> Mapping[str, str]:
    """Return part -> what is wrong with it, empty when it is fine."""
    kafka = parts.settings.system.kafka
    state = {"redis": "", "blobs": "", **({"kafka": ""} if kafka else {})}
    try:
        async with asyncio.timeout(within):
            await parts.store.ping()
    except TimeoutError:
        state["redis"] = f"no answer within {within:g} s"
    except BlueEngineError as exc:
        state["redis"] = str(exc)
    try:
        async with asyncio.timeout(within):
            await asyncio.to_thread(parts.blobs.check)
    except TimeoutError:
        state["blobs"] = f"no answer within {within:g} s"
    except BlueEngineError as exc:
        state["blobs"] = str(exc)
    if kafka:
        from blueengine.transport import kafka_topics  # noqa: PLC0415 - slow, and seldom used

        try:
            async with asyncio.timeout(within), kafka_topics.topics(kafka) as topics:
                await topics.ping()
        except TimeoutError:
            state["kafka"] = f"no answer within {within:g} s"
        except BlueEngineError as exc:
            state["kafka"] = str(exc)
    return state
