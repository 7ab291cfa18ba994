"""What the client of an interactive session pushes to one part of it.

The platform keeps every pushed message until all its readers have consumed it. When the input of
a part is released it fetches what is kept (``attach``); what is pushed later comes as commands. The
two overlap harmlessly: messages are numbered, and the part drops what it has.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from blueengine.runtime.instance import Instance
from blueengine.runtime.part import Message, Part
from blueengine.wire import codec, command
from blueengine.wire import plan as plans
from blueengine.wire.envelope import Kind
from blueengine.wire.plan import Feed, Plan

PORTION_MESSAGES: Final = 32
PORTION_BYTES: Final = 1 << 20
"""Room is given back to the client in portions; a file that is done with, at once."""
ALL: Final = 1 << 53
"""A count no channel comes to: its reader takes nothing more."""

Arrive = Callable[[str, int, Kind, Feed], None]
"""Takes (channel, sequence number, kind, message) as input of the part."""


@dataclass
class _Channel:
    """One channel the client writes and this part reads."""

    readers: list[str]
    before: int
    """Messages of start data: pushed ones are numbered behind them."""
    open: deque[Message] = field(default_factory=deque)
    """Arrived, oldest first, up to the first that is not consumed."""
    taken: int = 0
    """Consumed, start data included, with all before them."""
    told: int = 0
    untold_bytes: int = 0


def client_channels(plan: Plan, node: str) -> list[str]:
    """Return the channels a node reads that no engine writes."""
    written = {channel for other in plan.nodes.values() for channel in other.writes.values()}
    return [c for c in dict.fromkeys(plan.nodes[node].reads.values()) if c not in written]


class Pushes:
    """The pushed input of one part. Caller: the host, on its loop."""

    def __init__(self, part: Part, instance: Instance, arrive: Arrive) -> None:
        """Nothing is fetched yet; see ``attach``."""
        self._key = part.key
        self._instance = instance
        self._arrive = arrive
        self._channels = {
            channel: _Channel(plans.readers(part.plan, channel), 0)
            for channel in client_channels(part.plan, part.start.node)
        }
        self._early: list[command.Push] | None = []
        """What came before the answer of ``attach``."""

    def attach(self, start_data: dict[str, int]) -> None:
        """Fetch what was pushed so far; ``start_data`` says how many messages came before it."""
        for channel, state in self._channels.items():
            state.before = start_data.get(channel, 0)
        if self._channels:
            answer = self._instance.ledger.attach(self._key, self._channels)
            self._instance.report(answer)
            answer.add_done_callback(self._on_attached)

    def _on_attached(self, answer: "asyncio.Future[object]") -> None:
        if answer.cancelled() or answer.exception():
            return
        kept = answer.result()
        early, self._early = self._early or [], None
        if not isinstance(kept, list):
            return  # stale: a Stop is on its way
        for name, first, ended, messages in kept:
            channel = name.decode()
            for number, message in enumerate(messages, start=first):
                self._take(channel, number, message)
            if ended:
                self._end(channel, first + len(messages))
        for push in early:
            self.on_push(push)

    def on_push(self, push: command.Push) -> None:
        """Take a message as it comes."""
        if push.channel not in self._channels:
            return
        if self._early is not None:
            self._early.append(push)
        elif push.end:
            self._end(push.channel, push.number)
        else:
            self._take(push.channel, push.number, push.feed)

    def _take(self, channel: str, number: int, message: bytes) -> None:
        seq = self._channels[channel].before + number
        self._arrive(channel, seq, Kind.DATA, codec.decode(Feed, message))

    def _end(self, channel: str, count: int) -> None:
        seq = self._channels[channel].before + count
        self._arrive(channel, seq, Kind.END, Feed(channel, b""))

    def came(self, message: Message) -> None:
        """Note a message of the client that arrived, start data included."""
        state = self._channels.get(message.channel)
        if state is not None:
            state.open.append(message)

    def consumed(self, channel: str) -> None:
        """Note that some message of the channel is consumed, and tell who pushes in portions."""
        state = self._channels.get(channel)
        if state is None:
            return
        had_file = False
        while state.open and not state.open[0].uses:
            message = state.open.popleft()
            state.taken += 1
            state.untold_bytes += message.size
            had_file = had_file or bool(message.item.file)
        pushed = state.taken - state.before
        if pushed <= state.told:
            return
        if (
            had_file
            or pushed - state.told >= PORTION_MESSAGES
            or state.untold_bytes >= PORTION_BYTES
        ):
            state.told, state.untold_bytes = pushed, 0
            self._tell(channel, state, pushed)

    def no_more(self) -> None:
        """Say that this part takes nothing more: it must not hold up what others read."""
        for channel, state in self._channels.items():
            if len(state.readers) > 1:
                self._tell(channel, state, ALL)

    def _tell(self, channel: str, state: _Channel, count: int) -> None:
        answer = self._instance.ledger.taken(self._key, channel, state.readers, count)
        self._instance.report(answer)
        answer.add_done_callback(self._on_taken)

    def _on_taken(self, answer: "asyncio.Future[object]") -> None:
        if answer.cancelled() or answer.exception():
            return
        blobs = answer.result()
        for ref in blobs if isinstance(blobs, list) else ():
            self._instance.remove_blob(ref.decode())
