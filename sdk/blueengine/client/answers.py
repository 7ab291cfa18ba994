"""What the platform answers, as typed records. Members a newer platform adds are ignored."""

from typing import Any, TypeVar

import msgspec

M = TypeVar("M")


class Answer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of all: names are written as in the JSON."""


class Fault(Answer, frozen=True, kw_only=True):
    """Why a session or a part of it failed."""

    code: str = ""
    message: str = ""
    engine: str = ""
    node: str = ""
    traceback: str = ""


class Process(Answer, frozen=True, kw_only=True, rename=None):
    """Where a session stands; the counts are there only while it is pending."""

    status: str
    current_position: int | None = None
    total_pending: int | None = None
    total_queuing: int | None = None
    error: Fault | None = None


class Outcome(Answer, frozen=True, kw_only=True):
    """A session's status and its results so far."""

    session_id: str
    process: Process
    results: dict[str, list[Any]] = {}
    more: dict[str, str] | None = None

    @property
    def status(self) -> str:
        """The session's status."""
        return self.process.status


class Lack(Answer, frozen=True, kw_only=True):
    """An engine that has no slot for a session."""

    engine: str
    satisfied_by: str = ""


class Pending(Answer, frozen=True, kw_only=True):
    """Why a session waits."""

    position: int = 0
    lacking: list[Lack] = []


class SubSession(Answer, frozen=True, kw_only=True):
    """One engine's part in a session."""

    name: str
    engine: str
    instance: str | None = None
    status: str
    accepted_at: str | None = None
    ended_at: str | None = None
    progress: dict[str, Any] | None = None
    messages_in: int = 0
    bytes_in: int = 0
    messages_out: int = 0
    bytes_out: int = 0
    calls: int = 0
    busy_ms: float = 0.0
    spans: list[tuple[int, int]] = []
    """(start, length) of its first calls, microseconds since the epoch and microseconds."""
    error: Fault | None = None


class StatusChange(Answer, frozen=True, kw_only=True):
    """A step of a session's life."""

    status: str
    at: str
    attempt: int = 1
    after_ms: float = 0.0


class Durations(Answer, frozen=True, kw_only=True):
    """How long each phase took; None: not reached."""

    queued_ms: float | None = None
    ready_ms: float | None = None
    first_result_ms: float | None = None
    run_ms: float | None = None
    total_ms: float | None = None


class Detail(Answer, frozen=True, kw_only=True):
    """Everything known of a session."""

    session_id: str
    status: str
    kind: str = ""
    rank: int = 0
    attempt: int = 1
    max_attempts: int = 1
    labels: dict[str, str] = {}
    created_at: str = ""
    ended_at: str | None = None
    error: Fault | None = None
    pending: Pending | None = None
    sub_sessions: list[SubSession] = []
    timeline: list[StatusChange] = []
    durations: Durations = Durations()


class Row(Answer, frozen=True, kw_only=True):
    """A session in a list."""

    session_id: str
    status: str
    kind: str = ""
    engines: list[str] = []
    labels: dict[str, str] = {}
    created_at: str = ""
    ended_at: str | None = None


class Page(Answer, frozen=True, kw_only=True):
    """Sessions, newest first."""

    sessions: list[Row] = []
    cursor: str | None = None


class Upload(Answer, frozen=True, kw_only=True):
    """An uploaded file."""

    file_id: str
    size: int = 0
    sha256: str = ""


class Instance(Answer, frozen=True, kw_only=True):
    """One running process of an engine."""

    id: str
    state: str = ""
    used_slots: int = 0
    concurrency: int = 0
    since: str | None = None
    facts: dict[str, str] = {}


class Engine(Answer, frozen=True, kw_only=True):
    """An engine: what it reads and writes, and its load."""

    id: str
    name: str = ""
    concurrency: int = 1
    inputs: dict[str, str] = {}
    outputs: dict[str, str] = {}
    instances: int = 0
    free_slots: int = 0
    used_slots: int = 0
    pending: int = 0
    active: int = 0
    desired_replicas: int = 0
    instance_list: list[Instance] = []


class Engines(Answer, frozen=True, kw_only=True):
    """Every engine ever seen."""

    engines: list[Engine] = []


class Results(Answer, frozen=True, kw_only=True):
    """A page of one channel's results."""

    results: list[Any] = []
    next: int | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One server-sent event of a session."""

    id: str = ""
    name: str = ""
    data: dict[str, Any] = {}


def as_record(model: type[M], data: object) -> M:
    """Return ``data`` as a record; raises ``msgspec.ValidationError`` when it is none."""
    return msgspec.convert(data, model)
