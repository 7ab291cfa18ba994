"""Server-sent events: a session's history on the line."""

import asyncio
import contextlib
import logging
import re
from typing import Any, Final

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from apps.restful.api import render
from apps.restful.api.problems import Documents
from apps.restful.service.access import Who
from apps.restful.service.feed import follow
from apps.restful.service.parts import Parts
from apps.restful.service.taps import Watcher
from apps.sessions.store import Entry
from blueengine.errors import BlueEngineError
from blueengine.kit import aio

log = logging.getLogger(__name__)

ALIVE_EVERY: Final = 15.0
"""Seconds without an event after which a comment is sent, so that nobody closes a quiet stream."""
EXAMPLE: Final = (
    "id: 1636105719575-0.0\n"
    "event: status\n"
    'data: {"status":"processing","at":"2021-11-05T09:48:39.575Z","attempt":1}\n\n'
)

DOCUMENTS: Final[Documents] = {
    200: {
        "content": {"text/event-stream": {"example": EXAMPLE}},
        "description": "Server-sent events up to the last status.",
    },
    204: {"description": "Nothing follows the Last-Event-ID: do not come back."},
}

_WORD: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_OURS: Final = frozenset({"status", "part", "results", "tap"})


def named(session: str, entry: Entry) -> tuple[str, dict[str, Any]]:
    """Return (name, data). A word an engine made up never passes for one of the platform's."""
    name, data = render.event(session, entry)
    if entry.fields["k"] == "notice" and (name in _OURS or not _WORD.fullmatch(name)):
        name = "notice"
    return name, data


def text(session: str, entry: Entry) -> bytes:
    """Return one event as it is on the line."""
    name, data = named(session, entry)
    head = f"id: {entry.id}\nevent: {name}\ndata: ".encode()
    return head + orjson.dumps(data) + b"\n\n"


class EventStream(Response):
    """A response that lasts as long as the session and the client do."""

    media_type = "text/event-stream"

    def __init__(
        self, parts: Parts, session: str, who: Who, *, after: str, watcher: Watcher | None = None
    ) -> None:
        """Keep the arguments; the stream begins when the response is sent."""
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._parts, self._session, self._who, self._after = parts, session, who, after
        self._watcher = watcher

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the session has ended or the client is gone."""
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        sending = asyncio.ensure_future(self._send_all(send))
        gone = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, gone):
                task.cancel()
            await asyncio.gather(sending, gone, return_exceptions=True)
        if not sending.cancelled():
            sending.result()

    async def _send_all(self, send: Send) -> None:
        await send(_body(b"retry: 1000\n\n"))
        try:
            if self._watcher is None:
                await self._send_events(send)
            else:
                await self._send_with_copies(send, self._watcher)
        except (BlueEngineError, TimeoutError) as exc:
            # The headers are out. The client comes back with the last id it saw.
            log.warning("the events of %s broke off: %s", self._session, exc)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_events(self, send: Send) -> None:
        events = follow(self._parts, self._session, after=self._after, alive_every=ALIVE_EVERY)
        async with contextlib.aclosing(events):
            async for entry in events:
                await self._parts.keys.check(self._who)
                line = b":\n\n" if entry is None else text(self._session, entry)
                await send(_body(line))
                if self._watcher and entry and entry.fields.get("st") == "processing":
                    await self._watcher.arm()

    async def _send_with_copies(self, send: Send, watcher: Watcher) -> None:
        async with watcher:
            copying = asyncio.ensure_future(self._send_copies(send, watcher))
            try:
                await self._send_events(send)
            finally:
                await aio.cancel(copying)

    async def _send_copies(self, send: Send, watcher: Watcher) -> None:
        """Send what is seen of channels: beside the events, without an id to resume from."""
        while True:
            data = orjson.dumps(render.copy(await watcher.next()))
            await send(_body(b"event: tap\ndata: " + data + b"\n\n"))


def _body(data: bytes) -> dict[str, object]:
    return {"type": "http.response.body", "body": data, "more_body": True}


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
