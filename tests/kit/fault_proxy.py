"""A TCP proxy that can be told to misbehave: cut, refuse, freeze, delay.

It runs on a loop in a thread of its own, so it works on while a test blocks, and for processes
that a plain fixture starts. Every method may be called from any thread and takes effect before it
returns.

    with FaultProxy(redis.port) as proxy:
        ... connect to 127.0.0.1:proxy.port ...
        with proxy.frozen():   # packets are lost: nobody hears anything, connections stay open
            ...
        with proxy.cut():      # connections are reset, new ones are refused
            ...
        proxy.reset()          # every connection breaks once
        proxy.delay(0.05)      # each piece of data comes this much later, each way
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, Final, Self, TypeVar

T = TypeVar("T")

PIECE: Final = 256 * 1024
_ANSWER_SECONDS: Final = 10.0
_TURNS: Final = 10
"""Of the loop: more than asyncio takes to have a connection served, or closed."""
_LINGER_NONE: Final = struct.pack("ii", 1, 0)
"""Close with a reset, as a cut line does, not with a polite end of the stream."""


class _Pair:
    """A client's connection and the one to the server behind it."""

    def __init__(self, *writers: asyncio.StreamWriter) -> None:
        self.writers = writers

    def reset(self) -> None:
        for writer in self.writers:
            sock = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
            writer.transport.abort()


class FaultProxy:
    """Listens on ``port`` and passes everything on to ``target``, unless told otherwise."""

    def __init__(self, target: int = 0, *, host: str = "127.0.0.1") -> None:
        """Pass on to ``host``:``target``; it may be set later, before the first connection."""
        self.host = host
        self.target = target
        self.port = 0
        self.passed = 0
        """Bytes passed on so far, both ways."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy")
        self._server: asyncio.Server | None = None
        self._pairs: set[_Pair] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._delay = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def address(self) -> str:
        """Return ``host:port`` of the proxy."""
        return f"{self.host}:{self.port}"

    @property
    def connections(self) -> int:
        """Return how many clients are connected."""
        return len(self._pairs)

    # -- faults -----------------------------------------------------------------------------------

    def reset(self) -> None:
        """Break every connection; new ones are welcome."""
        self._run(self._reset)

    def refuse(self) -> None:
        """Break every connection and refuse new ones, until ``heal``."""
        self._run(self._refuse)

    def freeze(self) -> None:
        """Pass nothing on: connections stay open, new ones are accepted, all is silent.

        What was written meanwhile arrives after ``heal``, as after a cut that TCP survives.
        """
        self._run(self._freeze)

    def delay(self, seconds: float) -> None:
        """Pass each piece of data on this much later, in each direction."""
        self._delay = seconds

    def heal(self) -> None:
        """Pass everything on again, at once."""
        self._delay = 0.0
        self._run(self._heal)

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """Refuse and break all connections for the block."""
        self.refuse()
        try:
            yield
        finally:
            self.heal()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Pass nothing on for the block."""
        self.freeze()
        try:
            yield
        finally:
            self.heal()

    # -- on the loop ------------------------------------------------------------------------------

    def _run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(_ANSWER_SECONDS)

    async def _listen(self) -> None:
        # the same port after every heal: whoever was told it comes back to it
        self._server = await asyncio.start_server(
            self._serve, self.host, self.port, limit=PIECE, reuse_address=True
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _reset(self) -> None:
        for pair in list(self._pairs):
            pair.reset()

    async def _refuse(self) -> None:
        if self._server:
            # a listener that closes in the moment of an accept leaves that connection open for ever
            for sock in self._server.sockets:
                self._loop.remove_reader(sock.fileno())
            await self._turns()
            self._server.close()
            self._server = None
        await self._reset()

    async def _freeze(self) -> None:
        self._flowing.clear()

    async def _heal(self) -> None:
        self._flowing.set()
        if self._server is None:
            await self._listen()

    async def _close(self) -> None:
        await self._refuse()
        self._flowing.set()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._turns()  # and what was aborted is closed

    @staticmethod
    async def _turns() -> None:
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pair = _Pair(writer)
        self._pairs.add(pair)
        try:
            await self._flowing.wait()
            back_reader, back_writer = await asyncio.open_connection(
                self.host, self.target, limit=PIECE
            )
            pair.writers = (writer, back_writer)
            ways: list[Awaitable[None]] = [
                self._pass(reader, back_writer),
                self._pass(back_reader, writer),
            ]
            await asyncio.gather(*ways)
        except OSError:
            pass  # one side is gone: so is the other
        except asyncio.CancelledError:
            pass  # the proxy closes; asyncio's own callback would complain of a cancelled handler
        finally:
            self._pairs.discard(pair)
            pair.reset()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(PIECE):
            if self._delay:
                await asyncio.sleep(self._delay)
            await self._flowing.wait()
            self.passed += len(piece)  # before its reader can ask
            writer.write(piece)
            await writer.drain()
        await self._flowing.wait()
        with contextlib.suppress(OSError):
            writer.write_eof()
