"""The suite against engines of one host that write to each other directly."""

import asyncio
import contextlib
import os
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path

import msgspec
import pytest

from blueengine.errors import SettingsError
from blueengine.kit.framing import Splitter, framed
from blueengine.kit.redis_link import Reply
from blueengine.transport import neighbours, redis_streams
from blueengine.transport.base import Run, Transport
from blueengine.transport.neighbours import Neighbours, socket_name
from blueengine.wire.envelope import Header
from tests.contract.channel.suite import LIMIT, MANY, MIB, ChannelContract, Reader, header
from tests.contract.channel.test_redis_streams import RedisLine
from tests.kit.servers import RealRedis
from tests.kit.wait import until

pytestmark = pytest.mark.skipif(
    not neighbours.POSSIBLE, reason="needs the abstract sockets of Linux"
)


class Both(Transport):
    """Gives what comes near and far by ``receive``, as the suite asks for it."""

    separate = True

    def __init__(self, inner: Neighbours) -> None:
        self.inner = inner
        inner.on_runs = self._take
        self._near: asyncio.Queue[list[Run]] = asyncio.Queue()
        self._far: asyncio.Task[None] | None = None

    def _take(self, runs: Iterable[Run]) -> None:
        self._near.put_nowait(list(runs))

    async def open(self) -> None:
        await self.inner.open()
        self._far = asyncio.create_task(self._receive_far())

    async def _receive_far(self) -> None:
        while True:
            self._near.put_nowait(await self.inner.receive())

    def send(
        self, instance: str, header: Header, payload: bytes, *more: bytes
    ) -> "asyncio.Future[Reply]":
        return self.inner.send(instance, header, payload, *more)

    async def receive(self) -> list[Run]:
        return await self._near.get()

    async def close(self) -> None:
        if self._far is not None:
            self._far.cancel()
            await asyncio.gather(self._far, return_exceptions=True)
        await self.inner.close()


class NearLine(RedisLine):
    """Neighbours, with Redis for the far way."""

    def __init__(self, server: RealRedis) -> None:
        """Let instances attend on ``server``."""
        super().__init__(server)
        self.server = server
        self.platform = server.url
        self.transports: dict[str, Both] = {}

    async def attend(self, instance: str) -> Transport:
        far = redis_streams.RedisStreams(
            await self.link(), await self.link(), instance, max_message_bytes=LIMIT
        )
        both = Both(Neighbours(far, self.platform, instance, max_message_bytes=LIMIT))
        await both.open()
        self._attending.add(instance)
        self.transports[instance] = both
        return both

    async def leave(self, instance: str) -> None:
        await self.transports.pop(instance).close()
        await super().leave(instance)

    async def close(self) -> None:
        for transport in self.transports.values():
            await transport.close()
        await super().close()


@pytest.fixture
async def line(redis_server: RealRedis, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[NearLine]:
    monkeypatch.setattr(redis_streams, "BLOCK_MS", 200)  # what is idle tidies up soon
    line = NearLine(redis_server)
    yield line
    await line.close()


class TestNeighbours(ChannelContract):
    """All that is promised of any transport."""


@pytest.fixture
async def writer(line: NearLine) -> Transport:
    return await line.attend("writer")


@pytest.fixture
def frozen(line: NearLine) -> Iterator[socket.socket]:
    """A listener that accepts nobody: a reader that is frozen."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(socket_name(line.platform, "frozen"))
        listener.listen()
        yield listener


async def test_messages_between_neighbours_do_not_touch_redis(
    line: NearLine, writer: Transport
) -> None:
    reader = Reader(await line.attend("reader"))
    line.server.call("CONFIG", "RESETSTAT")
    for seq in range(MANY):
        _ = writer.send("reader", header(seq), b"x")
    await reader.until(MANY)
    assert "cmdstat_xadd" not in line.server.call("INFO", "commandstats")
    await reader.close()


async def test_a_reader_elsewhere_gets_them_over_redis(line: NearLine, writer: Transport) -> None:
    elsewhere = Reader(await super(NearLine, line).attend("elsewhere"))
    sent = [(header(seq), b"%d" % seq) for seq in range(100)]
    await asyncio.gather(*(writer.send("elsewhere", *message) for message in sent))
    assert await elsewhere.until(100) == sent
    await elsewhere.close()


async def test_readers_of_another_platform_are_no_neighbours(
    line: NearLine, writer: Transport
) -> None:
    line.platform = "another"
    other = await line.attend("reader")
    await writer.send("reader", header(0), b"x")
    [(got, _)] = await asyncio.wait_for(other.receive(), 10)
    assert got == header(0)
    assert await line.kept("reader")


async def test_what_a_reader_does_not_read_waits_in_the_writer_in_order(
    writer: Transport, frozen: socket.socket
) -> None:
    first = writer.send("frozen", header(0), b"first")
    assert first.done()
    later = [writer.send("frozen", header(seq), bytes([seq]) * MIB) for seq in range(1, 20)]
    assert not any(future.done() for future in later)
    peer, _ = frozen.accept()
    frozen.close()
    peer.settimeout(20)
    splitter, frames = Splitter(), list[bytes]()
    while len(frames) < 20:
        frames += map(bytes, splitter.feed(await asyncio.to_thread(peer.recv, MIB)))
    await asyncio.wait_for(asyncio.gather(*later), 10)
    assert [bytes([seq]) * MIB in frame for seq, frame in enumerate(frames)][1:] == [True] * 19
    peer.close()


async def test_what_waits_for_a_reader_that_dies_is_let_go(
    line: NearLine, writer: Transport, frozen: socket.socket
) -> None:
    waiting = [writer.send("frozen", header(seq), bytes(MIB)) for seq in range(3)]
    frozen.close()
    await asyncio.wait_for(asyncio.gather(*waiting), 10)
    # the next one goes where an inbox would be, and is dropped with it
    await writer.send("frozen", header(3), b"")
    assert await line.left_over() == []


async def test_what_a_writer_that_ends_has_not_written_is_not_said_to_have_arrived(
    line: NearLine, writer: Transport, frozen: socket.socket
) -> None:
    waiting = [writer.send("frozen", header(seq), bytes(MIB)) for seq in range(3)]
    await line.transports["writer"].close()
    frozen.close()
    _, never = await asyncio.wait(waiting, timeout=0.2)
    assert len(never) == 3


async def test_what_was_sent_arrives_although_the_writer_is_killed(line: NearLine) -> None:
    reader = Reader(await line.attend("reader"))
    program = f"""
import asyncio, os, signal
from blueengine.transport.neighbours import Neighbours, socket_name
from tests.contract.channel.suite import header
class Nowhere:
    def send(self, *message): raise SystemExit("the reader is no neighbour")
async def main():
    line = Neighbours(Nowhere(), {line.server.url!r}, "writer", max_message_bytes=1 << 20)
    assert all(line.send("reader", header(seq), b"%d" % seq).done() for seq in range(100))
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    writer = await asyncio.create_subprocess_exec(sys.executable, "-c", program, cwd=_ROOT)
    assert await writer.wait() == -signal.SIGKILL
    assert [payload for _, payload in await reader.until(100)] == [b"%d" % n for n in range(100)]
    await reader.close()


async def test_half_a_message_of_a_writer_that_died_harms_nobody(
    line: NearLine, writer: Transport
) -> None:
    reader = Reader(await line.attend("reader"))
    with socket.socket(socket.AF_UNIX) as dying:
        dying.connect(socket_name(line.platform, "reader"))
        dying.send((1000).to_bytes(4, "big") + b"half")
    await writer.send("reader", header(0), b"whole")
    assert [payload for _, payload in await reader.until(1)] == [b"whole"]
    await reader.close()


async def test_a_second_process_that_is_the_same_instance_does_not_attend(line: NearLine) -> None:
    await line.attend("reader")
    with pytest.raises(SettingsError, match=r"cannot listen as reader .*BLUEENGINE_INSTANCE_ID"):
        await line.attend("reader")


async def test_what_is_no_message_is_dropped(
    line: NearLine, writer: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    reader = Reader(await line.attend("reader"))
    with socket.socket(socket.AF_UNIX) as newer:
        newer.connect(socket_name(line.platform, "reader"))
        newer.send((5).to_bytes(4, "big") + b"hello")
        await until(lambda: "cannot read" in caplog.text, 10)
    await writer.send("reader", header(0), b"whole")
    assert [payload for _, payload in await reader.until(1)] == [b"whole"]
    await reader.close()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
async def test_another_user_may_not_write(
    line: NearLine, writer: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    reader = Reader(await line.attend("reader"))
    name = socket_name(line.platform, "reader")
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            os.setuid(65534)
            stranger = socket.socket(socket.AF_UNIX)
            stranger.connect(name)
            frame = framed(msgspec.msgpack.encode((header(0), (b"forged",))))
            stranger.send(frame)
            stranger.recv(1)
        os._exit(0)
    await until(lambda: "another user" in caplog.text, 10)
    await asyncio.to_thread(os.waitpid, child, 0)
    await writer.send("reader", header(0), b"own")
    assert [payload for _, payload in await reader.until(1)] == [b"own"]
    await reader.close()


async def test_readers_that_are_gone_leave_no_open_file(line: NearLine, writer: Transport) -> None:
    before = unix_sockets()
    for number in range(30):
        await line.attend(f"r{number}")
        await writer.send(f"r{number}", header(0), b"x")
    assert unix_sockets() > before
    for number in range(30):
        await line.leave(f"r{number}")
    assert unix_sockets() == before


def unix_sockets() -> int:
    """Return how many Unix sockets this process has open."""
    count = 0
    for fd in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208 - as numbers
        with contextlib.suppress(OSError):  # that of the folder itself is closed by now
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                with socket.socket(fileno=os.dup(fd)) as sock:
                    count += sock.family == socket.AF_UNIX
    return count


_ROOT = Path(__file__).parents[3]
