"""What the platform answers, as typed records. Members a newer platform adds are ignored."""

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from blueengine.client.errors import ENDINGS
from blueengine.wire.lifecycle import TERMINAL

if TYPE_CHECKING:
    from typing import Self

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


class Blob(Answer, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A result that is fetched by its URL: an image, a file, bytes, or very large JSON.

    ``client.load``, ``client.array``, ``client.read`` and ``client.download`` fetch it.
    """

    url: str
    content_type: str
    size: int
    meta: dict[str, Any]

    @property
    def name(self) -> str:
        """Its file name; empty when the writer gave none."""
        return str(self.meta.get("name") or "")


class Outcome(Answer, frozen=True, kw_only=True):
    """A session's status and its results."""

    session_id: str
    process: Process
    results: dict[str, list[Any]] = {}
    """Channel -> stored messages in order: JSON and Text as values, others as ``Blob``."""
    more: dict[str, str] | None = None
    """Channels that have more results than are here, and where to get them."""

    @property
    def status(self) -> str:
        """The session's status."""
        return self.process.status

    @property
    def ended(self) -> bool:
        """Whether the status is a last one."""
        return self.status in TERMINAL

    def raise_for_status(self) -> "Self":
        """Return it unless the session failed or was canceled.

        Raises:
            SessionFailedError: It failed.
            SessionCanceledError: It was stopped.
        """
        if error := ENDINGS.get(self.status):
            raise error(self)
        return self


class Lack(Answer, frozen=True, kw_only=True):
    """An engine that has no slot for a session."""

    engine: str
    wanted: int = 0
    free: int = 0
    instances: int = 0
    satisfied_by: str = ""
    """What would help, in words."""


class Pick(Answer, frozen=True, kw_only=True):
    """The instance that an engine's place in the graph would be given."""

    name: str
    engine: str
    instance: str
    host: str | None = None
    zone: str | None = None


class Placement(Answer, frozen=True, kw_only=True):
    """What would become of a session that is valid."""

    would_be_placed: bool
    picks: list[Pick] = []
    """The instances it would get; empty when it would wait."""
    lacking: list[Lack] = []


class Pending(Answer, frozen=True, kw_only=True):
    """Why a session waits."""

    position: int = 0
    """Sessions before it."""
    total_pending: int = 0
    total_queuing: int = 0
    parked_on: str | None = None
    lacking: list[Lack] = []


class Link(Answer, frozen=True, kw_only=True):
    """A port and the channel it is linked to."""

    name: str
    type: str = "JSON"
    link_to: str = ""


class Node(Answer, frozen=True, kw_only=True):
    """An engine's place in the graph."""

    id: str
    name: str
    inputs: list[Link] = []
    outputs: list[Link] = []


class Channel(Answer, frozen=True, kw_only=True):
    """A data channel; ``results`` counts the messages stored so far."""

    name: str
    type: str = "JSON"
    interested: bool = False
    results: int | None = None


class Dag(Answer, frozen=True, kw_only=True):
    """The graph of a session."""

    engines: list[Node] = []
    data_channels: list[Channel] = []


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


class Try(Answer, frozen=True, kw_only=True):
    """One try to deliver an event."""

    at: str = ""
    latency_ms: float = 0.0
    code: int | None = None
    """HTTP status of the answer; None when there was none."""
    response: str = ""
    """The beginning of the answer."""
    error: str = ""
    """Why there was no answer, or why it did not count."""


class Delivery(Answer, frozen=True, kw_only=True):
    """What became of one event of a webhook."""

    delivery_id: str
    """The ``event_id`` that the receiver sees."""
    session_id: str = ""
    type: str = ""
    status: str = ""
    engine_id: str = ""
    happened_at: str = ""
    callback_url: str = ""
    state: str = ""
    """``retrying`` | ``delivered`` | ``dead``."""
    tries: int = 0
    next_try_at: str | None = None
    log: list[Try] = []
    """The last tries, oldest first."""


class Deliveries(Answer, frozen=True, kw_only=True):
    """Deliveries, the last changed first."""

    deliveries: list[Delivery] = []
    cursor: str | None = None


class SessionWebhook(Answer, frozen=True, kw_only=True):
    """A webhook of a session and how it fares."""

    callback_url: str
    callback_header: dict[str, str] = {}
    """The names of its headers; no value is ever shown."""
    status_types: list[str] = []
    result_chan: str | None = None
    events: int = 0
    """So many so far; ``waiting`` of them are still to be delivered."""
    waiting: int = 0
    delivered: int = 0
    dead: int = 0
    dropped: int = 0
    """Messages of engines left out because too many waited."""
    deliveries: list[Delivery] = []
    """The last ones, newest first."""


class Secret(Answer, frozen=True, kw_only=True):
    """A secret that signs webhooks; it is not shown by ``repr``."""

    secret: str
    created_at: str = ""
    signs_until: str | None = None
    """None: until it is replaced."""

    def __repr__(self) -> str:
        """Say which it is, not what it is."""
        until = self.signs_until or "it is replaced"
        return f"<Secret since {self.created_at}, signs until {until}>"


class Secrets(Answer, frozen=True, kw_only=True):
    """The secrets that sign, newest first."""

    secrets: list[Secret] = []


class Key(Answer, frozen=True, kw_only=True):
    """What is kept of an API key."""

    id: str
    tenant: str = ""
    scopes: list[str] = []
    name: str = ""
    state: str = ""
    """``active`` | ``expired`` | ``revoked``."""
    created_at: str = ""
    expires_at: str | None = None
    revoked_at: str | None = None
    last_used_at: str | None = None
    rate_per_second: float = 0.0
    max_body: int = 0


class NewKey(Key, frozen=True, kw_only=True):
    """A key that was made a moment ago; ``repr`` does not show it."""

    key: str

    def __repr__(self) -> str:
        """Say which it is, not what it is."""
        return f"<NewKey {self.id} of {self.tenant}>"


class Keys(Answer, frozen=True, kw_only=True):
    """Keys, newest first."""

    keys: list[Key] = []
    cursor: str | None = None


class Tenant(Answer, frozen=True, kw_only=True):
    """A tenant's limits (0: none), and how many of its sessions run and wait."""

    tenant: str
    max_running: int = 0
    max_pending: int = 0
    running: int = 0
    pending: int = 0


class Tenants(Answer, frozen=True, kw_only=True):
    """Every tenant that was given a key or a limit."""

    tenants: list[Tenant] = []


class Detail(Answer, frozen=True, kw_only=True):
    """Everything known of a session."""

    session_id: str
    status: str
    kind: str = ""
    rank: int = 0
    attempt: int = 1
    max_attempts: int = 1
    refusals: int = 0
    labels: dict[str, str] = {}
    recorded: bool = False
    """Its engines keep what they receive."""
    created_at: str = ""
    ended_at: str | None = None
    error: Fault | None = None
    pending: Pending | None = None
    dag: Dag = Dag()
    sub_sessions: list[SubSession] = []
    timeline: list[StatusChange] = []
    durations: Durations = Durations()
    webhooks: list[SessionWebhook] = []


class Row(Answer, frozen=True, kw_only=True):
    """A session in a list."""

    session_id: str
    status: str
    kind: str = ""
    rank: int = 0
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
    name: str = ""
    content_type: str = ""
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
    waiting: int = 0
    demand: int = 0
    desired_replicas: int = 0
    instance_list: list[Instance] = []


class Engines(Answer, frozen=True, kw_only=True):
    """Every engine ever seen."""

    engines: list[Engine] = []


class Results(Answer, frozen=True, kw_only=True):
    """A page of one channel's results."""

    count: int = 0
    results: list[Any] = []
    next: int | None = None


class Line(Answer, frozen=True, kw_only=True):
    """A line that an engine wrote about a session."""

    id: str
    at: str = ""
    attempt: int = 1
    name: str = ""
    """The engine's name in the session."""
    level: str = ""
    message: str = ""


class Lines(Answer, frozen=True, kw_only=True):
    """Some of a session's log."""

    lines: list[Line] = []
    after: str = ""
    ended: bool = False


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One server-sent event of a session."""

    id: str = ""
    """Give it as ``last_event_id`` to go on behind it."""
    name: str = ""
    """``status``, ``part``, ``results``, ``progress``, or a word of an engine's own."""
    data: dict[str, Any] = {}


def as_record(model: type[M], data: object) -> M:
    """Return ``data`` as a record; raises ``msgspec.ValidationError`` when it is none."""
    return msgspec.convert(data, model)


def with_blobs(session: str, results: list[Any]) -> list[Any]:
    """Return results with a ``Blob`` for each that is named by a URL of this session.

    A JSON message may look like one; only the platform's URLs of the session itself count.
    """
    prefix = f"/api/v1/sessions/{session}/results/"
    return [_blob(prefix, result) if isinstance(result, dict) else result for result in results]


def _blob(prefix: str, result: Any) -> Any:
    if not str(result.get("url", "")).startswith(prefix):
        return result
    try:
        return msgspec.convert(result, Blob)
    except msgspec.ValidationError:
        return result
