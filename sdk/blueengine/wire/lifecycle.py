"""The two status tables: of a session, and of a sub-session (one engine's part in it).

They are data. ``advance`` here and ``advance`` in the Lua scripts read the same tables (the scripts
get them in their prelude), so a status can only move as written below. Terminal statuses have
empty rows; an event that is not in a row is refused and changes nothing.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeVar

from blueengine.errors import IllegalTransitionError


class Status(StrEnum):
    """Status of a session."""

    PENDING = "pending"
    """Waits for a free slot of every engine it needs."""
    QUEUING = "queuing"
    """Engines are picked and were sent Start; not all are ready."""
    PROCESSING = "processing"
    """All engines are ready and the input is released."""
    STOPPING = "stopping"
    """A stop was asked for; engines are ending their part."""
    FINISHED = "finished"
    FAILED = "failed"
    CANCELED = "canceled"


class Event(StrEnum):
    """What can happen to a session."""

    PLACED = "placed"
    ALL_READY = "all-ready"
    REQUEUED = "requeued"
    STOP_ASKED = "stop-asked"
    ALL_FINISHED = "all-finished"
    ALL_STOPPED = "all-stopped"
    BROKE = "broke"


class SubStatus(StrEnum):
    """Status of one engine's part in a session."""

    PENDING = "pending"
    """No instance is picked."""
    STARTING = "starting"
    """Start was sent to the picked instance."""
    READY = "ready"
    """The instance accepted; it waits for the others."""
    PROCESSING = "processing"
    STOPPING = "stopping"
    """It was told to stop and has not said that it did."""
    FINISHED = "finished"
    FAILED = "failed"
    CANCELED = "canceled"


class SubEvent(StrEnum):
    """What can happen to one engine's part in a session."""

    PICKED = "picked"
    ACCEPTED = "accepted"
    RELEASED = "released"
    REQUEUED = "requeued"
    STOP_SENT = "stop-sent"
    FINISHED = "finished"
    BROKE = "broke"
    STOPPED = "stopped"


TRANSITIONS: Final[Mapping[Status, Mapping[Event, Status]]] = {
    Status.PENDING: {
        Event.PLACED: Status.QUEUING,
        Event.STOP_ASKED: Status.CANCELED,
        Event.BROKE: Status.FAILED,
    },
    Status.QUEUING: {
        Event.ALL_READY: Status.PROCESSING,
        Event.REQUEUED: Status.PENDING,
        Event.STOP_ASKED: Status.CANCELED,
        Event.BROKE: Status.FAILED,
    },
    Status.PROCESSING: {
        Event.ALL_FINISHED: Status.FINISHED,
        Event.REQUEUED: Status.PENDING,
        Event.STOP_ASKED: Status.STOPPING,
        Event.BROKE: Status.FAILED,
    },
    Status.STOPPING: {Event.ALL_STOPPED: Status.CANCELED},
    Status.FINISHED: {},
    Status.FAILED: {},
    Status.CANCELED: {},
}

SUB_TRANSITIONS: Final[Mapping[SubStatus, Mapping[SubEvent, SubStatus]]] = {
    SubStatus.PENDING: {
        SubEvent.PICKED: SubStatus.STARTING,
        SubEvent.REQUEUED: SubStatus.PENDING,
        SubEvent.BROKE: SubStatus.FAILED,
        SubEvent.STOPPED: SubStatus.CANCELED,
    },
    SubStatus.STARTING: {
        SubEvent.ACCEPTED: SubStatus.READY,
        SubEvent.REQUEUED: SubStatus.PENDING,
        SubEvent.STOP_SENT: SubStatus.STOPPING,
        SubEvent.BROKE: SubStatus.FAILED,
        SubEvent.STOPPED: SubStatus.CANCELED,
    },
    SubStatus.READY: {
        SubEvent.RELEASED: SubStatus.PROCESSING,
        SubEvent.REQUEUED: SubStatus.PENDING,
        SubEvent.STOP_SENT: SubStatus.STOPPING,
        SubEvent.BROKE: SubStatus.FAILED,
        SubEvent.STOPPED: SubStatus.CANCELED,
    },
    SubStatus.PROCESSING: {
        SubEvent.FINISHED: SubStatus.FINISHED,
        SubEvent.REQUEUED: SubStatus.PENDING,
        SubEvent.STOP_SENT: SubStatus.STOPPING,
        SubEvent.BROKE: SubStatus.FAILED,
        SubEvent.STOPPED: SubStatus.CANCELED,
    },
    SubStatus.STOPPING: {
        SubEvent.FINISHED: SubStatus.FINISHED,
        SubEvent.BROKE: SubStatus.FAILED,
        SubEvent.STOPPED: SubStatus.CANCELED,
    },
    SubStatus.FINISHED: {SubEvent.REQUEUED: SubStatus.PENDING},
    SubStatus.FAILED: {SubEvent.REQUEUED: SubStatus.PENDING},
    SubStatus.CANCELED: {},
}

TERMINAL: Final = frozenset(status for status, row in TRANSITIONS.items() if not row)
SUB_ENDED: Final = frozenset({SubStatus.FINISHED, SubStatus.FAILED, SubStatus.CANCELED})

S = TypeVar("S", Status, SubStatus)
E = TypeVar("E", Event, SubEvent)


def advance(table: Mapping[S, Mapping[E, S]], status: S, event: E) -> S:
    """Return the status after ``event``.

    Raises:
        IllegalTransitionError: The table has no such arrow.
    """
    try:
        return table[status][event]
    except KeyError:
        raise IllegalTransitionError(
            f"{event.value!r} is not allowed in {status.value!r}"
        ) from None
