"""What an engine received in a session that is recorded, message by message.

A recording is a file of lines, one JSON object each, in the order of arrival. It is written by the
engine, served as it is by the gateway, and read by ``blueengine engine replay``.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from blueengine.errors import DecodeError
from blueengine.wire.envelope import Meta

MEDIA_TYPE: Final = "application/x-ndjson"


class Received(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message that came."""

    channel: str
    sender: str
    """The node that wrote it; empty: the client."""
    at: int
    """Microseconds since the epoch."""
    size: int
    payload: bytes = b""
    """Base64 in the file."""
    blob: int | None = None
    """Number of the file beside this one that holds a payload too large for a line."""
    meta: Meta | None = None


class Cut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last line of a recording that is not whole."""

    cut: str
    """Why nothing more was recorded."""


def line(entry: Received | Cut) -> bytes:
    """Return a line of the file."""
    return msgspec.json.encode(entry) + b"\n"


def read(lines: Iterable[bytes]) -> Iterator[Received | Cut]:
    """Yield the entries; a last line that was not written to its end is left out.

    Raises:
        DecodeError: It is no recording that this version can read.
    """
    for each in lines:
        if not each.endswith(b"\n"):
            return
        try:
            if each.startswith(b'{"cut"'):
                yield msgspec.json.decode(each, type=Cut)
            else:
                yield msgspec.json.decode(each, type=Received)
        except msgspec.MsgspecError as exc:
            raise DecodeError(f"this is no line of a recording: {exc}") from exc
