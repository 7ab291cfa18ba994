"""Both directions of a session on one WebSocket.

Out: the session's events, its results themselves, and what taps show. In: pushes to the channels
of an interactive session. Nothing is queued in memory: events and results are read from Redis as
fast as the client takes them, and a frame from the client is read when the one before it has found
room with the engines.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect

from apps.restful.api import body, convert, door, problems, render, sse
from apps.restful.api.routes_files import word
from apps.restful.api.rules import WEBSOCKET
from apps.restful.service import feed, push
from apps.restful.service.access import Who, check_scope
from apps.restful.service.answer import load_inline
from apps.restful.service.errors import (
    InvalidError,
    MalformedError,
    TooLargeError,
    UnauthorizedError,
)
from apps.restful.service.parts import Parts
from apps.restful.service.taps import Watcher
from apps.sessions.live import Target
from apps.sessions.results import result
from apps.sessions.store import Entry
from blueengine.datatypes.names import INLINE
from blueengine.errors import BlueEngineError
from blueengine.transport.blobs import BlobError
from blueengine.wire.access import Scope
from blueengine.wire.envelope import Stored
from blueengine.wire.lifecycle import TERMINAL

log = logging.getLogger(__name__)

ENDED: Final = 1000
RESTART: Final = 1012
"""The gateway stops; the client connects again with the last id it saw."""
AWAY: Final = 1013
"""Redis is away; the client tries again later."""
NO_KEY: Final = 1008
"""The key is no longer valid."""
BROKEN: Final = 1011
"""An error of the platform."""
LARGEST: Final = 1 << 20
"""Bytes of a binary result that is sent as a frame; of a larger one only its URL is."""
PAGE: Final = 100


class Frame(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a client sends as text."""

    type: str
    """``push`` | ``end``."""
    channel: str = ""
    payload: Any = msgspec.UNSET
    binary: bool = False
    """The payload is the binary frame that follows."""
    content_type: str = ""
    name: str = ""
    sequence: int | None = None
    key: str = ""
    ref: Any = None
    """Comes back in the answer to this frame."""


class Socket:
    """One client's connection to one session."""

    def __init__(
        self,
        websocket: WebSocket,
        parts: Parts,
        who: Who,
        session: str,
        *,
        after: str,
        watcher: Watcher | None,
        results: bool,
    ) -> None:
        """Serve ``session`` over an accepted ``websocket``."""
        self._websocket = websocket
        self._parts = parts
        self._who = who
        self._session = session
        self._after = after
        self._watcher = watcher
        self._results = results
        self._sending = asyncio.Lock()
        self._attempt = 1
        self._sent: dict[str, int] = {}

    async def run(self) -> None:
        """Serve until the session has ended, the client is gone, or the gateway stops."""
        async with contextlib.AsyncExitStack() as stack:
            if self._watcher is not None:
                await stack.enter_async_context(self._watcher)
            tasks = [
                asyncio.ensure_future(self._send_events()),
                asyncio.ensure_future(self._take_frames()),
            ]
            if self._watcher is not None:
                tasks.append(asyncio.ensure_future(self._send_copies(self._watcher)))
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            code = ENDED
            for task in tasks:
                if task.cancelled() or (exc := task.exception()) is None:
                    continue
                if isinstance(exc, WebSocketDisconnect):
                    return
                code = self._code(exc)
            if self._parts.pokes.closing:
                code = RESTART
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                await self._websocket.close(code, _REASONS[code])

    def _code(self, exc: BaseException) -> int:
        if isinstance(exc, BlueEngineError) and problems.status_of(exc) == 503:
            log.warning("the socket of %s broke off: %s", self._session, exc)
            return AWAY
        if isinstance(exc, UnauthorizedError):
            return NO_KEY
        log.error("the socket of %s broke", self._session, exc_info=exc)
        return BROKEN

    # -- out --------------------------------------------------------------------------------------

    async def _send(self, frame: dict[str, Any], data: bytes | None = None) -> None:
        """Send a frame, and the binary one that belongs to it right behind it."""
        text = orjson.dumps(frame).decode()
        async with self._sending:
            await self._websocket.send_text(text)
            if data is not None:
                await self._websocket.send_bytes(data)

    async def _send_events(self) -> None:
        if self._after and self._results:
            await self._count_sent()
        events = feed.follow(
            self._parts, self._session, after=self._after, alive_every=sse.ALIVE_EVERY
        )
        async with contextlib.aclosing(events):
            async for entry in events:
                await self._parts.keys.check(self._who)
                if entry is None:
                    continue  # the protocol's own pings keep the connection alive
                if self._results:
                    await self._send_results(entry)
                name, data = sse.named(self._session, entry)
                await self._send({"type": "event", "id": entry.id, "event": name, "data": data})
                if self._watcher and entry.fields.get("st") == "processing":
                    await self._watcher.arm()

    async def _count_sent(self) -> None:
        """Find out how many results a client has that comes back."""
        last = _order(self._after)
        async for entry in self._history():
            if _order(entry.id) > last:
                return
            self._note(entry)
            if entry.fields["k"] == "results":
                self._sent[entry.fields["c"]] = int(entry.fields["count"])

    async def _history(self) -> AsyncIterator[Entry]:
        after = ""
        while entries := await self._parts.store.history(self._session, after=after):
            for entry in entries:
                yield entry
            after = entries[-1].id

    def _note(self, entry: Entry) -> None:
        if entry.attempt != self._attempt:  # its results begin anew
            self._attempt = entry.attempt
            self._sent.clear()

    async def _send_results(self, entry: Entry) -> None:
        """Send the results an event tells of, before it; at the end, all that are left."""
        self._note(entry)
        if entry.fields["k"] == "results":
            await self._send_channel(entry.fields["c"], int(entry.fields["count"]))
        elif entry.fields["k"] == "session" and entry.fields["st"] in TERMINAL:
            for channel in await self._parts.store.stored_channels(self._session) or ():
                count = await self._parts.store.result_count(self._session, channel)
                await self._send_channel(channel, count)

    async def _send_channel(self, channel: str, count: int) -> None:
        while (at := self._sent.get(channel, 0)) < count:
            items = await self._parts.store.results(
                self._session, channel, after=at, limit=min(PAGE, count - at)
            )
            if not items:
                return
            if any(item.blob and item.type in INLINE for item in items):
                found = await asyncio.to_thread(load_inline, self._parts.blobs, {channel: items})
                items = found[channel]
            for index, item in enumerate(items, start=at):
                await self._send_result(channel, index, item)
                self._sent[channel] = index + 1

    async def _send_result(self, channel: str, index: int, item: Stored) -> None:
        frame = {"type": "result", "channel": channel, "index": index, "attempt": self._attempt}
        value = result(self._session, channel, index, item)
        if item.type in INLINE and not item.blob:
            await self._send({**frame, "value": value})
            return
        data: bytes | None = None
        if (item.size or len(item.payload)) <= LARGEST:
            data = await asyncio.to_thread(self._bytes_of, item)
        await self._send({**frame, **value, "binary": data is not None}, data)

    def _bytes_of(self, item: Stored) -> bytes | None:
        if not item.blob:
            return item.payload
        try:
            return self._parts.blobs.read(item.blob)
        except (BlobError, OSError):
            return None  # its URL says that it is gone

    async def _send_copies(self, watcher: Watcher) -> None:
        while True:
            await self._send({"type": "tap", "data": render.copy(await watcher.next())})

    # -- in ---------------------------------------------------------------------------------------

    async def _take_frames(self) -> None:
        """Answer each frame in turn. The next is read when this one is done with."""
        while True:
            ref, frame = None, None
            try:
                frame = self._parse(await self._receive())
                ref = frame.ref
                answer = await self._do(frame)
                self._write_down(frame, 200 if answer["repeated"] else 202)
            except BlueEngineError as exc:
                status = problems.status_of(exc)
                if frame is not None:
                    self._write_down(frame, status, exc.code)
                if status in {401, 500}:
                    raise
                answer = {
                    "type": "error",
                    "status": status,
                    "message": str(exc),
                    "errors": problems.shown(exc),
                }
            await self._send({**answer, "ref": ref})

    def _write_down(self, frame: Frame, status: int, code: str = "") -> None:
        """Write a frame into the audit log: what was to be done to which channel, nothing of it."""
        if self._parts.audit.is_kept:
            route = self._websocket.scope["route"].path
            facts = door.line(
                self._parts,
                self._websocket.scope,
                method=WEBSOCKET,
                route=route,
                status=status,
                code=code,
            )
            self._parts.audit.write(
                {**facts, "frame": frame.type[:40], "channel": frame.channel[:64]}
            )

    async def _receive(self) -> str | bytes:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        text: str | None = message.get("text")
        return text if text is not None else message["bytes"]

    def _parse(self, received: str | bytes) -> Frame:
        if isinstance(received, bytes):
            msg = 'a binary frame comes behind its {"type": "push", "binary": true, …}'
            raise MalformedError.because(msg)
        limit = self._who.limit(self._parts.settings.max_body)
        if len(received) > limit:
            raise TooLargeError.because(f"a frame of text may have at most {limit} bytes")
        try:
            return msgspec.convert(body.parse(received.encode()), Frame)
        except msgspec.ValidationError as exc:
            raise InvalidError.because(f"this is no frame: {exc}", kind="bad-frame") from exc

    async def _do(self, frame: Frame) -> dict[str, Any]:
        data: str | bytes = await self._receive() if frame.binary else b""
        if isinstance(data, str):
            raise MalformedError.because("the frame behind this one must be binary")
        if self._who.key:  # a frame counts as a request, and the key may have been revoked
            await self._parts.keys.who(door.key_in(self._websocket.scope))
        check_scope(self._who, Scope.SUBMIT)
        target = await push.find(self._parts, self._session, frame.channel)
        match frame.type:
            case "end":
                accepted = await push.end(self._parts, target, frame.channel)
                return _ack(accepted, ended=True)
            case "push":
                message = await self._message(frame, target, data)
            case other:
                msg = f"a frame is of type push or end, not {other[:40]!r}"
                raise InvalidError.because(msg, loc="/type", kind="bad-frame")
        if frame.key:
            convert.check_key(frame.key)
        wanted = push.Wanted(
            number=frame.sequence, key=frame.key, wait=self._parts.settings.max_wait
        )
        accepted = await push.push(self._parts, target, frame.channel, message, wanted)
        return _ack(accepted, ended=False)

    async def _message(self, frame: Frame, target: Target, data: bytes) -> push.Message:
        if not frame.binary:
            if frame.payload is msgspec.UNSET:
                msg = 'a push has a "payload", or "binary": true and a binary frame behind it'
                raise InvalidError.because(msg, loc="/payload", kind="missing")
            return await push.from_json(
                self._parts, target, frame.channel, frame.payload, self._who
            )
        return await push.from_bytes(
            self._parts,
            target,
            frame.channel,
            _once(data),
            content_type=word(frame.content_type, "/contentType"),
            name=word(frame.name.rpartition("/")[2], "/name"),
            who=self._who,
        )


_REASONS: Final = {
    ENDED: "the session has ended",
    NO_KEY: "the API key is no longer valid",
    RESTART: "the gateway stops; connect again with ?after=",
    BROKEN: "an error of the platform; its log says more",
    AWAY: "Redis is away; try again later with ?after=",
}


def _ack(accepted: push.Accepted, *, ended: bool) -> dict[str, Any]:
    return {
        "type": "ack",
        "channel": accepted.channel,
        "sequence": accepted.number,
        "ended": ended,
        "repeated": accepted.repeated,
    }


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _order(event_id: str) -> tuple[int, int, int]:
    stream, _, index = event_id.partition(".")
    at, _, number = stream.partition("-")
    return int(at), int(number), int(index)
