"""What the platform tells an instance, on its command stream.

Scripts write them, so they are flat fields of a stream entry: ``t`` names the kind, ``s`` the
session, ``a`` the attempt, ``n`` the node; other fields as in each class.
"""

from collections.abc import Mapping

import msgspec

from blueengine.errors import DecodeError


class Start(msgspec.Struct, frozen=True):
    """Take part in a session: prepare, then answer Ready or Refuse."""

    session: str
    attempt: int
    node: str
    plan: bytes
    picks: dict[str, str]
    """Node -> instance that plays it in this attempt."""
    start_data: bytes
    """Encoded StartData when this node reads a fed channel, else empty. Held until Go."""
    go: bool = False
    """Every engine is ready already: the input is released with this."""


class Go(msgspec.Struct, frozen=True):
    """Every engine is ready: the input is released."""

    session: str
    attempt: int
    node: str


class Stop(msgspec.Struct, frozen=True):
    """End your part now and say so; nothing more is wanted."""

    session: str
    attempt: int
    node: str
    reason: str


class Credit(msgspec.Struct, frozen=True):
    """A reader has consumed this much of what you wrote to a channel since its last credit."""

    session: str
    attempt: int
    node: str
    """The writer, i.e. the receiver of the credit."""
    channel: str
    reader: str
    messages: int
    """How many; -1: the reader has ended and takes nothing more, so send it nothing."""
    size: int
    """Bytes."""


class Push(msgspec.Struct, frozen=True):
    """A message that the client of an interactive session pushed, or the end of its channel."""

    session: str
    attempt: int
    node: str
    """The reader."""
    channel: str
    number: int
    """Of the message among those pushed to the channel; 0 is the first. At the end: how many."""
    end: bool
    feed: bytes
    """Encoded ``Feed``; empty at the end."""


class Tap(msgspec.Struct, frozen=True):
    """Copy what goes over a channel to a gateway for some seconds, as far as that costs little."""

    session: str
    attempt: int
    node: str
    """A writer of the channel; a reader of one that only the client writes."""
    channel: str
    gateway: str
    seconds: int


class Probe(msgspec.Struct, frozen=True):
    """The asker cannot go on without a message from you, or room.

    Who cannot go on either passes it on to those it waits for itself. If it comes back to the asker, the
    session waits for itself.
    """

    session: str
    attempt: int
    node: str
    """Who is asked."""
    origin: str
    """The node that asks."""
    number: int
    """Of its question."""
    asker: str
    """The instance that plays the origin."""
    unheard: str = ""
    """To the origin: this node has heard nothing of the session yet, so ask those it waits for."""


Command = Start | Go | Stop | Credit | Push | Tap | Probe


def picks_to_text(picks: Mapping[str, str]) -> str:
    """Return picks as the scripts write them: ``node=instance`` joined by commas."""
    return ",".join(f"{node}={instance}" for node, instance in picks.items())


def picks_from_text(text: str) -> dict[str, str]:
    """Return the picks in ``text``."""
    return dict(pair.split("=", 1) for pair in text.split(",")) if text else {}


def credit_fields(credit: Credit) -> list[bytes | str | int]:
    """Return a credit as stream fields (engines send these to each other)."""
    return [
        "t", "credit", "s", credit.session, "a", credit.attempt, "n", credit.node,
        "c", credit.channel, "r", credit.reader, "m", credit.messages, "b", credit.size,
    ]  # fmt: skip


def probe_fields(probe: Probe) -> list[bytes | str | int]:
    """Return a probe as stream fields (engines send these to each other)."""
    return [
        "t", "probe", "s", probe.session, "a", probe.attempt, "n", probe.node,
        "o", probe.origin, "i", probe.number, "r", probe.asker, "u", probe.unheard,
    ]  # fmt: skip


def from_fields(raw: list[bytes]) -> Command:  # noqa: PLR0911 - one a kind
    """Return the command in a stream entry's flat field list.

    Raises:
        DecodeError: Unknown kind, or a field is missing.
    """
    try:
        fields = dict(zip(raw[::2], raw[1::2], strict=True))
        session, node = fields[b"s"].decode(), fields[b"n"].decode()
        attempt = int(fields[b"a"])
        match fields[b"t"]:
            case b"start":
                return Start(
                    session,
                    attempt,
                    node,
                    fields[b"p"],
                    picks_from_text(fields[b"k"].decode()),
                    fields.get(b"d", b""),
                    fields.get(b"g") == b"1",
                )
            case b"go":
                return Go(session, attempt, node)
            case b"stop":
                return Stop(session, attempt, node, fields[b"w"].decode())
            case b"credit":
                return Credit(
                    session,
                    attempt,
                    node,
                    fields[b"c"].decode(),
                    fields[b"r"].decode(),
                    int(fields[b"m"]),
                    int(fields[b"b"]),
                )
            case b"push":
                return Push(
                    session,
                    attempt,
                    node,
                    fields[b"c"].decode(),
                    int(fields[b"i"]),
                    fields[b"k"] == b"end",
                    fields[b"d"],
                )
            case b"tap":
                return Tap(
                    session,
                    attempt,
                    node,
                    fields[b"c"].decode(),
                    fields[b"g"].decode(),
                    int(fields[b"x"]),
                )
            case b"probe":
                return _probe(session, attempt, node, fields)
            case kind:
                raise DecodeError(
                    f"unknown command {kind!r}; is this engine older than the platform?"
                )
    except (KeyError, ValueError) as exc:
        raise DecodeError(f"malformed command: {exc!r}") from exc


def _probe(session: str, attempt: int, node: str, fields: Mapping[bytes, bytes]) -> Probe:
    origin, asker, unheard = (fields[name].decode() for name in (b"o", b"r", b"u"))
    return Probe(session, attempt, node, origin, int(fields[b"i"]), asker, unheard)
