"""Answers that are there as a whole leave in one write, which wakes the client once.

uvicorn writes the head of an answer when it hears of it, and checks each header each time. Here the
head waits for the body; headers that were checked before are kept as they are written. Whatever is
not simple (streams, HEAD, headers about the connection) is left to uvicorn.
"""

from collections.abc import Awaitable
from functools import lru_cache
from typing import Final

from uvicorn._types import (
    ASGI3Application,
    ASGIReceiveCallable,
    ASGISendCallable,
    ASGISendEvent,
    HTTPResponseStartEvent,
    Scope,
)
from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    RequestResponseCycle,
)

_UVICORNS: Final = frozenset({b"connection", b"transfer-encoding"})


class Whole:
    """Stands between an application and the answer to one request."""

    __slots__ = ("_app", "_cycle", "_send", "_start")

    def __init__(self, app: ASGI3Application, cycle: RequestResponseCycle) -> None:
        """Write what ``app`` says in ``cycle``."""
        self._app = app
        self._cycle = cycle
        self._start: HTTPResponseStartEvent | None = None
        # Head of an answer whose length is known, until there is more of it. To uvicorn the answer has
        # not begun: should the application fail meanwhile, its client is told so.

    def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> Awaitable[None]:
        """Have the application answer."""
        self._send = send
        return self._app(scope, receive, self.send)

    async def send(self, message: ASGISendEvent) -> None:
        """Write what the application says, a whole answer at once."""
        if message["type"] == "http.response.start" and _has_length(message):
            self._start = message
            return
        if (start := self._start) is not None:
            self._start = None
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                lines = self._lines(start, message["body"])
                if lines:
                    self._write(lines, message["body"])
                    return
            await self._send(start)
        await self._send(message)

    def _lines(self, start: HTTPResponseStartEvent, body: bytes) -> list[bytes]:
        """Return the head in front of this body; nothing when it is for uvicorn to write."""
        cycle = self._cycle
        if cycle.response_started or cycle.disconnected or cycle.flow.write_paused:
            return []
        if cycle.access_log or cycle.scope["method"] == "HEAD":
            return []
        if (b"content-length", b"%d" % len(body)) not in start["headers"]:
            return []
        lines = [STATUS_LINE[start["status"]]]
        lines += [_line(*header) for header in cycle.default_headers]
        lines += [_line(*header) for header in start["headers"]]
        return lines if b"" not in lines else []

    def _write(self, lines: list[bytes], body: bytes) -> None:
        cycle = self._cycle
        if not cycle.keep_alive:
            lines.append(b"connection: close\r\n")
        lines += (b"\r\n", body)
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.transport.write(b"".join(lines))
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()


def _has_length(message: HTTPResponseStartEvent) -> bool:
    return any(name == b"content-length" for name, _ in message["headers"])


@lru_cache(maxsize=1024)
def _line(name: bytes, value: bytes) -> bytes:
    """Return a header as it is written; nothing when it is one for uvicorn to look at."""
    if HEADER_RE.search(name) or HEADER_VALUE_RE.search(value) or name.lower() in _UVICORNS:
        return b""
    return b"%b: %b\r\n" % (name.lower(), value)
