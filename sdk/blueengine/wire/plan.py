"""The plan of a session: its graph as every part of the platform reads it.

Made once by the gateway, stored with the session and sent to each engine in its Start. It names
neither the session nor an instance: which instance plays which node is in the ``picks`` beside it,
so that one plan serves every attempt, and sessions of one shape have the same bytes.
"""

from typing import Final, Literal

import msgspec

CLIENT: Final = ""
"""The sender name of start data and of pushed input: no node can have it."""


class Node(msgspec.Struct, frozen=True, omit_defaults=True):
    """One engine in the graph. Ports that are linked nowhere are left out."""

    engine: str
    reads: dict[str, str]
    """Input port -> channel."""
    writes: dict[str, str]
    """Output port -> channel."""


class Channel(msgspec.Struct, frozen=True, omit_defaults=True):
    """One data channel. Its writers and readers are the nodes linked to it."""

    type: str
    stored: bool = False
    """Messages are kept as results of the session."""


class Plan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A session's graph and the rules its engines need."""

    nodes: dict[str, Node]
    channels: dict[str, Channel]
    fed: tuple[str, ...] = ()
    """Channels that get start data."""
    interactive: bool = False
    """The client may push more input to channels that no engine writes."""
    record: bool = False
    """Each engine records what it receives."""
    labels: dict[str, str] = {}
    version: Literal[1] = 1


class Feed(msgspec.Struct, frozen=True, array_like=True):
    """One message of start data: exactly what a data message carries."""

    channel: str
    payload: bytes
    meta: bytes = b""
    blob: str = ""
    """Where the payload is when it is not inline."""


class StartData(msgspec.Struct, frozen=True, array_like=True):
    """All start data of a session, in the order given."""

    feeds: tuple[Feed, ...]
    version: Literal[1] = 1


def writers(plan: Plan, channel: str) -> list[str]:
    """Return the names of the nodes that write the channel."""
    return [name for name, node in plan.nodes.items() if channel in node.writes.values()]


def readers(plan: Plan, channel: str) -> list[str]:
    """Return the names of the nodes that read the channel."""
    return [name for name, node in plan.nodes.items() if channel in node.reads.values()]


def downstream(plan: Plan, node: str) -> list[str]:
    """Return the nodes that read what a node writes, and those that read theirs, nearest first."""
    found = [node]
    for name in found:  # which grows meanwhile
        for channel in plan.nodes[name].writes.values():
            found += [reader for reader in readers(plan, channel) if reader not in found]
    return found[1:]


def heard_first(plan: Plan) -> list[str]:
    """Return the nodes that must hear of the session before any engine writes.

    They have the client as a writer, or nothing to read at all. All others hear of it by their
    first message, if they have nothing to prepare.
    """
    written = {channel for node in plan.nodes.values() for channel in node.writes.values()}
    return [
        name
        for name, node in plan.nodes.items()
        if not node.reads
        or any(channel in plan.fed or channel not in written for channel in node.reads.values())
    ]
