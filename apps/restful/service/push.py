"""More input for a session that runs: check it, put it away if it is large, hand it over once.

A message is small enough for Redis or becomes a file in the blob folder, where it stays until all
readers have consumed it. What is refused leaves nothing behind.
"""

import asyncio
import codecs
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import orjson

from apps.restful.service import start_data
from apps.restful.service.access import Who
from apps.restful.service.errors import (
    ConflictError,
    InvalidError,
    MalformedError,
    MediaTypeError,
    NoRoomError,
    TooLargeError,
    UnknownError,
)
from apps.restful.service.parts import Parts
from apps.restful.service.read import check_id, unknown
from apps.sessions.live import NewPush, Pushed, Target
from blueengine import ids
from blueengine.datatypes.names import INLINE, JSON, TEXT
from blueengine.graph.dag import Feeding
from blueengine.graph.payload import Misfit, fit
from blueengine.transport.blobs import INLINE_LIMIT, pushed_ref, result_ref
from blueengine.wire import codec
from blueengine.wire.envelope import Meta, Stored
from blueengine.wire.plan import Feed

BLOB_SHARE: Final = 8
"""A byte in the blob folder counts as one of so many in Redis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How a client wants its message taken."""

    number: int | None = None
    """Which message of the channel it is to the client; None: the next one."""
    key: str = ""
    """Idempotency-Key."""
    wait: float = 0.0
    """Seconds to wait for room."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a message or of the end of a channel."""

    channel: str
    number: int
    repeated: bool


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it will travel: its bytes, or the blob that holds them."""

    payload: bytes
    meta: bytes = b""
    blob: str = ""
    size: int = 0
    digest: str = ""


async def find(parts: Parts, session: str, channel: str) -> Target:
    """Return a session whose channel may be pushed to.

    Raises:
        UnknownError: No such session, or no such channel.
        ConflictError: It is not interactive, or an engine writes the channel.
    """
    check_id(session)
    target = await parts.live.target(session)
    if target is None:
        raise unknown(session)
    if not target.interactive:
        msg = 'the session is not interactive; submit it with "interactive": true to push to it'
        raise ConflictError.because(msg, kind="not-interactive")
    has = target.channels.get(channel)
    if has is None or not (has.readers or has.written):
        known = ", ".join(target.pushable)
        msg = f"the session has no channel {channel[:80]!r} to push to; it has: {known}"
        raise UnknownError.because(msg, loc="/path/name", kind="unknown-channel")
    if has.written:
        msg = f"channel {channel!r} is written by an engine, so the client cannot push to it"
        raise ConflictError.because(msg, loc="/path/name", kind="written-by-engine")
    return target


async def from_json(parts: Parts, target: Target, channel: str, value: Any, who: Who) -> Message:
    """Return the message that a JSON value from ``who`` means: what start data of the channel may be.

    Raises:
        InvalidError: It fits no message of the channel's type.
    """
    kind = target.channels[channel].type
    try:
        payload = fit(kind, value)
    except Misfit as exc:
        loc = f"/{exc.key}" if exc.key else ""
        raise InvalidError.because(str(exc), loc=loc, kind="bad-payload") from exc
    start = await start_data.begin(
        [Feeding(channel, kind, payload, "")], parts.blobs, who, parts.fetcher
    )
    if start.faults:
        raise InvalidError(start.faults)
    ref = pushed_ref(target.session, ids.nanoid(parts.entropy))
    (feed,), (size,) = await start_data.put_at(start, ref), start.sizes
    digest = hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return Message(feed.payload, feed.meta, feed.blob, size, digest)


async def from_bytes(
    parts: Parts,
    target: Target,
    channel: str,
    chunks: AsyncIterator[bytes],
    *,
    content_type: str,
    name: str,
    who: Who,
) -> Message:
    """Return the message in a stream of bytes; what is large goes to a file as it comes.

    Raises:
        MediaTypeError: The channel takes JSON.
        MalformedError: The channel takes text, and this is none.
        TooLargeError: There is more than is accepted.
    """
    kind = target.channels[channel].type
    if kind == JSON:
        msg = f"channel {channel!r} takes JSON: send it as application/json"
        raise MediaTypeError.because(msg, loc="/header/Content-Type")
    settings = parts.settings
    limit = who.limit(settings.max_body if kind in INLINE else settings.max_upload)
    facts = _Facts(hashlib.sha256(f"{content_type}\0{name}\0".encode()), limit)
    taken = _checked(chunks, facts, is_text=kind == TEXT)
    held, ref = bytearray(), ""
    try:
        async for chunk in taken:
            held += chunk
            if facts.size > INLINE_LIMIT:
                ref = pushed_ref(target.session, ids.nanoid(parts.entropy))
                await parts.blobs.save(ref, _behind(bytes(held), taken))
                held.clear()
    except UnicodeDecodeError as exc:
        raise MalformedError.because(f"a Text channel takes UTF-8: {exc}") from exc
    meta = b""
    if kind != TEXT:
        meta = codec.encode(Meta(content_type=content_type, name=name))
    return Message(bytes(held), meta, ref, facts.size, facts.digest.hexdigest())


@dataclass
class _Facts:
    """What is known of a message while it comes."""

    digest: "hashlib._Hash"
    limit: int
    size: int = 0


async def _checked(
    chunks: AsyncIterator[bytes], facts: _Facts, *, is_text: bool
) -> AsyncIterator[bytes]:
    """Yield what comes as long as it may be a message."""
    check = codecs.getincrementaldecoder("utf-8")().decode
    async for chunk in chunks:
        facts.size += len(chunk)
        if facts.size > facts.limit:
            raise TooLargeError.because(f"a message may have at most {facts.limit} bytes")
        facts.digest.update(chunk)
        if is_text:
            check(chunk)
        yield chunk
    if is_text:
        check(b"", True)


async def _behind(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk


async def push(
    parts: Parts, target: Target, channel: str, message: Message, wanted: Wanted
) -> Accepted:
    """Hand a message over, once, after waiting for room if asked to.

    Raises:
        NoRoomError: The engines have not consumed what was pushed before.
        ConflictError: The session or the channel has ended, messages before this one are missing,
            or the key came with another message.
    """
    has = target.channels[channel]
    stored = None
    if has.stored:
        blob = ""
        if message.blob:
            blob = result_ref(target.session, channel, f"client-{message.blob.rpartition('/')[2]}")
            await asyncio.to_thread(parts.blobs.link, message.blob, blob)
        stored = Stored(has.type, message.payload, message.meta, blob, message.size)
    new = NewPush(
        channel=channel,
        feed=Feed(channel, message.payload, message.meta, message.blob),
        stored=stored,
        weight=len(message.payload) or message.size // BLOB_SHARE,
        number=wanted.number,
        key=wanted.key,
        key_hash=message.digest,
    )
    pushed: Pushed | None = None
    try:
        pushed = await _with_room(parts, target, new, wanted.wait)
    finally:
        if message.blob and (pushed is None or pushed.word != "ok"):
            # When nothing is known of it (Redis is away), the file may be in use: it stays until
            # the session is forgotten.
            if pushed is not None:
                await asyncio.to_thread(parts.blobs.remove, message.blob)
            if pushed is not None and stored is not None:
                await asyncio.to_thread(parts.blobs.remove, stored.blob)
    return _accepted(target, channel, pushed)


async def end(parts: Parts, target: Target, channel: str) -> Accepted:
    """Close a channel: nothing more comes.

    Raises:
        ConflictError: The session has ended.
    """
    return _accepted(target, channel, await parts.live.push(target, NewPush(channel=channel)))


async def _with_room(parts: Parts, target: Target, new: NewPush, wait: float) -> Pushed:
    wait = min(wait, parts.settings.max_wait)
    if wait <= 0:
        return await parts.live.push(target, new)
    loop = asyncio.get_running_loop()
    until = loop.time() + wait
    with parts.pokes.listen(target.session) as bell:
        while True:
            pushed = await parts.live.push(target, new, gateway=parts.pokes.gateway)
            if pushed.word != "full" or parts.pokes.closing:
                return pushed
            if not await bell.wait(until - loop.time()):
                return pushed


def _accepted(target: Target, channel: str, pushed: Pushed) -> Accepted:
    match pushed.word:
        case "ok" | "again":
            return Accepted(channel, pushed.number, pushed.word == "again")
        case "full":
            msg = f"the engines have not consumed what waits in channel {channel!r}; try again"
            raise NoRoomError.because(msg, loc="/path/name")
        case "gap":
            msg = f"messages of channel {channel!r} are missing: the next is number {pushed.number}"
            raise ConflictError.because(msg, loc="/query/sequence", kind="sequence-gap")
        case "closed":
            msg = f"channel {channel!r} has ended; nothing can be pushed to it any more"
            raise ConflictError.because(msg, loc="/path/name", kind="channel-ended")
        case "unread":
            msg = f"all engines that read channel {channel!r} have ended"
            raise ConflictError.because(msg, loc="/path/name", kind="channel-unread")
        case "conflict":
            msg = "this Idempotency-Key was used with another message; take a new key"
            raise ConflictError.because(
                msg, loc="/header/Idempotency-Key", kind="idempotency-conflict"
            )
        case "ended":
            msg = f"the session has ended: it is {pushed.status}"
            raise ConflictError.because(msg, kind="session-ended")
        case _:
            raise unknown(target.session)
