"""Live views of channels: copies of messages for gateways that asked, and only while they ask.

A copy is published and forgotten: nobody waits for it, and what is too much or too large is
skipped. A channel that nobody taps costs one look at ``part.taps`` a message.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from blueengine.kit import aio
from blueengine.kit.redis_link import Reply
from blueengine.runtime.instance import Instance
from blueengine.runtime.part import Part
from blueengine.transport.blobs import INLINE_LIMIT
from blueengine.wire import codec, command, names
from blueengine.wire.envelope import Copy

MESSAGES_A_SECOND: Final = 50.0
BYTES_A_SECOND: Final = float(1 << 20)
BURST_SECONDS: Final = 1.0
LARGEST: Final = INLINE_LIMIT
"""Of a payload that is shown; of a larger one only its facts are."""


@dataclass
class Tap:
    """Who watches one channel, and how much may still be shown."""

    gateways: dict[str, float] = field(default_factory=dict)
    """Name -> until when it wants to see."""
    messages: float = MESSAGES_A_SECOND * BURST_SECONDS
    size: float = BYTES_A_SECOND * BURST_SECONDS
    at: float = 0.0
    skipped: int = 0

    def allows(self, size: int, now: float) -> bool:
        """Take the room that a message of this size needs, if there is some."""
        passed, self.at = max(0.0, now - self.at), now
        self.messages = min(
            MESSAGES_A_SECOND * BURST_SECONDS, self.messages + passed * MESSAGES_A_SECOND
        )
        self.size = min(BYTES_A_SECOND * BURST_SECONDS, self.size + passed * BYTES_A_SECOND)
        if self.messages < 1 or self.size < size:
            self.skipped += 1
            return False
        self.messages -= 1
        self.size -= size
        return True


class Taps:
    """The taps on the parts of one instance. Caller: the host, on its loop."""

    def __init__(self, instance: Instance) -> None:
        """Publish over the link of ``instance``."""
        self._instance = instance

    def open(self, part: Part, order: command.Tap) -> None:
        """Begin to show a channel to a gateway, or go on with it."""
        if not part.live or order.channel not in part.plan.channels:
            return
        tap = part.taps.get(order.channel)
        if tap is None:
            part.taps = {**part.taps, order.channel: (tap := Tap())}
        tap.gateways[order.gateway] = asyncio.get_running_loop().time() + order.seconds

    def show(  # noqa: PLR0917 - the fields of a message, not packed again for a call
        self,
        part: Part,
        channel: str,
        sender: str,
        number: int,
        payload: bytes,
        meta: bytes,
        size: int,
    ) -> None:
        """Show a message to whoever taps its channel; its payload is empty when it is in a file."""
        tap = part.taps.get(channel)
        if tap is None:
            return
        now = asyncio.get_running_loop().time()
        for gateway in [g for g, until in tap.gateways.items() if until < now]:
            del tap.gateways[gateway]
        if not tap.gateways:
            part.taps = {name: other for name, other in part.taps.items() if other is not tap}
            return
        if len(payload) > LARGEST:
            payload = b""
        if not tap.allows(len(payload), now):
            return
        session, attempt, _ = part.key
        kind = part.plan.channels[channel].type
        copy = Copy(
            session, attempt, channel, sender, number, kind, payload, meta, size, tap.skipped
        )
        tap.skipped = 0
        data = codec.encode(copy)
        for gateway in tap.gateways:
            sent = self._instance.link.send("PUBLISH", names.tap(gateway), data)
            sent.add_done_callback(aio.take_note)
            sent.add_done_callback(_Gone(tap, gateway))


@dataclass(frozen=True, slots=True)
class _Gone:
    """Shows a gateway nothing more once nobody listens there."""

    tap: Tap
    gateway: str

    def __call__(self, sent: "asyncio.Future[Reply]") -> None:
        if not sent.cancelled() and not sent.exception() and sent.result() == 0:
            self.tap.gateways.pop(self.gateway, None)
