"""One session inside one instance: what came in, what is at work, what went out.

No I/O here: the host carries out what these records say.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from blueengine.errors import BlueEngineError, MessageLostError
from blueengine.runtime import frames
from blueengine.runtime.join import Join
from blueengine.runtime.workers import WorkerProcess
from blueengine.wire import codec
from blueengine.wire import plan as plans
from blueengine.wire.command import Start
from blueengine.wire.envelope import Kind
from blueengine.wire.plan import CLIENT, Plan
from blueengine.wire.report import Fault, Outcome, Tally
from blueengine.wire.spec import FORWARD

if TYPE_CHECKING:
    from blueengine.runtime.pushes import Pushes
    from blueengine.runtime.recording import Recording
    from blueengine.runtime.spool import Disk, Spool
    from blueengine.runtime.standstill import Look
    from blueengine.runtime.taps import Tap

WINDOW_MESSAGES: Final = 4096
WINDOW_BYTES: Final = 8 << 20
"""What a writer may have under way to one reader of a channel, or to the store of results, before
it must wait: enough for the round trip of Kafka, behind which comes that of the credit."""
LEAST_WINDOW_MESSAGES: Final = 1024
"""What a writer of an older version may have under way. A reader does not know which it has, so
what it does about full windows begins here."""
RUN_MESSAGES: Final = 64
RUN_BYTES: Final = 1 << 18
"""How much may go under one header before what comes next goes under another."""
FORWARDED: Final = 64
"""Calls that may wait for a step before the step that forwards to it must wait."""
BLOB_SHARE: Final = 8
"""A byte in the blob store counts as one of so many in memory."""
TOLD: Final = 8
"""Nodes that one engine tells of a session at most: others have time until a message gets there."""
NO_MORE: Final = -1
"""``messages`` of a credit by which a reader says that it takes nothing more."""
STORE_MESSAGES: Final = 2048
"""Results that may be on their way to the store."""
SPANS: Final = 200
"""Calls whose times are kept for the session's timeline."""

_DATA: Final = Kind.DATA  # found once: members of an Enum are slow to find


class State(Enum):
    """Where a part stands."""

    STARTING = auto()
    """Functions prepare; the platform waits for Ready or Refuse."""
    READY = auto()
    """Accepted; input is not released."""
    RUNNING = auto()
    ENDING = auto()
    """The outcome is decided; stop functions run."""
    ENDED = auto()


@dataclass(slots=True)
class Source:
    """One sender of one input channel."""

    expected: int = 0
    ended: bool = False
    consumed_messages: int = 0
    consumed_bytes: int = 0
    """Since the last credit."""


PASSED_ON: Final = Source()
"""The source of all that steps forward: it counts while it waits in a join (``StepRun.is_full``)."""


@dataclass(slots=True)
class Message:
    """Input that came together, until its calls are done: a message, or a run of them."""

    item: frames.Item
    source: Source | None
    """Who counts it against a window; None: nobody, or nobody any more."""
    channel: str
    sender: str
    """The node; of what a step forwards to the next one, their own."""
    size: int
    """Bytes that count against the sender's window."""
    own_file: str = ""
    """File to remove once read."""
    uses: int = 0
    """Calls that have it and are not done, and one while it is kept for later ones."""
    first: "Message | None" = None
    """The same message at another port, if that counts the uses of both."""


@dataclass(slots=True)
class Call:
    """One call of process_func, or one for each message of a run."""

    messages: list[Message]
    size: int
    last: bool = False
    """Of end_func."""
    count: int = 1
    """Calls that are not done."""


@dataclass(slots=True)
class StepRun:
    """One step at work for one session."""

    index: int
    worker: WorkerProcess
    join: Join[Message]
    queue: deque[Call] = field(default_factory=deque)
    queued_bytes: int = 0
    in_flight: deque[Call] = field(default_factory=deque)
    hungry: bool = False
    """Waits in its worker's line for room."""
    held: bool = False
    """Whoever takes what it writes has no room: it should write nothing for now."""
    at_end: bool = False
    """end_func was called, or is about to be."""
    kept: dict[str, Message] = field(default_factory=dict)
    """The last message of each channel whose last message is repeated."""
    spools: "Mapping[str, Spool]" = field(default_factory=dict)
    """Port -> where its messages wait for those of others."""
    alone: bool = False
    """What it joins with others can have no partner any more: it is let go as it comes."""

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is at work."""
        return not self.queue and not self.in_flight

    @property
    def is_full(self) -> bool:
        """Whether so much waits for it that the step before it should forward no more."""
        forwarded = self.spools.get(FORWARD)
        return (
            len(self.queue) >= FORWARDED
            or self.queued_bytes >= WINDOW_BYTES
            or (forwarded is not None and forwarded.is_full)
        )


@dataclass(slots=True)
class Run:
    """Messages that go under one header; only one that goes alone has meta or blob."""

    payloads: list[bytes]
    meta: bytes = b""
    blob: str = ""
    size: int = 0

    def takes(self, meta: bytes, blob: str) -> bool:
        """Whether a message may go with these."""
        together = not (meta or blob or self.meta or self.blob)
        return together and self.size <= RUN_BYTES and len(self.payloads) < RUN_MESSAGES


@dataclass(slots=True)
class Route:
    """One reader of one output channel."""

    node: str
    instance: str
    seq: int = 0
    messages: int = 0
    size: int = 0
    """Messages and bytes under way that are not credited."""
    closed: bool = False
    """The reader takes nothing more."""
    unheard: bool = False
    """Nobody told the reader of the session: its first message does."""
    unsent: list[Run] = field(default_factory=list)
    """What is held back to the end of the turn; the end of the channel may go with it."""

    @property
    def has_room(self) -> bool:
        """Whether the reader's window is open."""
        return self.messages < WINDOW_MESSAGES and self.size < WINDOW_BYTES


def weight(inline: int, in_blob: int) -> int:
    """Return how many bytes of a window a message takes up."""
    return inline or in_blob // BLOB_SHARE


@dataclass(slots=True)
class Output:
    """One channel this part writes."""

    channel: str
    type: str
    routes: list[Route]
    stored: bool
    stored_seq: int = 0
    unsaved: list[bytes] = field(default_factory=list)
    """Results not yet reported; the last has the number ``stored_seq`` - 1."""
    saving: int = 0
    saving_bytes: int = 0
    """Results made and not yet known to be stored."""

    @property
    def has_room(self) -> bool:
        """Whether all who take its messages have room."""
        if self.saving >= STORE_MESSAGES or self.saving_bytes >= WINDOW_BYTES:
            return False
        for route in self.routes:  # noqa: SIM110 - for every message: a generator would cost more
            if not route.has_room:
                return False
        return True


@dataclass(slots=True)
class Counts:
    """What the tally is made of."""

    messages_in: int = 0
    bytes_in: int = 0
    messages_out: int = 0
    bytes_out: int = 0
    calls: int = 0
    busy: int = 0
    spans: list[tuple[int, int]] = field(default_factory=list)
    released: float | None = None
    """When the input was released, by the loop's clock."""


@dataclass(frozen=True)
class Wiring:
    """What a plan means to one of its nodes. Shared by all sessions of the same plan."""

    plan: Plan
    node: plans.Node
    ports: dict[str, list[str]]
    """Channel -> input ports that read it."""
    sources: tuple[tuple[str, str], ...]
    """(channel, sender) of everything that comes."""
    written: tuple[tuple[str, str, bool, tuple[tuple[str, bool], ...]], ...]
    """(channel, type, stored, readers) of everything it writes; a reader is its name, and whether
    it hears of a session by its first message if nobody needs to prepare for it."""
    stored: tuple[str, ...]
    """Output ports whose messages are kept as results."""
    tells: tuple[str, ...]
    """Nodes that hear of a session by its first message: it tells those that are near before that."""


@lru_cache(maxsize=64)
def wiring(plan: bytes, node: str) -> Wiring:
    """Return what an encoded plan means to a node.

    Raises:
        DecodeError: This version cannot read the plan.
    """
    known = codec.decode(Plan, plan)
    return wire(known, node)


def wire(plan: Plan, node: str) -> Wiring:
    """Return what a plan means to a node."""
    mine = plan.nodes[node]
    ports: dict[str, list[str]] = {}
    for port, channel in mine.reads.items():
        ports.setdefault(channel, []).append(port)
    sources: list[tuple[str, str]] = []
    for channel in ports:
        writers = plans.writers(plan, channel)
        sources += [(channel, writer) for writer in writers]
        if channel in plan.fed or not writers:
            sources.append((channel, CLIENT))
    first = plans.heard_first(plan)
    written = tuple(
        (
            channel,
            plan.channels[channel].type,
            plan.channels[channel].stored,
            tuple((reader, reader not in first) for reader in plans.readers(plan, channel)),
        )
        for channel in dict.fromkeys(mine.writes.values())
    )
    stored = tuple(p for p, channel in mine.writes.items() if plan.channels[channel].stored)
    behind = plans.downstream(plan, node) if node == first[0] else ()
    tells = tuple(name for name in behind if name not in first)[:TOLD]
    return Wiring(plan, mine, ports, tuple(sources), written, stored, tells)


def _nothing() -> None:
    pass


_NO_PROBES: Final[Mapping[str, int]] = {}
_NO_TAPS: Final[Mapping[str, "Tap"]] = {}


@dataclass(slots=True)
class Sent:
    """What a part sent over a separate transport, which may lose what the ledger does not."""

    under_way: int = 0
    """Messages that are not known to have arrived."""
    lost: BlueEngineError | None = None
    """Why one of them will not."""

    @property
    def settled(self) -> bool:
        """Whether all has arrived, or something will not."""
        return self.lost is not None or not self.under_way


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a part ends."""

    outcome: Outcome
    fault: Fault | None
    again: bool
    """Whether another attempt may help."""


class Part:
    """A session's state in this instance.

    Once it is over it refers to nothing that refers to it, else it would stay until Python looks for
    cycles: one of ten thousand objects takes milliseconds, in which everything waits.
    """

    recording: "Recording | None" = None
    """Of what it receives; only when the session is recorded."""
    disk: "Disk | None" = None
    """Where messages wait that are too many for memory; None where none has to wait."""
    look: "Look | None" = None
    """Whether the session waits for itself; None until much waits."""
    tells: Sequence[str] = ()
    """Nodes that it tells of the session before there is anything to read."""
    probes: Mapping[str, int] = _NO_PROBES
    """Node -> number of its last question that was passed on."""

    def __init__(self, no: int, start: Start, wired: Wiring, folder: str) -> None:
        """Begin with a Start command; steps are added by the host."""
        self.no = no
        self.start = start
        self.plan = wired.plan
        self.node = wired.node
        self.ports = wired.ports
        """Channel -> input ports that read it."""
        self.stored = wired.stored
        """Output ports whose messages are kept as results."""
        self.folder = folder
        self.key = (start.session, start.attempt, start.node)
        self.state = State.STARTING
        self.live = True
        """Whether it still takes and makes messages: not ENDING or ENDED."""
        self.steps: list[StepRun] = []
        self.unbegun = 0
        """Steps whose start_func is not done."""
        self.blocked: deque[frames.Out | frames.Say] = deque()
        """Written by workers, but a reader's window is closed; a ``finish`` waits there, too."""
        self.finishing = False
        """``finish`` was said: no call is made any more."""
        self.sending = False
        """Whether messages are held back to the end of this turn of the loop."""
        self.unsaved = False
        """Whether results wait to be reported at the end of this turn of the loop."""
        self.notices = self.logged = 0
        """Status messages said, and log lines written, so far."""
        self.lines: list[str | int] = []
        """Time, level and text of log lines that wait to be written."""
        self.files_came = self.files_went = False
        """Whether there is something of this part in the blob store."""
        self.dismissed = False
        """Whether the workers were told that it is over."""
        self.sent = Sent()
        self.verdict: Verdict | None = None
        """Set once, when its end is decided."""
        self.cancel_kill: Callable[[], None] = _nothing
        """Calls off the end of workers that ignore a stop."""
        self.pushes: Pushes | None = None
        """Input that the client of an interactive session pushes; None in any other session."""
        self.taps: Mapping[str, Tap] = _NO_TAPS
        """Channel -> who watches it; nearly always none."""
        self.counts = Counts()
        self.sources = {name: Source() for name in wired.sources}
        self.open_sources = len(self.sources)
        picks, go = start.picks, start.go
        self.channels = {
            channel: Output(
                channel,
                kind,
                [Route(name, picks[name], unheard=go and later) for name, later in readers],
                stored,
            )
            for channel, kind, stored, readers in wired.written
        }
        self.outputs = {port: self.channels[channel] for port, channel in self.node.writes.items()}
        """Output port -> what it is linked to; two ports may share a channel."""

    def accept(
        self, channel: str, sender: str, seq: int, kind: Kind, count: int
    ) -> tuple[Source, int] | None:
        """Note a run that arrived, and how many of its first messages are known; None when all are.

        Raises:
            MessageLostError: A message before these never came.
        """
        source = self.sources.get((channel, sender))
        if source is None or source.ended:
            return None
        known = source.expected - seq
        if known >= count:
            return None
        if known < 0:
            raise MessageLostError(
                f"channel {channel!r}: messages {source.expected} to {seq - 1}"
                f" of {sender or 'the client'} never arrived"
            )
        source.expected = seq + count
        if kind is not _DATA:
            source.ended = True
            self.open_sources -= 1
        return source, known

    def close(self) -> None:
        """Give back what is kept on disk of messages that wait."""
        if self.disk is not None:
            self.disk.close()

    def take_unsaved(self) -> list[tuple[str, int, list[bytes]]]:
        """Return the results not yet reported: (channel, number of the first, items)."""
        taken = []
        for output in self.channels.values():
            if output.unsaved:
                first = output.stored_seq - len(output.unsaved)
                taken.append((output.channel, first, output.unsaved))
                output.unsaved = []
        return taken

    def tally(self) -> Tally:
        """Return what was done so far."""
        c = self.counts
        return Tally(
            messages_in=c.messages_in,
            bytes_in=c.bytes_in,
            messages_out=c.messages_out,
            bytes_out=c.bytes_out,
            calls=c.calls,
            busy=c.busy,
            spans=tuple(c.spans),
        )
