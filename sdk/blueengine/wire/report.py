"""What an instance tells the platform of its part in a session, and what is kept of it."""

from enum import StrEnum

import msgspec


class Outcome(StrEnum):
    """How a node's part ended."""

    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"


class Fault(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Why a session or a part of it failed, for a person to read."""

    code: str
    message: str
    engine: str = ""
    node: str = ""
    instance: str = ""
    traceback: str = ""


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """What one node did: counters, and when its calls ran (the first ones; times in microseconds)."""

    messages_in: int = 0
    bytes_in: int = 0
    messages_out: int = 0
    bytes_out: int = 0
    calls: int = 0
    busy: int = 0
    """Time inside the engine's functions, microseconds."""
    spans: tuple[tuple[int, int], ...] = ()
    """(start, length) of the first calls, microseconds since the epoch and microseconds."""
