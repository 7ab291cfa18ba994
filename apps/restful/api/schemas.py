"""HTTP bodies: what clients send and get. They may change for users without moving the line.

What is read is checked here for shape only; what it means is checked in ``blueengine.graph``.
What is written is rendered elsewhere, for speed; its models here are documentation, and a test
holds the two together.
"""

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from apps.restful.api.schemas_webhooks import WebhookView

T = TypeVar("T")

_DAY = 86_400.0
Text = Annotated[str, Field(max_length=1024)]
Seconds = Annotated[float, Field(ge=0, le=30 * _DAY, allow_inf_nan=False)]


class _In(BaseModel):
    """What is read: exactly these members, of exactly these types."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        strict=True,
        use_attribute_docstrings=True,
    )


class _Out(BaseModel):
    """What is written."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, use_attribute_docstrings=True
    )


# ---- requests ------------------------------------------------------------------------------------


class Retry(_In):
    """What to do when an engine dies in the middle."""

    max_attempts: Annotated[int, Field(ge=1, le=100)] = 1


class Webhook(_In):
    """Where to tell about the session, and of what."""

    status_types: Annotated[list[Text], Field(min_length=1, max_length=100)] = Field(
        default_factory=lambda: ["*"]
    )
    """Words of engines (`finish`, `error`, any of their own), `sessionStatusChanged`,
    `subSessionStatusChanged`; `*` is all of them."""
    callback_url: Annotated[str, Field(max_length=4096)]
    """`http://` or `https://`; not an address inside the platform's own network."""
    callback_header: Annotated[
        dict[Text, Annotated[str, Field(max_length=8192)]],
        Field(max_length=50, default_factory=dict),
    ]
    """Sent along; the values are never shown again."""
    result_chan: Text | None = None
    """A channel whose results so far go with each event; its results must be kept."""


class PlacementRule(_In):
    """Which of an engine's instances a session is given when several have a free slot.

    What is left out is as the gateway's settings say.
    """

    policy: Literal["spread", "pack"] | None = None
    """`spread`: the one with the most free slots; `pack`: the one with the fewest, so that others come
    to be idle and can be scaled in."""
    near: Literal["host", "zone", "any"] | None = None
    """`host`, `zone`: rather one where an engine of the session is already, as far as slots are free
    there, so that channels stay local; `any`: wherever it is."""


class _Common(_In):
    webhooks: Annotated[list[Webhook], Field(max_length=20, default_factory=list)]
    rank: int = 0
    """Higher comes first; -65535 to 65535."""
    wait_time_second: Seconds = 0
    """Answer when the session ends or after this time, whichever is first."""
    timeout_second: Annotated[float, Field(gt=0, le=30 * _DAY, allow_inf_nan=False)] | None = None
    """The session fails when it has not ended after this time."""
    retry: Retry | None = None
    placement: PlacementRule | None = None
    labels: Annotated[
        dict[
            Annotated[str, Field(min_length=1, max_length=64)],
            Annotated[str, Field(max_length=256)],
        ],
        Field(max_length=64, default_factory=dict),
    ]
    interactive: bool = False
    """More input follows while it runs: `POST /sessions/{id}/channels/{name}` or the WebSocket. Each
    channel that no engine writes stays open until the client ends it."""
    record: bool = False
    """Each engine keeps what it receives for as long as the session is kept, 256 MiB of it at most:
    `GET /sessions/{id}/recordings/{engine}`, and `blueengine engine replay`."""
    ttl_second: Annotated[float, Field(ge=1, le=30 * _DAY, allow_inf_nan=False)] | None = None
    """How long the session is kept once it has ended; a day when nothing is said."""


class InputPort(_In):
    """An input of a single engine."""

    type: Text = "JSON"
    payload: Any = None
    """Its start data: any JSON value, a string for Text, and for the binary types one of
    `{"base64"}` and `{"fileId"}` with optional `contentType` and `name`."""
    interested: bool = False
    """Return it with the results."""


class OutputPort(_In):
    """An output of a single engine."""

    type: Text = "JSON"
    interested: bool = False
    """Its messages are stored and returned, in order."""


class SingleEngineRequest(_Common):
    """Run one engine."""

    engine_id: Text
    inputs: Annotated[dict[Text, InputPort], Field(max_length=1000, default_factory=dict)]
    outputs: Annotated[dict[Text, OutputPort], Field(max_length=1000, default_factory=dict)]
    result_channels: Annotated[list[Text], Field(max_length=1000, default_factory=list)]
    """Outputs that are stored and returned, beside those that are `interested`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "engineId": "hello",
                    "inputs": {"Control": {"type": "JSON", "payload": {"name": "Ada"}}},
                    "outputs": {"Result": {"type": "JSON", "interested": True}},
                    "waitTimeSecond": 10,
                },
                {
                    "engineId": "hello",
                    "inputs": {"Control": {"type": "JSON"}},
                    "outputs": {"Result": {"type": "JSON", "interested": True}},
                    "interactive": True,
                    "timeoutSecond": 600,
                },
            ]
        }
    )


class DataChannel(_In):
    """A channel of a workflow."""

    name: Text
    type: Text = "JSON"
    interested: bool = False
    """Its messages are stored and returned, in order."""


class Port(_In):
    """An input or output of an engine; without `linkTo` it is not connected."""

    name: Text
    type: Text = "JSON"
    link_to: Text | None = None


class Engine(_In):
    """An engine's place in a workflow."""

    id: Text
    name: Text = ""
    """Unique in the workflow; the id when nothing is said."""
    inputs: Annotated[list[Port], Field(max_length=500, default_factory=list)]
    outputs: Annotated[list[Port], Field(max_length=500, default_factory=list)]


class StartData(_In):
    """One message that is there from the start."""

    channel_name: Text
    payload: Any
    """Any JSON value, a string for Text, and for the binary types one of `{"base64"}`,
    `{"fileId"}` and `{"url"}` with optional `contentType` and `name`."""


class KnownWorkflowRequest(_Common):
    """All of a workflow but its shape, which was found right before."""

    start_data: Annotated[list[StartData], Field(max_length=10_000, default_factory=list)]


class WorkflowRequest(KnownWorkflowRequest):
    """Run a graph of engines."""

    data_channels: Annotated[list[DataChannel], Field(max_length=2000, default_factory=list)]
    engines: Annotated[list[Engine], Field(max_length=200)]

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "dataChannels": [
                        {"name": "Input", "type": "JSON"},
                        {"name": "Result", "type": "JSON", "interested": True},
                    ],
                    "engines": [
                        {
                            "id": "hello",
                            "inputs": [{"name": "Control", "type": "JSON", "linkTo": "Input"}],
                            "outputs": [{"name": "Result", "type": "JSON", "linkTo": "Result"}],
                        }
                    ],
                    "startData": [{"channelName": "Input", "payload": {"name": "Ada"}}],
                    "waitTimeSecond": 10,
                }
            ]
        }
    )


class KeyRequest(_In):
    """A key to be made."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"tenant": "acme", "scopes": ["submit", "read"], "name": "web shop"}]
        }
    )

    tenant: str = ""
    """Whose sessions and files it makes and sees; empty: your own tenant."""
    scopes: Annotated[list[Literal["submit", "read", "admin"]], Field(min_length=1, max_length=3)]
    name: Text = ""
    """For people."""
    expires_in_second: Annotated[float, Field(gt=0, le=3660 * _DAY, allow_inf_nan=False)] | None = (
        None
    )
    """The key is valid for so long; without it, until it is revoked."""
    rate_per_second: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] = 0
    """Requests per second at one gateway; 0: as its settings say."""
    max_body: Annotated[int, Field(ge=0)] = 0
    """Bytes of a session request or an upload at most; 0: as the gateway's settings say."""


class TenantRequest(_In):
    """How much of the platform a tenant may have."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"maxRunning": 20, "maxPending": 1000}]}
    )

    max_running: Annotated[int, Field(ge=0, le=2**31)] = 0
    """Sessions that run at the same time; more wait. 0: no limit."""
    max_pending: Annotated[int, Field(ge=0, le=2**31)] = 0
    """Sessions that wait; more are refused with 429. 0: no limit."""


# ---- answers -------------------------------------------------------------------------------------

StatusWord = Literal[
    "pending", "queuing", "processing", "stopping", "finished", "failed", "canceled"
]
SubStatusWord = Literal[
    "pending", "starting", "ready", "processing", "stopping", "finished", "failed", "canceled"
]


class Envelope(_Out, Generic[T]):
    """Every answer below `/api/v1`."""

    # Nothing is said of its members here, and to look for that again in each Envelope[…] was half of the
    # time that a gateway takes to start.
    model_config = ConfigDict(use_attribute_docstrings=False)

    status: Literal["success"] = "success"
    message: str = ""
    data: T


class Problem(_Out):
    """One thing that is wrong with a request."""

    loc: str
    """JSON pointer into the body; `/query/…`, `/path/…` and `/header/…` for the rest."""
    msg: str
    type: str


class Problems(_Out):
    """Everything that is wrong with a request."""

    errors: list[Problem]


class ErrorEnvelope(_Out):
    """Every answer below `/api/v1` that says no."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "error",
                    "message": "start data for the unknown channel 'Inptu'",
                    "data": {
                        "errors": [
                            {
                                "loc": "/startData/0/channelName",
                                "msg": "start data for the unknown channel 'Inptu'",
                                "type": "unknown-channel",
                            }
                        ]
                    },
                }
            ]
        }
    )

    status: Literal["error"] = "error"
    message: str
    data: Problems


class FaultView(_Out):
    """Why a session or a part of it failed."""

    code: str
    message: str
    engine: str = ""
    node: str = ""
    traceback: str = ""


class Process(_Out):
    """Where a session stands. The three counts are there only while it is pending."""

    model_config = ConfigDict(alias_generator=None)

    status: StatusWord
    current_position: int | None = None
    """Sessions before this one; 0 is next."""
    total_pending: int | None = None
    total_queuing: int | None = None
    error: FaultView | None = None
    """Why it failed."""


class BinaryResult(_Out):
    """A result that is fetched by its URL."""

    url: str
    content_type: str
    size: int
    meta: dict[str, Any]


class SessionAnswer(_Out):
    """A session's status and its results so far."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "sessionId": "session-process-workflow-0-1636105719.5759473-vv6gz93fyL96uvcOUkCxt",
                    "process": {"status": "finished"},
                    "results": {"Result": [{"greeting": "Hello, Ada!"}]},
                }
            ]
        }
    )

    session_id: str
    process: Process
    results: dict[str, list[Any]]
    """Stored messages by channel, in order: JSON and Text inline, others as `{"url",
    "contentType", "size", "meta"}`."""
    more: dict[str, str] | None = None
    """Channel -> URL of the results behind the first 1000, where there are any."""


class LackView(_Out):
    """An engine that has no slot for a session now."""

    engine: str
    wanted: int
    free: int
    instances: int
    satisfied_by: str
    """What would help, in words."""


class QuotaView(_Out):
    """A tenant has as many sessions running as it may."""

    running: int
    max_running: int


class PickView(_Out):
    """The instance that an engine's place in the graph would be given."""

    name: str
    engine: str
    instance: str
    host: str | None
    zone: str | None


class PlacementView(_Out):
    """The rule by which instances are chosen."""

    policy: Literal["spread", "pack"]
    near: Literal["host", "zone", "any"]


class DryRun(_Out):
    """What would become of a session that is valid. Nothing is stored."""

    valid: Literal[True]
    would_be_placed: bool
    placement: PlacementView
    picks: list[PickView]
    """The instances it would get; empty when it would wait."""
    lacking: list[LackView]
    quota: QuotaView | None
    """What your tenant's sessions that run already stand in the way of; null: nothing."""


class LinkView(_Out):
    """A port and the channel it is linked to."""

    name: str
    type: str
    link_to: str


class NodeView(_Out):
    """An engine's place in the graph."""

    id: str
    name: str
    inputs: list[LinkView]
    outputs: list[LinkView]


class ChannelView(_Out):
    """A data channel."""

    name: str
    type: str
    interested: bool
    results: int | None = None
    """Messages stored so far; only of channels that are stored."""


class Dag(_Out):
    """The graph of a session."""

    engines: list[NodeView]
    data_channels: list[ChannelView]


class SubSessionView(_Out):
    """One engine's part in a session."""

    name: str
    engine: str
    instance: str | None
    status: SubStatusWord
    accepted_at: str | None
    ended_at: str | None
    progress: dict[str, Any] | None
    messages_in: int
    bytes_in: int
    messages_out: int
    bytes_out: int
    calls: int
    busy_ms: float
    spans: list[tuple[int, int]]
    """(start, length) of its first calls: microseconds since the epoch, microseconds."""
    error: FaultView | None


class StatusChange(_Out):
    """A step of a session's life."""

    status: StatusWord
    at: str
    attempt: int
    after_ms: float
    """Since the session was created."""


class Durations(_Out):
    """How long each phase took, in milliseconds; null: not reached."""

    queued_ms: float | None
    """From submit until engines were picked."""
    ready_ms: float | None
    """From there until all were ready."""
    first_result_ms: float | None
    """From there until the first message was stored."""
    run_ms: float | None
    """From ready to the end."""
    total_ms: float | None


class Pending(_Out):
    """Why a session still waits."""

    position: int
    """Sessions before this one; 0 is next."""
    total_pending: int
    total_queuing: int
    parked_on: str | None
    """The engine in whose queue it stands."""
    lacking: list[LackView]
    quota: QuotaView | None
    """It waits for one of its tenant's sessions to end; null: it does not."""


class SessionDetail(_Out):
    """Everything known of a session."""

    session_id: str
    kind: str
    rank: int
    status: StatusWord
    attempt: int
    max_attempts: int
    refusals: int
    labels: dict[str, str]
    placement: PlacementView
    recorded: bool
    """Its engines keep what they receive."""
    created_at: str
    ended_at: str | None
    error: FaultView | None
    pending: Pending | None
    dag: Dag
    sub_sessions: list[SubSessionView]
    timeline: list[StatusChange]
    durations: Durations
    webhooks: list[WebhookView]


class SessionRow(_Out):
    """A session in a list."""

    session_id: str
    kind: str
    rank: int
    status: StatusWord
    engines: list[str]
    labels: dict[str, str]
    created_at: str
    ended_at: str | None


class SessionList(_Out):
    """Sessions, newest first."""

    sessions: list[SessionRow]
    cursor: str | None
    """Give it as `cursor` for the next page; null at the end."""


class Stopped(_Out):
    """A session that was told to stop."""

    session_id: str
    process: Process


class PushView(_Out):
    """What became of a message that was pushed to a channel, or of the channel's end."""

    session_id: str
    channel: str
    sequence: int
    """Number of the message among those pushed to the channel, from 0 on; at the end, how many."""
    ended: bool
    """Nothing more can be pushed to the channel."""
    repeated: bool
    """It was there already: the same `sequence` or Idempotency-Key came before."""


class ResultPage(_Out):
    """Some of a channel's results."""

    channel: str
    type: str
    count: int
    """Stored so far."""
    after: int
    results: list[Any]
    next: int | None
    """Give it as `after` for the next page; null when this was the last one so far."""


class LineView(_Out):
    """A line that an engine wrote about a session."""

    id: str
    at: str
    """By the clock of the engine's machine."""
    attempt: int
    name: str
    """The engine's name in the session."""
    level: str
    message: str


class LinePage(_Out):
    """Some of a session's log."""

    lines: list[LineView]
    after: str
    """Give it as `after` for the lines that follow."""
    ended: bool
    """The session has ended and these are the last lines."""


class UploadView(_Out):
    """An uploaded file."""

    file_id: str
    name: str
    content_type: str
    size: int
    sha256: str
    url: str


class BegunView(_Out):
    """An upload of which more is to come: send it with `PUT` and a `Content-Range`."""

    file_id: str
    name: str
    content_type: str
    size: int
    """Bytes it will have."""
    received: int
    """Bytes that came; the number of the next one."""
    url: str


class InstanceView(_Out):
    """One running process of an engine."""

    id: str
    state: str
    used_slots: int
    concurrency: int
    since: str | None
    facts: dict[str, str]
    """What the instance says of itself: host, pid …"""


class EngineView(_Out):
    """An engine: what it reads and writes, and its load."""

    id: str
    name: str
    concurrency: int
    inputs: dict[str, str]
    outputs: dict[str, str]
    instances: int
    free_slots: int
    used_slots: int
    pending: int
    """Pending sessions that need it."""
    active: int
    """Slots held by sessions that run."""
    waiting: int
    """Sessions that stand in its own queue."""
    demand: int
    """Slots wanted or held."""
    desired_replicas: int


class EngineDetail(EngineView):
    """An engine and each of its instances."""

    instance_list: list[InstanceView]


class EngineList(_Out):
    """Every engine ever seen."""

    engines: list[EngineView]


ScopeWord = Literal["submit", "read", "admin"]


class KeyView(_Out):
    """What is kept of an API key."""

    id: str
    tenant: str
    scopes: list[ScopeWord]
    name: str
    state: Literal["active", "expired", "revoked"]
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None
    """To the minute."""
    rate_per_second: float
    """0: as the gateway's settings say."""
    max_body: int


class NewKey(KeyView):
    """A key that was made a moment ago."""

    key: str
    """The key itself: it is shown this once."""


class KeyList(_Out):
    """Keys, newest first."""

    keys: list[KeyView]
    cursor: str | None


class TenantView(_Out):
    """A tenant's limits (0: none), and how many of its sessions run and wait."""

    tenant: str
    max_running: int
    max_pending: int
    running: int
    pending: int


class TenantList(_Out):
    """Every tenant that was given a key or a limit."""

    tenants: list[TenantView]


class Stats(_Out):
    """Counts."""

    sessions: dict[StatusWord, int]
    total_sessions: int
    engines: int
    waiting_requests: int | None
    """Held until a session has news; null for those who see only their own tenant."""


class Health(_Out):
    """Whether the process lives, or can do its work."""

    status: Literal["ok", "unready"]
    parts: dict[str, str] = {}
    """Part -> what is wrong with it."""
