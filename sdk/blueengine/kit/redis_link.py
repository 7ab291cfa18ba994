"""One Redis connection shared by all tasks of a process, with every command pipelined.

Why not the pool of redis-py: it gives each command a connection of its own and costs about three
times what Redis itself takes (88 against 27 microseconds for a PING, one in flight). The protocol
work is still a library's (hiredis); what is here is the queue of commands that wait for a reply.

What is promised:

* Replies come in the order of the commands, and commands reach Redis in the order of ``send``.
* When the connection breaks, it is made anew and **every command without a reply is sent again, in
  order**. A command may therefore run twice: send only what does no harm twice.
* After ``patience`` seconds without a connection everything that waits fails with
  ``StoreAwayError``, and so does every new command until the connection is back. Trying goes on.
* A peer that is silent for ``reply_timeout`` seconds counts as gone.
"""

import asyncio
import hashlib
import logging
import socket
import ssl
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import hiredis

from blueengine.errors import (
    ReadOnlyStoreError,
    StoreAwayError,
    StoreReplyError,
)
from blueengine.kit.backoff import delays
from blueengine.kit.redis_address import RedisAddress
from blueengine.kit.redis_sentinel import find_primary

log = logging.getLogger(__name__)

Arg = str | bytes | int | float
Reply = Any  # RESP has no narrower type: int, bytes, None, or lists of these

_pack: Callable[[tuple[Arg, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]  # its stub means a tuple of one

_REFUSALS: Final = ("OOM", "READONLY", "MISCONF", "LOADING", "MASTERDOWN", "NOREPLICAS")
_CONNECT_SECONDS: Final = 5.0  # one try
_CLOSE_SECONDS: Final = 1.0
_TOGETHER: Final = 64  # commands that wait for a reply before they are sent all the same
_BAD_LOGIN: Final = ("WRONGPASS", "NOAUTH", "NOPERM")


@dataclass(frozen=True)
class Script:
    """A Lua script and the digest Redis knows it by."""

    name: str
    text: str
    sha: str = ""

    def __post_init__(self) -> None:
        """Compute the digest."""
        # Redis names scripts by SHA-1; nothing here is a secret
        digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", digest)


@dataclass(frozen=True)
class Subscription:
    """What a link listens to. A link with a subscription takes no other commands."""

    channels: Sequence[str]
    on_message: Callable[[bytes], None]
    on_connect: Callable[[], None]
    """Called when the subscription holds, after every (re)connect: messages may have been missed
    before it, none is from now on."""


class _Wire(asyncio.Protocol):
    """The socket's side of a link."""

    def __init__(self, link: "Link") -> None:
        self.link = link
        self.reader = hiredis.Reader(replyError=_reply_error)

    def data_received(self, data: bytes) -> None:
        self.reader.feed(data)
        while (reply := self.reader.gets()) is not False:
            self.link.on_reply(reply)
        self.link.on_replies()

    def connection_lost(self, exc: Exception | None) -> None:
        self.link.on_lost(self)

    def pause_writing(self) -> None:
        self.link.room.clear()

    def resume_writing(self) -> None:
        self.link.room.set()


def _reply_error(text: str) -> StoreReplyError:
    word = text.split(" ", 1)[0]
    # Redis 6.2 wraps the refusal that a script met: "ERR Error running script … -OOM command not …"
    refused = word in _REFUSALS or (word == "ERR" and any(f": -{w} " in text for w in _REFUSALS))
    return ReadOnlyStoreError(text) if refused else StoreReplyError(text)


def _is_bad_login(error: BaseException) -> bool:
    text = str(error)
    return text.split(" ", 1)[0] in _BAD_LOGIN or text.startswith("ERR AUTH")


def _settle(future: "asyncio.Future[Reply]", reply: Reply) -> None:
    if future.done():  # the caller gave up waiting
        return
    if isinstance(reply, StoreReplyError):
        future.set_exception(reply)
    else:
        future.set_result(reply)


class Link:
    """A pipelined Redis connection; see the module for its promises.

    Callers: any task of one event loop. ``open`` first, ``close`` last.
    """

    def __init__(
        self,
        address: RedisAddress,
        *,
        scripts: Mapping[str, Script] | None = None,
        subscription: Subscription | None = None,
        patience: float = 30.0,
        reply_timeout: float = 15.0,
        soon: Callable[..., object] | None = None,
    ) -> None:
        """Keep the arguments; nothing is connected yet.

        ``soon`` puts off a write until other commands may have joined it (by default to the loop's
        next turn).
        """
        self.address = address
        self.room = asyncio.Event()
        """Set while the socket takes more; a writer of much data waits for it."""
        self.room.set()
        self._scripts = dict(scripts or {})
        self._subscription = subscription
        self._patience = patience
        self._reply_timeout = reply_timeout
        self._waiting: deque[tuple[bytes, asyncio.Future[Reply] | None]] = deque()
        self._unsent: list[bytes] = []
        self._shaking: deque[asyncio.Future[Reply]] | None = None
        self._wire: _Wire | None = None
        self._transport: asyncio.Transport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._heard_at = 0.0
        self._problem = ""
        """Why the last try to connect failed."""
        self._away = False
        self._opened = False
        self._closed = False
        self._gone = asyncio.Event()
        """Set once the socket of a closed link is closed, too."""
        self._loop = asyncio.get_running_loop()
        self._soon = soon or self._loop.call_soon

    async def open(self) -> None:
        """Connect, waiting for Redis as long as the patience says.

        Raises:
            StoreAwayError: Redis did not answer in time, or refused the login.
        """
        self._connecting = self._loop.create_task(self._connect_forever(), name="redis-connect")
        try:
            async with asyncio.timeout(self._patience):
                await asyncio.shield(self._connecting)
        except TimeoutError:
            await self.close()
            raise StoreAwayError(
                f"no Redis at {self.address} within {self._patience:g} s; is it running there?"
                + (f" ({self._problem})" if self._problem else "")
            ) from None
        except BaseException:
            await self.close()
            raise
        self._opened = True

    async def close(self) -> None:
        """Disconnect; whatever still waits for a reply fails."""
        self._closed = True
        if self._watch:
            self._watch.cancel()
        if self._connecting:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        self._fail_waiting("the connection was closed")
        if self._transport:
            self._flush()
            transport = self._transport
            self._gone.clear()
            transport.close()
            try:
                await asyncio.wait_for(self._gone.wait(), _CLOSE_SECONDS)
            except TimeoutError:  # what was written last does not leave: the peer is frozen
                transport.abort()

    def send(self, *args: Arg) -> "asyncio.Future[Reply]":
        """Queue a command and return the future of its reply.

        The future fails with ``StoreReplyError`` or ``StoreAwayError``.
        """
        future: asyncio.Future[Reply] = self._loop.create_future()
        if self._closed or self._away:
            future.set_exception(StoreAwayError(f"no connection to Redis at {self.address}"))
            return future
        self._push(_pack(args), future)
        return future

    def run(self, script: str, *args: Arg) -> "asyncio.Future[Reply]":
        """Queue a script by its name; its arguments go in ARGV."""
        return self.send("EVALSHA", self._scripts[script].sha, 0, *args)

    # -- the connection's side --------------------------------------------------------------------

    def _push(self, packed: bytes, future: "asyncio.Future[Reply] | None") -> None:
        if not self._waiting:
            self._heard_at = self._loop.time()
        self._waiting.append((packed, future))
        if self._transport is not None:
            if len(self._unsent) in {0, _TOGETHER - 1}:
                self._soon(self._flush_in_turn)
            self._unsent.append(packed)

    def _flush_in_turn(self) -> None:
        """Send at once what nobody else is waiting before; else with the next replies.

        So the commands that come during one round trip share a write, and each side wakes up once
        for all of them.
        """
        count = len(self._unsent)
        if count == len(self._waiting) or count >= _TOGETHER:
            self._flush()

    def on_replies(self) -> None:
        """Send what has waited for replies, at the end of this turn. Caller: the socket."""
        if self._unsent:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._unsent and self._transport is not None:
            self._transport.write(b"".join(self._unsent))
            self._unsent.clear()

    def on_reply(self, reply: Reply) -> None:
        """Hand a reply to whoever waits for it. Caller: the socket."""
        self._heard_at = self._loop.time()
        if self._shaking is not None:
            _settle(self._shaking.popleft(), reply)
            return
        if self._subscription is not None and self._take_push(reply):
            return
        if isinstance(reply, StoreReplyError) and self._is_passing(str(reply)):
            # A new connection repeats what waits, in its order; repeating just this one would
            # reorder it.
            if self._transport:
                self._transport.abort()
            return
        if not self._waiting or self._transport is None or self._transport.is_closing():
            return
        _, future = self._waiting.popleft()
        if future is not None:
            _settle(future, reply)

    def _is_passing(self, error: str) -> bool:
        """Whether the command will be taken over another connection.

        Redis lost its scripts (SCRIPT FLUSH), which a new connection loads; it was frozen in the
        middle of a script; or it is no primary any more, and the Sentinels know the new one.
        """
        if error.startswith(("NOSCRIPT", "BUSY ")):
            return True
        return bool(self.address.sentinels) and "READONLY " in error

    def _take_push(self, reply: Reply) -> bool:
        if isinstance(reply, list) and reply and self._subscription:
            if reply[0] == b"message":
                self._subscription.on_message(reply[2])
                return True
            if reply[0] == b"subscribe":
                if reply[2] == len(set(self._subscription.channels)):
                    self._subscription.on_connect()
                return True
        return False

    def on_lost(self, wire: _Wire) -> None:
        """Start to connect anew. Caller: the socket."""
        if wire is not self._wire:
            return
        if self._shaking is not None:
            for reply in self._shaking:
                if not reply.done():
                    reply.set_exception(ConnectionResetError("closed while logging in"))
            return
        self._gone.set()
        self._wire = self._transport = None
        self._unsent.clear()
        self.room.set()
        if not self._closed:
            log.warning("lost the connection to Redis at %s", self.address)
            self._connecting = self._loop.create_task(self._connect_forever(), name="redis-connect")

    async def _connect_forever(self) -> None:
        give_up_at = self._loop.time() + self._patience
        for delay in delays(0.05, 1.0):
            try:
                await self._connect()
            except (OSError, StoreReplyError, TimeoutError, asyncio.IncompleteReadError) as exc:
                self._problem = str(exc)
                if isinstance(exc, StoreReplyError) and _is_bad_login(exc):
                    log.error("Redis at %s refuses the login: %s", self.address, exc)
                    if not self._opened:
                        raise StoreAwayError(
                            f"Redis at {self.address} refuses the login: {exc}"
                        ) from exc
                if self._loop.time() >= give_up_at and not self._away:
                    self._away = True
                    log.error("Redis at %s is away: %s", self.address, exc)
                    self._fail_waiting(f"Redis at {self.address} is away: {exc}")
                await asyncio.sleep(delay)
            else:
                self._away = False
                return

    async def _connect(self) -> None:
        wire = _Wire(self)
        async with asyncio.timeout(min(_CONNECT_SECONDS, self._patience)):
            transport = await self._make_transport(wire)
            self._wire = wire
            try:
                await self._shake_hands(transport)
            except BaseException:
                self._wire = None
                transport.abort()
                raise
        self._transport = transport
        self._heard_at = self._loop.time()
        self._unsent.extend(packed for packed, _ in self._waiting)
        self._flush()
        if self._subscription:
            transport.write(_pack(("SUBSCRIBE", *self._subscription.channels)))
        self._arm_watch()

    async def _shake_hands(self, transport: asyncio.Transport) -> None:
        """Log in and load the scripts; commands queued meanwhile wait behind it."""
        commands = self._handshake()
        replies: list[asyncio.Future[Reply]] = [self._loop.create_future() for _ in commands]
        self._shaking = deque(replies)
        try:
            transport.write(b"".join(map(_pack, commands)))
            answers = await asyncio.gather(*replies)
        finally:
            self._shaking = None
            for reply in replies:
                reply.cancel()
        if self.address.sentinels and answers[commands.index(("ROLE",))][0] != b"master":
            raise ConnectionRefusedError("the Sentinels named one that is no primary (any more)")
        if transport.is_closing():  # lost after the last reply: on_lost took it for a failed login
            raise ConnectionResetError("closed after logging in")

    async def _make_transport(self, wire: _Wire) -> asyncio.Transport:
        address = self.address
        if address.unix_path:
            transport, _ = await self._loop.create_unix_connection(
                lambda: wire, path=address.unix_path
            )
            return transport
        tls = self._tls_context()
        host, port = address.host, address.port
        if address.sentinels:
            host, port = await find_primary(address, tls)
        transport, _ = await self._loop.create_connection(lambda: wire, host, port, ssl=tls)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return transport

    def _tls_context(self) -> ssl.SSLContext | None:
        """Return how to speak TLS; read anew for each connection, as certificates are renewed."""
        address = self.address
        if not address.tls:
            return None
        context = ssl.create_default_context(cafile=address.tls_ca or None)
        if address.tls_cert:
            context.load_cert_chain(address.tls_cert, address.tls_key or None)
        return context

    def _handshake(self) -> list[tuple[Arg, ...]]:
        address = self.address
        commands: list[tuple[Arg, ...]] = []
        if address.password:
            login = (
                (address.username, address.password) if address.username else (address.password,)
            )
            commands.append(("AUTH", *login))
        if address.db:
            commands.append(("SELECT", address.db))
        commands.append(("PING",))
        if address.sentinels:
            commands.append(("ROLE",))
        commands.extend(("SCRIPT", "LOAD", script.text) for script in self._scripts.values())
        return commands

    def _arm_watch(self) -> None:
        if self._watch:
            self._watch.cancel()
        self._watch = self._loop.call_later(min(1.0, self._reply_timeout / 3), self._on_watch)

    def _on_watch(self) -> None:
        silent = self._loop.time() - self._heard_at
        if self._transport is None:
            return
        if self._waiting and silent > self._reply_timeout:
            log.warning("Redis at %s is silent for %.0f s", self.address, silent)
            self._transport.abort()
            return
        if self._subscription and not self._waiting and silent > self._reply_timeout / 2:
            self._push(_pack(("PING",)), None)
        self._arm_watch()

    def _fail_waiting(self, why: str) -> None:
        waiting, self._waiting = self._waiting, deque()
        for _, future in waiting:
            if future is not None and not future.done():
                future.set_exception(StoreAwayError(why))
