"""What parent and worker say to each other over their socket.

Lists of frames in MessagePack, each list with its length before it.

``no`` is the parent's number of a session; it is never reused within one parent.
"""

from collections.abc import Sequence

import msgspec

from blueengine.kit.framing import framed


class Item(msgspec.Struct, array_like=True, frozen=True):
    """Messages of one input port that follow each other; only one that is alone has meta or file."""

    port: str
    payloads: list[bytes]
    meta: bytes = b""
    file: str = ""
    """Absolute path of the payload when it is not inline."""

    def singly(self) -> "list[Item]":
        """Return the messages one by one."""
        if len(self.payloads) == 1:
            return [self]
        return [Item(self.port, [payload]) for payload in self.payloads]


# -- parent to worker ----------------------------------------------------------------------------


class Begin(msgspec.Struct, array_like=True, frozen=True, tag="begin"):
    """A session begins: run start_func and answer Began."""

    no: int
    session: str
    node: str
    engine: str
    labels: dict[str, str]
    folder: str
    """Temp folder of the session, not yet made."""
    outbox: str
    """Folder for payloads too large for a frame, not yet made; empty: there is no blob store."""
    stored: tuple[str, ...]
    """Output ports a client may fetch from."""
    shared: str = ""
    """Folder in shared memory for what steps forward, not yet made; empty: there is none."""


class Work(msgspec.Struct, array_like=True, frozen=True, tag="work"):
    """Call process_func and answer Done.

    Once with a message of each port; if there is only one port, once with each of its messages.
    """

    no: int
    items: list[Item]
    last: bool = False
    """Call end_func instead: every input of the step has ended and is done with."""

    @property
    def calls(self) -> int:
        """How many calls that makes."""
        return len(self.items[0].payloads) if len(self.items) == 1 else 1


class Resume(msgspec.Struct, array_like=True, frozen=True, tag="resume"):
    """The session was held and is not any more: go on with the call that stopped half-way."""

    no: int


class Leave(msgspec.Struct, array_like=True, frozen=True, tag="leave"):
    """The session is over: answer every call of it, run stop_func, and answer Left if there is one."""

    no: int


class Quit(msgspec.Struct, array_like=True, frozen=True, tag="quit"):
    """Run terminate_func and exit."""


# -- worker to parent ----------------------------------------------------------------------------


class Inited(msgspec.Struct, array_like=True, frozen=True, tag="inited"):
    """init_func is done; ``error`` is empty when it went well."""

    error: str
    traceback: str


class Began(msgspec.Struct, array_like=True, frozen=True, tag="began"):
    """start_func is done."""

    no: int
    refused: str
    """Why the session is refused, or empty."""
    error: str
    traceback: str


class Out(msgspec.Struct, array_like=True, tag="out"):
    """Messages were written to an output port; only one that is alone has meta or file."""

    no: int
    port: str
    payloads: list[bytes]
    meta: bytes
    file: str
    """File in the outbox that holds the payload instead."""
    size: int
    """Bytes of all of them."""


class Say(msgspec.Struct, array_like=True, frozen=True, tag="say"):
    """A status message: progress, finish, error, custom types. ``body`` is JSON."""

    no: int
    kind: str
    body: bytes


class Logged(msgspec.Struct, array_like=True, frozen=True, tag="logged"):
    """The author's code logged a line."""

    no: int
    at: int
    """Microseconds since the epoch."""
    level: int
    text: str


class Done(msgspec.Struct, array_like=True, tag="done"):
    """Calls have returned; everything they wrote was sent before this. One that failed comes alone."""

    no: int
    started: int
    """Of the first, in microseconds since the epoch."""
    busy: int
    """Microseconds inside process_func."""
    error: str = ""
    code: str = ""
    traceback: str = ""
    calls: int = 1


class Counted(msgspec.Struct, array_like=True, frozen=True, tag="counted"):
    """What the author's code counted and timed since the last one of these."""

    counts: dict[str, float]
    times: dict[str, tuple[int, float]]


class Left(msgspec.Struct, array_like=True, frozen=True, tag="left"):
    """stop_func is done and the session's data are dropped."""

    no: int
    error: str
    traceback: str


ToWorker = Begin | Work | Resume | Leave | Quit
FromWorker = Inited | Began | Out | Say | Done | Left | Counted | Logged

_encoder = msgspec.msgpack.Encoder()
_to_worker = msgspec.msgpack.Decoder(list[ToWorker])
_from_worker = msgspec.msgpack.Decoder(list[FromWorker])


def pack(frames: Sequence[ToWorker] | Sequence[FromWorker]) -> bytes:
    """Return frames that go together as bytes, their length before them."""
    return framed(_encoder.encode(frames))


def to_worker(body: bytes | memoryview) -> list[ToWorker]:
    """Return the frames a worker received."""
    return _to_worker.decode(body)


def from_worker(body: bytes | memoryview) -> list[FromWorker]:
    """Return the frames the parent received."""
    return _from_worker.decode(body)
