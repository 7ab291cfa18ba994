"""A keep-alive HTTP/1.1 client that does as little as it can: POST JSON, get the body's bytes.

Its cost is part of every number of ours. It knows just what the gateway sends (a Content-Length
with every answer) and fails on anything else.
"""

import asyncio
from typing import Final, cast

from bench.errors import BenchError

_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length: "


class Connection(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self) -> None:
        """Not connected; see ``connect``."""
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._received = b""
        self._needed = 0
        self._body_at = 0
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def connect(cls, port: int) -> "Connection":
        """Connect to a gateway on this machine."""
        _, protocol = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return protocol

    async def send(self, request: bytes) -> tuple[int, bytes]:
        """Send a request and return status and body of its answer."""
        if self._transport is None or self._transport.is_closing():
            raise BenchError("the gateway closed the connection")
        self._answer = self._loop.create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Disconnect."""
        if self._transport:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what waits."""
        if self._answer and not self._answer.done():
            self._answer.set_exception(BenchError(f"the gateway closed the connection: {exc}"))

    def data_received(self, data: bytes) -> None:
        """Collect an answer until it is whole."""
        self._received = self._received + data if self._received else data
        if not self._needed:
            end = self._received.find(_END)
            if end < 0:
                return
            at = self._received.index(_LENGTH, 0, end) + len(_LENGTH)
            stop = self._received.index(b"\r", at)
            self._body_at = end + len(_END)
            self._needed = self._body_at + int(self._received[at:stop])
        if len(self._received) < self._needed:
            return
        status, body = int(self._received[9:12]), self._received[self._body_at : self._needed]
        self._received, self._needed = b"", 0
        if self._answer and not self._answer.done():
            self._answer.set_result((status, body))


def post(path: str, body: bytes) -> bytes:
    """Return a POST request as bytes."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
