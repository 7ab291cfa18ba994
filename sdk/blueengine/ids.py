"""Identifiers: their types, and how session and instance ids are made.

Time and randomness come in as arguments, so that this stays a pure room.
"""

from collections.abc import Callable
from typing import Final, NewType

SessionId = NewType("SessionId", str)
InstanceId = NewType("InstanceId", str)

_ALPHABET: Final = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
_SIX_BITS: Final = _ALPHABET * 4  # a byte -> the character of its lower six bits

Entropy = Callable[[int], bytes]
"""Answers that many random bytes, e.g. ``os.urandom``."""


def nanoid(entropy: Entropy, size: int = 21) -> str:
    """Return ``size`` URL-safe characters, 6 random bits each."""
    return entropy(size).translate(_SIX_BITS).decode()


def session_id(kind: str, rank: int, *, unix_time: float, entropy: Entropy) -> SessionId:
    """Return ``session-<kind>-<rank>-<unix time>-<nanoid>``."""
    return SessionId(f"session-{kind}-{rank}-{unix_time:.7f}-{nanoid(entropy)}")


def instance_id(engine: str, *, entropy: Entropy) -> InstanceId:
    """Return a new id for one run of an engine process; never used again after it."""
    return InstanceId(f"{engine}-{nanoid(entropy, 12)}")
