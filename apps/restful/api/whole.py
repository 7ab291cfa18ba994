"""Answers that are there as a whole leave in one write, which wakes the client once.

uvicorn writes the head of an answer when it hears of it, and checks each header each time. Here the
head waits for the body; headers that were checked before are kept as they are written. Whatever is
not simple (streams, HEAD, headers about the connection) is left to uvicorn.
"""

from functools import lru_cache
from typing import Final

from uvicorn._types import ASGISendEvent, HTTPResponseStartEvent
from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    RequestResponseCycle,
)

_UVICORNS: Final = frozenset({b"connection", b"transfer-encoding"})


class WholeAnswers(RequestResponseCycle):
    """A request and its answer."""

    _start: HTTPResponseStartEvent | None = None
    """Head of an answer whose length is known, until there is more of it. To uvicorn the answer has
    not begun: should the application fail meanwhile, its client is told so."""

    async def send(self, message: ASGISendEvent) -> None:
        """Write what the application says, a whole answer at once."""
        if message["type"] == "http.response.start" and _has_length(message):
            self._start = message
            return
        if (start := self._start) is not None:
            self._start = None
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                lines = self._lines(start, message["body"])
                if lines and not (self.flow.write_paused or self.disconnected):
                    self._write(lines, message["body"])
                    return
            await super().send(start)
        await super().send(message)

    def _lines(self, start: HTTPResponseStartEvent, body: bytes) -> list[bytes]:
        """Return the head in front of this body; nothing when it is for uvicorn to write."""
        if self.access_log or self.response_started or self.scope["method"] == "HEAD":
            return []
        if (b"content-length", b"%d" % len(body)) not in start["headers"]:
            return []
        lines = [STATUS_LINE[start["status"]]]
        lines += [_line(*header) for header in self.default_headers]
        lines += [_line(*header) for header in start["headers"]]
        return lines if b"" not in lines else []

    def _write(self, lines: list[bytes], body: bytes) -> None:
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        lines += (b"\r\n", body)
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.transport.write(b"".join(lines))
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


def _has_length(message: HTTPResponseStartEvent) -> bool:
    return any(name == b"content-length" for name, _ in message["headers"])


@lru_cache(maxsize=1024)
def _line(name: bytes, value: bytes) -> bytes:
    """Return a header as it is written; nothing when it is one for uvicorn to look at."""
    if HEADER_RE.search(name) or HEADER_VALUE_RE.search(value) or name.lower() in _UVICORNS:
        return b""
    return b"%b: %b\r\n" % (name.lower(), value)
