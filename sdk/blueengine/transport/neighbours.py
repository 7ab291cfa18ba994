"""Data channels between engines of one host: straight from one process to the other.

Each instance listens on a Unix socket whose name follows from its id. A writer that finds the reader
there sends over it; what it writes to others goes the *far* way. The socket ends with a process, not
before, and what the kernel has taken reaches the reader whatever becomes of the writer. So a message
is delivered once the kernel has it, and nothing is ever sent twice.

The sockets are abstract ones of Linux: nothing lies on disk, and the kernel tells which user is at the
other end. Only processes of the same user take part.
"""

import asyncio
import logging
import os
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable, Iterable
from hashlib import blake2s
from typing import Final, cast

import msgspec

from blueengine.errors import SettingsError
from blueengine.kit.framing import Splitter, framed
from blueengine.kit.redis_link import Reply
from blueengine.transport.base import Run, Transport, refusal
from blueengine.transport.redis_streams import SETTING
from blueengine.wire.envelope import Header

log = logging.getLogger(__name__)

POSSIBLE: Final = sys.platform == "linux"
BACKLOG: Final = 1024
REMEMBERED: Final = 10_000
"""Readers that are known to be elsewhere."""
AT_ONCE: Final = 1 << 20
"""Bytes that one write may hand to the kernel, so that a large message holds up nothing else."""

_PEER: Final = struct.Struct("3i")
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[Header, list[bytes]])


def socket_name(platform: str, instance: str) -> str:
    """Return the name of an instance's socket.

    ``platform`` is the same text for all instances that may be neighbours.
    """
    whole = f"{platform}\0{instance}".encode()
    digest = blake2s(whole, digest_size=16)  # the length of a name is limited
    return f"\0blueengine/{digest.hexdigest()}"


class Neighbours:
    """The transport of one instance that has neighbours."""

    separate = True

    def __init__(
        self, far: Transport, platform: str, instance: str, *, max_message_bytes: int
    ) -> None:
        """Reach readers on this host directly, others over ``far``; see ``socket_name``."""
        self._far = far
        self._limit = max_message_bytes
        self._platform = platform
        self._instance = instance
        self._server: asyncio.Server | None = None
        self._readers: set[_Reading] = set()
        self._lanes: dict[str, _Lane | None] = {}
        """Reader -> the way to it; None for one that is not on this host."""
        self.on_runs: Callable[[Iterable[Run]], None] = _drop
        """Takes what neighbours send, in the turn of the loop that reads it; ``receive`` gives the rest."""
        self._delivered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._delivered.set_result(b"")

    async def open(self) -> None:
        """Listen, and open the far way.

        An instance is in attendance only when this is done: who is to write to it will find it.

        Raises:
            SettingsError: Another process on this host is this instance.
        """
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(socket_name(self._platform, self._instance))
        except OSError as exc:
            sock.close()
            raise SettingsError(
                f"cannot listen as {self._instance} ({exc}); where BLUEENGINE_INSTANCE_ID is set, "
                "no two processes may have the same"
            ) from exc
        self._server = await asyncio.get_running_loop().create_unix_server(
            lambda: _Reading(self, self._readers), sock=sock, backlog=BACKLOG
        )
        await self._far.open()

    def send(
        self, instance: str, header: Header, payload: bytes, *more: bytes
    ) -> "asyncio.Future[Reply]":
        """Hand a run to the reader's socket, or send it the far way."""
        lane = self._lane_to(instance)
        if lane is None:
            return self._far.send(instance, header, payload, *more)
        if above := refusal(self._limit, SETTING, header, payload, *more):
            return above
        return lane.send(_frame(header, payload, *more)) or self._delivered

    def announce(self, instance: str, header: Header) -> None:
        """Hand the header to the reader's socket, if it has one."""
        lane = self._lane_to(instance)
        if lane is not None:
            lane.send(_frame(header))

    def _lane_to(self, instance: str) -> "_Lane | None":
        return self._lanes[instance] if instance in self._lanes else self._connect(instance)

    def _connect(self, instance: str) -> "_Lane | None":
        lane = None
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            sock.connect(socket_name(self._platform, instance))
            if _is_own(sock):
                lane = _Lane(sock, lambda: self._lanes.pop(instance, None))
        except OSError:  # it is on another host
            pass
        if lane is None:
            sock.close()
            if len(self._lanes) >= REMEMBERED:
                self._forget_one()
        self._lanes[instance] = lane
        return lane

    def _forget_one(self) -> None:
        for instance, lane in self._lanes.items():
            if lane is None:
                del self._lanes[instance]
                return

    async def receive(self) -> list[Run]:
        """Wait for messages that come the far way."""
        return await self._far.receive()

    async def close(self) -> None:
        """Leave the neighbours, and close the far way."""
        if self._server is not None:
            self._server.close()
        for reader in list(self._readers):
            reader.close()
        for lane in list(self._lanes.values()):
            if lane is not None:
                lane.close()
        await self._far.close()


def _frame(header: Header, *payloads: bytes) -> bytes:
    return framed(_encoder.encode((header, payloads)))


class _Lane:
    """The way to one neighbour."""

    def __init__(self, sock: socket.socket, on_gone: Callable[[], object]) -> None:
        """Write to ``sock``; ``on_gone`` is told when there is nobody at the other end any more."""
        self._sock = sock
        self._on_gone = on_gone
        self._loop = asyncio.get_running_loop()
        self._unsent = bytearray()
        self._written = 0
        """Bytes of what was once unsent."""
        self._waiting: deque[tuple[int, asyncio.Future[Reply]]] = deque()
        """How many of those have to be written until something is."""
        self._loop.add_reader(sock, self._on_readable)

    def send(self, frame: bytes) -> "asyncio.Future[Reply] | None":
        """Send a frame; None when the kernel has it, or nobody is there to read it."""
        if not self._unsent:
            try:
                sent = self._sock.send(frame)
            except BlockingIOError:
                sent = 0
            except OSError:  # the reader is gone, and its sessions end for that reason
                self._lose()
                return None
            if sent == len(frame):
                return None
            self._unsent += memoryview(frame)[sent:]
            self._loop.add_writer(self._sock, self._write)
        else:
            self._unsent += frame
        future: asyncio.Future[Reply] = self._loop.create_future()
        self._waiting.append((self._written + len(self._unsent), future))
        return future

    def _write(self) -> None:
        try:
            with memoryview(self._unsent) as unsent:
                sent = self._sock.send(unsent[:AT_ONCE])
        except BlockingIOError:
            return
        except OSError:
            self._lose()
            return
        del self._unsent[:sent]
        self._written += sent
        if not self._unsent:
            self._loop.remove_writer(self._sock)
        while self._waiting and self._waiting[0][0] <= self._written:
            self._settle()

    def _settle(self) -> None:
        _, future = self._waiting.popleft()
        if not future.done():
            future.set_result(b"")

    def _on_readable(self) -> None:
        """A reader says nothing: this is its end."""
        self._lose()

    def _lose(self) -> None:
        """Drop what is for a reader that is gone: its sessions end for that reason."""
        self.close()
        while self._waiting:
            self._settle()

    def close(self) -> None:
        """Forget the way; what is not written is not said to have arrived."""
        if self._sock.fileno() < 0:
            return
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        self._unsent.clear()
        self._on_gone()


class _Reading(asyncio.Protocol):
    """A neighbour that writes here."""

    def __init__(self, here: Neighbours, readers: "set[_Reading]") -> None:
        """Read for ``here``; be one of its ``readers`` while the connection is there."""
        self._here = here
        self._readers = readers
        self._splitter = Splitter()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take part, if it is one of ours."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class is none by name
        if _is_own(transport.get_extra_info("socket")):
            self._readers.add(self)
        else:
            log.warning("another user's process wanted to write to this engine; it may not")
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Hand on every run that is whole."""
        if self in self._readers:
            try:
                self._here.on_runs([_decoder.decode(body) for body in self._splitter.feed(data)])
            except (msgspec.MsgspecError, UnicodeDecodeError):
                log.exception("a neighbour said what this version cannot read")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it; half a message at the end is that of a writer that died over it."""
        self._readers.discard(self)

    def close(self) -> None:
        """Listen no longer."""
        if self._transport is not None:
            self._transport.abort()


def _is_own(sock: socket.socket) -> bool:
    """Whether the process at the other end is of the same user."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    _, user, _ = _PEER.unpack(raw)
    return bool(user == os.geteuid())


def _drop(_runs: Iterable[Run]) -> None:
    log.warning("messages came before there was anybody to take them")
