"""What the engines of a recorded session received."""

import asyncio
from dataclasses import dataclass

from apps.restful.service.errors import UnknownError
from apps.restful.service.parts import Parts
from apps.restful.service.read import check_id, unknown
from blueengine.transport.blobs import BlobError, recorded_blob, recorded_ref


@dataclass(frozen=True, slots=True)
class Kept:
    """Something in the blob store."""

    ref: str
    size: int


async def recording(parts: Parts, session: str, engine: str) -> Kept | None:
    """Return where it is kept what an engine received in the last attempt; None: nothing yet.

    Raises:
        UnknownError: No such session or engine in it, or it is not recorded.
    """
    attempt = await _attempt(parts, session, engine)
    return await _existing(parts, recorded_ref(session, attempt, engine))


async def payload(parts: Parts, session: str, engine: str, number: int) -> Kept:
    """Return where a payload is kept that a recording names by number.

    Raises:
        UnknownError: There is none.
    """
    attempt = await _attempt(parts, session, engine)
    kept = await _existing(parts, recorded_blob(session, attempt, engine, number))
    if kept is None:
        raise UnknownError.because(f"the recording of {engine!r} has no payload {number}")
    return kept


async def _attempt(parts: Parts, session: str, engine: str) -> int:
    check_id(session)
    record = await parts.store.read(session)
    if record is None:
        raise unknown(session)
    if engine not in record.plan.nodes:
        there = ", ".join(sorted(record.plan.nodes))
        raise UnknownError.because(f"the session has no engine {engine!r}; it has: {there}")
    if not record.plan.record:
        raise UnknownError.because(
            'the session was not recorded; submit it with "record": true, and replay the new one'
        )
    return record.attempt


async def _existing(parts: Parts, ref: str) -> Kept | None:
    try:
        return Kept(ref, await asyncio.to_thread(parts.blobs.size, ref))
    except BlobError:
        return None
