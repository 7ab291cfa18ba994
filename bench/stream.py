"""The messages of the streaming benchmark, made alike for the platform and for its peers."""

import struct
from typing import Any, Final

FRAME_HEAD: Final = struct.Struct("<QQQ")
"""Number, how many there are, when the first was made (ns since the epoch)."""
_JSON_HEAD: Final = len('{"n":000000,"of":000000,"t":0000000000000000000,"pad":""}')


def message(number: int, count: int, started: int, size: int) -> dict[str, Any]:
    """Return a message of about ``size`` bytes as JSON."""
    return {"n": number, "of": count, "t": started, "pad": "x" * (size - _JSON_HEAD)}


def frame(number: int, count: int, started: int, body: bytes) -> bytes:
    """Return a frame: a head, then ``body``."""
    return FRAME_HEAD.pack(number, count, started) + body
