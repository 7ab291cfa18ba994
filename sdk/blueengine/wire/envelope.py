"""One message of a data channel: a small header beside untouched payload bytes."""

from enum import IntEnum
from typing import Any, Literal

import msgspec


class Kind(IntEnum):
    """What a message is."""

    DATA = 0
    END = 1
    """The sender will write nothing more to this channel."""
    LAST = 2
    """Data, and the end behind it."""


class Meta(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Facts about a payload that travel beside it. Plain JSON and text messages have none."""

    content_type: str = ""
    name: str = ""
    """File name, without a path."""
    shape: tuple[int, ...] = ()
    """Of a raw array; empty when the payload is encoded as its content type says."""
    dtype: str = ""
    sha256: str = ""
    facts: dict[str, Any] = {}
    """What the author added, e.g. the page number."""


class Header(msgspec.Struct, frozen=True, array_like=True):
    """Who sent what to whom. ``seq`` counts from 0 per (attempt, sender, channel, reader).

    Messages that follow each other and have neither meta nor blob may go under one header, as a
    run: ``seq`` is that of the first, ``kind`` that of the last, and those before it are data.
    """

    session: str
    attempt: int
    node: str
    """The reader."""
    sender: str
    channel: str
    seq: int
    kind: Kind = Kind.DATA
    meta: bytes = b""
    """Facts of the data type (shape, encoding, file name …), MessagePack."""
    blob: str = ""
    """Where the payload is when it is not inline: a reference of the blob store."""
    trace: str = ""
    """W3C traceparent."""
    version: Literal[1] = 1
    start: bytes = b""
    """On the first message to a reader that was not told of the session: its ``Start``, encoded."""


class Stored(msgspec.Struct, frozen=True, array_like=True):
    """One message kept as a result."""

    type: str
    """Canonical type name of the channel, e.g. ``JSON``."""
    payload: bytes
    """The bytes as they were on the channel; empty when they are in the blob store."""
    meta: bytes = b""
    blob: str = ""
    size: int = 0
    version: Literal[1] = 1


class Copy(msgspec.Struct, frozen=True, array_like=True):
    """What a tap shows of one message."""

    session: str
    attempt: int
    channel: str
    sender: str
    """The node that wrote it; empty for the client."""
    number: int
    """Grows per attempt and sender; the same message may be shown by several of its readers."""
    type: str
    payload: bytes
    """Empty when it is too large to be shown."""
    meta: bytes
    size: int
    skipped: int = 0
    """Messages before this one that were not shown."""
    version: Literal[1] = 1
