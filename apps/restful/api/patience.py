"""Clients that take for ever: a connection is closed when its request does not come.

A request's head must be there within ``HEAD_SECONDS`` and ``HEAD_BYTES``; a body must come at
``BODY_RATE`` at least, looked at every ``LOOK_SECONDS`` (not while the gateway itself has stopped
reading). Who is slower gets 408, a head that is too large 431. A request that comes in one piece, as
nearly all do, costs no timer.
"""

import asyncio
from typing import Any, Final

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from apps.restful.api.whole import Whole

HEAD_BYTES: Final = 64 * 1024

_REFUSAL: Final = (
    "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {size}\r\n"
    "connection: close\r\n\r\n{body}"
)
_BODY: Final = '{{"status":"error","message":"{msg}","data":{{"errors":[{{"loc":"","msg":"{msg}","type":"{kind}"}}]}}}}'
SLOW_HEAD: Final = ("408 Request Timeout", "the head of the request did not come", "too-slow")
SLOW_BODY: Final = ("408 Request Timeout", "the body of the request comes too slowly", "too-slow")
LARGE_HEAD: Final = (
    "431 Request Header Fields Too Large",
    f"the head of a request may have at most {HEAD_BYTES} bytes",
    "head-too-large",
)


class PatientProtocol(HttpToolsProtocol):
    """HTTP/1.1 with an end to patience."""

    HEAD_SECONDS = 20.0
    LOOK_SECONDS = 10.0
    BODY_RATE = 500.0
    """Bytes per second."""

    def __init__(self, *args: Any, **more: Any) -> None:
        """Wait for nothing yet."""
        super().__init__(*args, **more)
        self._timer: asyncio.TimerHandle | None = None
        self._in_head = True
        self._in_body = False
        self._head_size = 0
        self._body_size = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait(self.HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, and see what is still to come."""
        before = self._head_size if self._in_head else 0
        super().data_received(data)
        self._head_size = before + len(data)
        if self._in_head and self._head_size > HEAD_BYTES:
            self._refuse(LARGE_HEAD)
        elif self._in_head or self._in_body:
            # a WebSocket has a protocol of its own by now
            mine = self.transport.get_protocol() is self and not self.transport.is_closing()
            if self._timer is None and mine:
                self._wait(self.HEAD_SECONDS if self._in_head else self.LOOK_SECONDS)
        elif self._timer is not None:
            self._stop_waiting()

    def on_message_begin(self) -> None:
        """Begin to read a head."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Go from the head to the body."""
        self._in_head, self._in_body, self._body_size = False, True, 0
        self._stop_waiting()
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        super()._start_asgi_task(cycle, Whole(app, cycle))

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._body_size += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Have all of a request."""
        self._in_body = False
        super().on_message_complete()

    def _wait(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self._look)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self._in_head:
            self._refuse(SLOW_HEAD)
        elif self._in_body:
            came, self._body_size = self._body_size, 0
            if came < self.BODY_RATE * self.LOOK_SECONDS and not self.flow.read_paused:
                self._refuse(SLOW_BODY)
            else:
                self._wait(self.LOOK_SECONDS)

    def _refuse(self, why: tuple[str, str, str]) -> None:
        """Close the connection; with an answer, where one is waited for and none has begun."""
        self._stop_waiting()
        cycle: RequestResponseCycle | None = self.cycle
        if self._in_head:
            waited_for = self._head_size > 0 and (cycle is None or cycle.response_complete)
        else:
            waited_for = cycle is not None and not cycle.response_started
        if waited_for:
            status, msg, kind = why
            body = _BODY.format(msg=msg, kind=kind)
            text = _REFUSAL.format(status=status, size=len(body), body=body)
            self.transport.write(text.encode())
        self.transport.close()
