"""The platform's side of one instance, in memory: what it commands, and what it is told.

No double of the runtime: the instance, its flow of messages and its workers are the real ones.
Caller of everything here: the instance's event loop.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import msgspec

from blueengine.datatypes import base
from blueengine.kit.redis_link import Arg, Link, Reply
from blueengine.ledger.instance import InstanceLedger, Part, Results
from blueengine.transport.base import Message, Run, singly
from blueengine.transport.blobs import INLINE_LIMIT, BlobFolder, node_prefix
from blueengine.transport.redis_streams import StreamReader
from blueengine.wire import codec, command
from blueengine.wire.envelope import Header, Kind, Meta
from blueengine.wire.report import Fault, Tally
from blueengine.wire.report import Outcome as Ending
from blueengine.wire.spec import EngineSpec

ENGINE: Final = "engine"
WRITER: Final = "writer"
READER: Final = "reader"
"""The nodes of a session's graph: the engine, and the test on both sides of it."""
PEER: Final = "test"
"""The instance that plays writer and reader."""


@dataclass
class Record:
    """What is known of one session."""

    attempt: int = 1
    received: dict[str, list[Any]] = field(default_factory=dict)
    """Output port -> values, in order."""
    said: list[dict[str, Any]] = field(default_factory=list)
    """Status messages."""
    ready: bool = False
    waiting: list[Message] = field(default_factory=list)
    """Sent before the engine was ready: a writer begins when all engines are."""
    refused: str = ""
    ending: Ending | None = None
    fault: Fault | None = None
    tally: Tally = field(default_factory=Tally)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    sent: dict[str, int] = field(default_factory=dict)
    last: tuple[Header, bytes] | None = None


class Memory:
    """One instance's platform."""

    def __init__(self, blobs: BlobFolder) -> None:
        """Keep large payloads in ``blobs``."""
        self.blobs = blobs
        self.records: dict[str, Record] = {}
        self.commands = Commands()
        self.transport = InMemory(self)
        self.ledger = Reports(self)
        self.link = cast(Link, _Credits())
        self.types: dict[str, base.DataType] = {}

    def send(self, session: str, port: str, kind: str, value: Any, *, last: bool = False) -> None:
        """Send the engine a message on an input port."""
        record = self.records[session]
        encoded = base.get(kind).encode(value, stored=False)
        payload, blob = encoded.payload, ""
        size = encoded.file.stat().st_size if encoded.file else len(payload)
        if size > INLINE_LIMIT:
            seq = record.sent.get(port, 0)
            blob = f"{node_prefix(session, record.attempt, ENGINE)}/{port}-{seq}"
            pieces = _pieces(encoded)
            self.blobs.write(blob, pieces)
            payload = b""
        elif encoded.file:
            payload = encoded.file.read_bytes()
        meta = codec.encode(encoded.meta) if encoded.meta else b""
        self._put(session, port, Kind.LAST if last else Kind.DATA, payload, meta, blob)

    def end(self, session: str, port: str) -> None:
        """Tell the engine that nothing more comes on an input port."""
        self._put(session, port, Kind.END, b"", b"", "")

    def _put(  # noqa: PLR0917 - the fields of a message
        self, session: str, port: str, kind: Kind, payload: bytes, meta: bytes, blob: str
    ) -> None:
        record = self.records[session]
        seq = record.sent.get(port, 0)
        record.sent[port] = seq + 1
        header = Header(
            session, record.attempt, ENGINE, WRITER, in_channel(port), seq, kind, meta, blob
        )
        record.last = (header, payload)
        self._deliver(record, record.last)

    def repeat(self, session: str) -> None:
        """Deliver the last message once more, as a broken connection may."""
        if last := self.records[session].last:
            self._deliver(self.records[session], last)

    def _deliver(self, record: Record, message: Message) -> None:
        if record.ready:
            self.transport.inbox.put_nowait(message)
        else:
            record.waiting.append(message)

    def release(self, record: Record) -> None:
        """Deliver what waited for the engine to be ready."""
        record.ready = True
        while record.waiting:
            self.transport.inbox.put_nowait(record.waiting.pop(0))

    def take(self, header: Header, payload: bytes) -> None:
        """Take a message of the engine, and give it the room back."""
        record = self.records.get(header.session)
        if record is None or header.kind is Kind.END:
            return
        meta = codec.decode(Meta, header.meta) if header.meta else base.NO_META
        port = header.channel.removeprefix("out-")
        file = self.blobs.existing(header.blob) if header.blob else None
        size = file.stat().st_size if file else len(payload)
        folder = self.blobs.root / "taken"
        folder.mkdir(parents=True, exist_ok=True)
        value = self.types[port].decode(base.Incoming(payload, meta, file, lambda: folder))
        record.received.setdefault(port, []).append(value)
        record.changed.set()
        self.commands.credit(header, size)


def in_channel(port: str) -> str:
    """Return the channel that feeds an input port."""
    return f"in-{port}"


def out_channel(port: str) -> str:
    """Return the channel that an output port writes."""
    return f"out-{port}"


def _pieces(encoded: base.Encoded) -> Iterable[bytes]:
    if encoded.file is None:
        yield encoded.payload
        return
    with encoded.file.open("rb") as source:
        while piece := source.read(1 << 20):
            yield piece


def _answered(reply: Reply) -> "asyncio.Future[Reply]":
    future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    future.set_result(reply)
    return future


class Commands(StreamReader):
    """The instance's command stream."""

    def __init__(self) -> None:
        """Begin with no command."""
        self._queue: asyncio.Queue[list[bytes]] = asyncio.Queue()

    async def read(self) -> list[list[bytes]]:
        """Wait for commands."""
        return [await self._queue.get()]

    def put(self, *words: str | bytes | int) -> None:
        """Give a command: names and values by turns."""
        self._queue.put_nowait([w if isinstance(w, bytes) else str(w).encode() for w in words])

    def credit(self, header: Header, size: int) -> None:
        """Give the room of one message back."""
        self.put(
            *command.credit_fields(
                command.Credit(
                    header.session,
                    header.attempt,
                    ENGINE,
                    header.channel,
                    READER,
                    1,
                    size,
                )
            )
        )


class InMemory:
    """The instance's transport."""

    separate = False

    def __init__(self, memory: Memory) -> None:
        """Carry messages to and from ``memory``."""
        self._memory = memory
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()

    async def open(self) -> None:
        """There is nothing to open."""

    def send(
        self, instance: str, header: Header, payload: bytes, *more: bytes
    ) -> "asyncio.Future[Reply]":
        """Deliver messages to the test."""
        for message in singly(header, (payload, *more)):
            self._memory.take(*message)
        return _answered(b"")

    def announce(self, _instance: str, _header: Header) -> None:
        """Nobody prepares for anything here."""

    async def receive(self) -> list[Run]:
        """Wait for messages of the test."""
        header, payload = await self.inbox.get()
        return [(header, (payload,))]

    async def close(self) -> None:
        """There is nothing to close."""


class Reports(InstanceLedger):
    """What the instance tells the platform."""

    def __init__(self, memory: Memory) -> None:
        """Note it in ``memory``."""
        self._memory = memory
        self.slots = 0

    def attend(self, spec: EngineSpec, record: dict[str, str]) -> "asyncio.Future[Reply]":
        """It is here."""
        return _answered(b"ok")

    async def beat(self) -> bytes:
        """It lives."""
        return b"ok"

    def drain(self) -> "asyncio.Future[Reply]":
        """It takes no new session."""
        return _answered(0)

    def ail(self, reason: str) -> "asyncio.Future[Reply]":
        """It takes no session for a while."""
        return _answered(b"ok")

    def leave(self, reason: str) -> "asyncio.Future[Reply]":
        """It goes."""
        return _answered(b"ok")

    async def holds(self, part: Part) -> bool:
        """No Start is ever late here."""
        return False

    def ready(self, part: Part) -> "asyncio.Future[Reply]":
        """It accepts a session."""
        self._memory.release(self._of(part))
        return _answered(b"go")

    def refuse(self, part: Part, fault: Fault, *, limit: int) -> "asyncio.Future[Reply]":
        """It refuses a session."""
        self._of(part).refused = fault.message
        return _answered(b"ok")

    def output(
        self, part: Part, channel: str, first: int, items: Iterable[bytes]
    ) -> "asyncio.Future[Reply]":
        """It stores results; a test reads its outputs as an engine does."""
        return _answered(b"ok")

    def notice(self, part: Part, number: int, kind: str, body: bytes) -> "asyncio.Future[Reply]":
        """It sends a status message."""
        self._of(part).said.append(msgspec.json.decode(body))
        return _answered(b"ok")

    def log(self, part: Part, number: int, words: Sequence[Arg]) -> "asyncio.Future[Reply]":
        """It writes to the session's log; a test reads it with caplog."""
        return _answered(b"ok")

    def close(
        self,
        part: Part,
        outcome: Ending,
        fault: Fault | None,
        tally: Tally,
        *,
        again: bool = False,
        results: Iterable[Results] = (),
    ) -> "asyncio.Future[Reply]":
        """Its part of a session has ended."""
        record = self._of(part)
        record.ending, record.fault, record.tally = outcome, fault, tally
        return _answered(b"ok")

    def _of(self, part: Part) -> Record:
        record = self._memory.records[part[0]]
        record.changed.set()
        return record


class _Credits:
    """As much of a link as an instance uses by itself: credits to writers, which a test ignores."""

    def send(self, *_words: object) -> "asyncio.Future[Reply]":
        return _answered(b"")
