"""What every transport of data messages promises. A transport's test subclasses the suites.

``Line`` is what a transport's test must provide: transports for instances, and the means to look
behind them.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import pytest

from blueengine.errors import MessageTooLargeError
from blueengine.transport.base import Message, Transport, singly
from blueengine.wire.envelope import Header, Kind
from tests.kit.wait import until

MANY: Final = 5_000
MIB: Final = 1 << 20
LIMIT: Final = 2 << 20
"""The largest message of a transport under test."""


class Line(ABC):
    """A transport under test."""

    @abstractmethod
    async def attend(self, instance: str) -> Transport:
        """Return the open transport of an instance."""

    @abstractmethod
    async def leave(self, instance: str) -> None:
        """Let an instance go: its inbox is removed."""

    @abstractmethod
    async def left_over(self) -> list[str]:
        """Return what is kept for instances that are gone."""

    @abstractmethod
    async def kept(self, instance: str) -> int:
        """Return how many messages are still kept for an instance."""

    @abstractmethod
    async def break_connections(self) -> None:
        """Cut every connection to the server."""

    @abstractmethod
    async def restart(self) -> None:
        """Restart the server; what it acknowledged is there again."""


def header(seq: int, *, sender: str = "w", channel: str = "c", kind: Kind = Kind.DATA) -> Header:
    return Header("session", 1, "reader", sender, channel, seq, kind)


class Reader:
    """Collects what arrives at an instance, while a test goes on."""

    def __init__(self, transport: Transport) -> None:
        self.got: list[Message] = []
        self._task = asyncio.create_task(self._read(transport))

    async def _read(self, transport: Transport) -> None:
        while True:
            for header, payloads in await transport.receive():
                self.got += singly(header, payloads)

    async def until(self, count: int, seconds: float = 20) -> list[Message]:
        """Wait for so many messages, repetitions left out."""
        await until(lambda: self._check() or len(self.once) >= count, seconds)
        return self.once

    @property
    def once(self) -> list[Message]:
        """Return what arrived without the repetitions, as a reader accepts it."""
        expected: dict[tuple[str, str], int] = {}
        accepted = []
        for message in self.got:
            head = message[0]
            if head.seq == expected.setdefault((head.sender, head.channel), 0):
                expected[head.sender, head.channel] += 1
                accepted.append(message)
        return accepted

    def _check(self) -> bool:
        if self._task.done():
            self._task.result()
        return False

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


class ChannelContract:
    """Order, binary safety, fan-out, gone readers, space: with the server up all the time."""

    @pytest.fixture
    async def writer(self, line: Line) -> Transport:
        return await line.attend("writer")

    @pytest.fixture
    async def reader(self, line: Line) -> AsyncIterator[Reader]:
        reader = Reader(await line.attend("reader"))
        yield reader
        await reader.close()

    async def test_messages_arrive_in_the_order_of_send(
        self, writer: Transport, reader: Reader
    ) -> None:
        sent = [(header(seq), b"%d" % seq) for seq in range(MANY)]
        await asyncio.gather(*(writer.send("reader", *message) for message in sent))
        assert await reader.until(MANY) == sent

    async def test_headers_arrive_whole(self, writer: Transport, reader: Reader) -> None:
        full = Header(
            "session-é", 2**40, "n", "", "c", 0, Kind.END, bytes(range(256)), "a/b", "trace"
        )
        await writer.send("reader", full, b"")
        await until(lambda: reader.got)
        assert reader.got == [(full, b"")]

    @pytest.mark.parametrize(
        "payload",
        [b"", b"\0", b"\xff", b"\r\n", bytes(range(256)), bytes(range(256)) * (MIB // 256)],
        ids=["empty", "zero", "ff", "line end", "every byte", "1 MiB"],
    )
    async def test_payloads_arrive_byte_for_byte(
        self, writer: Transport, reader: Reader, payload: bytes
    ) -> None:
        await writer.send("reader", header(0), payload)
        [(_, got)] = await reader.until(1)
        assert got == payload

    async def test_many_large_payloads_arrive(self, writer: Transport, reader: Reader) -> None:
        for seq in range(30):
            await writer.send("reader", header(seq), bytes([seq]) * MIB)
        got = await reader.until(30)
        assert [payload[:1] for _, payload in got] == [bytes([seq]) for seq in range(30)]
        assert {len(payload) for _, payload in got} == {MIB}

    async def test_a_message_at_the_limit_arrives(self, writer: Transport, reader: Reader) -> None:
        await writer.send("reader", header(0), bytes(LIMIT))
        [(_, got)] = await reader.until(1)
        assert len(got) == LIMIT

    @pytest.mark.parametrize("place", [0, 2], ids=["alone", "last of a run"])
    async def test_a_message_above_the_limit_is_refused_at_once_and_nothing_is_sent(
        self, writer: Transport, reader: Reader, place: int
    ) -> None:
        payloads = [*[b"small"] * place, bytes(LIMIT + 1)]
        refused = writer.send("reader", header(0, channel="pages"), *payloads)
        assert refused.done()
        with pytest.raises(MessageTooLargeError) as raised:
            await refused
        for word in ("'pages'", str(LIMIT + 1), f"limit of {LIMIT} (", "_MAX_MESSAGE_BYTES"):
            assert word in str(raised.value)
        await writer.send("reader", header(0), b"what follows")
        assert [payload for _, payload in await reader.until(1)] == [b"what follows"]
        assert len(reader.got) == 1

    async def test_each_of_several_readers_gets_its_own(
        self, line: Line, writer: Transport, reader: Reader
    ) -> None:
        second = Reader(await line.attend("second"))
        for seq in range(100):
            for instance in ("reader", "second"):
                _ = writer.send(instance, header(seq), instance.encode())
        assert {p for _, p in await reader.until(100)} == {b"reader"}
        assert {p for _, p in await second.until(100)} == {b"second"}
        await second.close()

    async def test_two_writers_keep_each_its_order(
        self, line: Line, writer: Transport, reader: Reader
    ) -> None:
        other = await line.attend("other")
        for seq in range(1000):
            _ = writer.send("reader", header(seq, sender="w"), b"")
            _ = other.send("reader", header(seq, sender="o"), b"")
        got = await reader.until(2000)
        for sender in ("w", "o"):
            seqs = [head.seq for head, _ in got if head.sender == sender]
            assert seqs == list(range(1000))

    async def test_an_instance_may_write_to_itself(self, line: Line) -> None:
        both = await line.attend("both")
        reader = Reader(both)
        await both.send("both", header(0), b"x")
        assert len(await reader.until(1)) == 1
        await reader.close()

    async def test_what_was_sent_before_the_reader_reads_is_there(
        self, line: Line, writer: Transport
    ) -> None:
        slow = await line.attend("slow")
        for seq in range(300):
            await writer.send("slow", header(seq), b"")
        reader = Reader(slow)
        assert len(await reader.until(300)) == 300
        await reader.close()

    async def test_what_goes_to_nobody_is_dropped_and_leaves_nothing(
        self, line: Line, writer: Transport
    ) -> None:
        await writer.send("never was", header(0), b"x")
        await line.attend("gone")
        await line.leave("gone")
        await writer.send("gone", header(0), b"x")
        assert await line.left_over() == []

    async def test_space_is_freed_once_it_was_read(
        self, line: Line, writer: Transport, reader: Reader
    ) -> None:
        for seq in range(MANY):
            _ = writer.send("reader", header(seq), b"x" * 100)
        await reader.until(MANY)

        async def freed() -> bool:
            return await line.kept("reader") == 0

        await until(freed, 10)


class ReconnectContract:
    """The connection breaks, or the server restarts, under thousands of messages on their way."""

    async def test_broken_connections_lose_nothing(self, line: Line) -> None:
        await self._stream_through(line, line.break_connections, times=8)

    async def test_a_restart_of_the_server_loses_nothing(self, line: Line) -> None:
        await self._stream_through(line, line.restart, times=2)

    async def _stream_through(
        self, line: Line, disturb: Callable[[], Awaitable[None]], *, times: int
    ) -> None:
        writer, reader = await line.attend("writer"), Reader(await line.attend("reader"))
        total = MANY * 2
        sent = [(header(seq), b"%d" % seq * 20) for seq in range(total)]
        futures = []
        for number in range(times):
            part = sent[total * number // times : total * (number + 1) // times]
            futures += [writer.send("reader", *message) for message in part]
            await reader.until(len(futures) // 2, 120)  # the rest is on its way
            await disturb()
        assert await reader.until(total, 120) == sent
        await asyncio.gather(*futures)
        # what came twice is the same message: same number, same payload
        assert {(head.seq, payload) for head, payload in reader.got} == {
            (head.seq, payload) for head, payload in sent
        }
        await reader.close()
