"""What clients do with a session that runs: push more input, watch a channel.

A push is one atomic step. Messages are numbered per channel from 0 on. A message is kept until all engines that read the
channel have consumed it, and no more than a window of such messages is kept, so neither Redis nor
an engine holds much, however slow the engine is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from blueengine.kit.redis_link import Link
from blueengine.wire import codec, names
from blueengine.wire import plan as plans
from blueengine.wire.envelope import Stored
from blueengine.wire.plan import Feed, Plan

SCRIPTS: Final = ("push", "tap")
WINDOW_MESSAGES: Final = 256
WINDOW_BYTES: Final = 8 << 20
"""What may wait in one channel to be consumed."""
REMEMBERED: Final = 4096
"""Sessions whose channels are kept in memory; they never change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A data channel of a session."""

    type: str
    stored: bool
    readers: tuple[str, ...]
    writers: tuple[str, ...]

    @property
    def written(self) -> bool:
        """An engine writes it, so the client does not."""
        return bool(self.writers)


@dataclass(frozen=True, slots=True)
class Target:
    """A session and its channels."""

    session: str
    interactive: bool
    channels: Mapping[str, Channel]

    @property
    def pushable(self) -> tuple[str, ...]:
        """Names of the channels the client writes."""
        return tuple(n for n, c in self.channels.items() if not c.written and c.readers)


@dataclass(frozen=True, slots=True)
class Pushed:
    """What became of a push."""

    word: str
    """``ok`` | ``again`` (it is there already) | ``full`` | ``gap`` | ``closed`` | ``unread`` (all
    readers have ended) | ``conflict`` (the key came with another message) | ``ended`` |
    ``unknown``."""
    number: int = -1
    """Of the message (``ok``, ``again``) or of the next one (``gap``); of an end, how many."""
    status: str = ""
    """Of the session, when it has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPush:
    """A message, or the end of a channel (``feed`` is None)."""

    channel: str
    feed: Feed | None = None
    stored: Stored | None = None
    """The same as a result, where the channel is stored."""
    weight: int = 0
    """Bytes it takes of the window."""
    number: int | None = None
    """Which message this is to the client; None: the next one."""
    key: str = ""
    key_hash: str = ""


class LiveStore:
    """The ledger's side of clients of running sessions."""

    def __init__(self, link: Link) -> None:
        """Work over ``link``, which must know ``SCRIPTS``."""
        self._link = link
        self._targets: dict[str, Target] = {}

    async def target(self, session: str) -> Target | None:
        """Return a session's channels, or None when there is no such session."""
        known = self._targets.get(session)
        if known is not None:
            return known
        raw = await self._link.send("HGET", names.session(session), "plan")
        if raw is None:
            return None
        target = _target(session, codec.decode(Plan, raw))
        if len(self._targets) >= REMEMBERED:
            del self._targets[next(iter(self._targets))]
        self._targets[session] = target
        return target

    async def push(self, target: Target, new: NewPush, *, gateway: str = "") -> Pushed:
        """Add a message to a channel, once.

        Args:
            target: The session.
            new: The message, or the end of the channel.
            gateway: Is poked when there is room again, if there is none now.
        """
        feed = new.feed
        reply = await self._link.run(
            "push",
            target.session,
            new.channel,
            ",".join(target.channels[new.channel].readers),
            ",".join(target.pushable),
            "" if new.number is None else new.number,
            new.key,
            new.key_hash,
            "end" if feed is None else "data",
            new.weight,
            feed.blob if feed else "",
            codec.encode(feed) if feed else b"",
            codec.encode(new.stored) if new.stored else b"",
            WINDOW_MESSAGES,
            WINDOW_BYTES,
            gateway,
        )
        word = reply[0].decode()
        if word == "ended":
            return Pushed(word, status=reply[1].decode())
        return Pushed(word, *reply[1:])

    async def tap(self, target: Target, channel: str, *, gateway: str, seconds: int) -> int:
        """Have copies of a channel's messages published to ``gateway`` for a while.

        Answers how many engines were told: none while the session does not run.
        """
        has = target.channels[channel]
        told = await self._link.run(
            "tap", target.session, ",".join(has.writers or has.readers), channel, gateway, seconds
        )
        return int(told or 0)


def _target(session: str, plan: Plan) -> Target:
    return Target(
        session,
        plan.interactive,
        {
            name: Channel(
                type=channel.type,
                stored=channel.stored,
                readers=tuple(plans.readers(plan, name)),
                writers=tuple(plans.writers(plan, name)),
            )
            for name, channel in plan.channels.items()
        },
    )
