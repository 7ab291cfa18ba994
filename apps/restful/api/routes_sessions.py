"""Sessions: submit, wait, read, list, stop, results, events.

The two POST routes are measured to the microsecond: they take the bare request and return bytes,
and their part of the OpenAPI document is added in ``openapi``.
"""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from apps.restful.api import body, convert, render, schemas, sse
from apps.restful.api.deps import PartsOf, WhoAsks, parts_of
from apps.restful.api.door import SESSION, who_of
from apps.restful.api.download import DOCUMENTS, blob_response, bytes_response
from apps.restful.api.openapi import reads
from apps.restful.api.params import Wait
from apps.restful.api.problems import document, documented
from apps.restful.api.responses import ok
from apps.restful.service import feed, read, watch
from apps.restful.service.answer import Answer
from apps.restful.service.errors import InvalidError
from apps.restful.service.orders import Order, Posted
from apps.restful.service.parts import Parts
from apps.restful.service.shapes import MEMBERS
from apps.restful.service.submit import SINGLE, WORKFLOW, submit, try_out
from apps.sessions import results
from blueengine.graph.dag import Fault

router = APIRouter(prefix="/api/v1", tags=["sessions"])

_ANSWERS: Final = document(
    schemas.Envelope[schemas.SessionAnswer], says="It has ended."
) | document(
    schemas.Envelope[schemas.SessionAnswer],
    code=202,
    says="It has not ended yet.",
)
_TRIED: Final = document(
    schemas.Envelope[schemas.SessionAnswer | schemas.DryRun],
    says="It has ended; or, of a dry run, what would become of it.",
)


def answered(answer: Answer) -> Response:
    """Return what is known of a session: 200 once it has ended, else 202."""
    return ok(
        render.session_answer(answer),
        message=render.message(answer),
        status=200 if answer.ended else 202,
    )


@router.post(
    "/process-single-engine",
    summary="Run one engine",
    status_code=202,
    responses=_ANSWERS | documented(400, 409, 413, 415, 422, 503),
    openapi_extra=reads(schemas.SingleEngineRequest),
)
async def process_single_engine(request: Request) -> Response:
    """Store a session of one engine; with `waitTimeSecond`, answer at its end."""
    return await run_single(request, parts_of(request))


@router.post(
    "/process-workflow",
    summary="Run a graph of engines",
    status_code=202,
    responses=_ANSWERS | _TRIED | documented(400, 409, 413, 415, 422, 503),
    openapi_extra=reads(schemas.WorkflowRequest),
)
async def process_workflow(request: Request) -> Response:
    """Store a session; with `waitTimeSecond`, answer at its end.

    With `?dryRun=true` nothing is stored: the answer says whether it is valid and would get its
    slots now.
    """
    return await run_workflow(request, parts_of(request))


def run_single(request: Request, parts: Parts) -> Coroutine[Any, Any, Response]:
    """Do what ``process_single_engine`` says."""
    return _run(request, parts, SINGLE, within="inputs", read=_single)


def run_workflow(request: Request, parts: Parts) -> Coroutine[Any, Any, Response]:
    """Do what ``process_workflow`` says."""
    return _run(request, parts, WORKFLOW, within="startData", read=_workflow)


async def _run(
    request: Request,
    parts: Parts,
    kind: str,
    *,
    within: str,
    read: Callable[[Parts, Any], Order],
) -> Response:
    """Submit what a body asks for; ``within`` is the member with its payloads.

    What was asked before, but for the payloads, is not read again.
    """
    key, who = _key(request), who_of(request)
    value = await body.read_json(request, limit=who.limit(parts.settings.max_body))
    bare, payloads = convert.apart(within, value)
    name = parts.orders.key(kind, bare)
    posted = Posted(
        known=parts.orders.find(name) or parts.orders.add(name, read(parts, bare)),
        payloads=payloads,
        idempotency_key=key,
        body_hash=convert.digest(kind, value) if key else "",
    )
    if request.scope["query_string"] and _is_dry_run(request):
        return ok(render.placement(await try_out(parts, posted, who)))
    answer = await submit(parts, posted, who)
    if who.key:
        request.scope[SESSION] = answer.session
        parts.owners.add(answer.session, who.tenant)
    return answered(answer)


def _single(_: Parts, value: Any) -> Order:
    return convert.single(body.validate(schemas.SingleEngineRequest, value))


def _workflow(parts: Parts, value: Any) -> Order:
    """Return the order in a body; a shape seen before is not read again."""
    if not isinstance(value, dict):
        body.validate(schemas.WorkflowRequest, value)
    shape_key = parts.shapes.key(value)
    known = parts.shapes.find(shape_key)
    if known is not None:
        rest = {name: member for name, member in value.items() if name not in MEMBERS}
        return convert.workflow(body.validate(schemas.KnownWorkflowRequest, rest), known)
    whole = body.validate(schemas.WorkflowRequest, value)
    return convert.workflow(whole, parts.shapes.add(shape_key, convert.shape(whole)))


SHORTCUTS: Final = {
    "/api/v1/process-single-engine": run_single,
    "/api/v1/process-workflow": run_workflow,
}
"""POST routes that are served without the framework's routing; see ``shortcut``."""


def _key(request: Request) -> str:
    key = body.header(request.scope, b"idempotency-key")
    if key:
        convert.check_key(key)
    return key


def _is_dry_run(request: Request) -> bool:
    match request.query_params.get("dryRun", "false").lower():
        case "true" | "1":
            return True
        case "false" | "0":
            return False
        case other:
            msg = f"dryRun is true or false, not {other[:40]!r}"
            raise InvalidError.because(msg, loc="/query/dryRun", kind="bool-parsing")


async def _read(
    parts: PartsOf, kind: str, session: str, channel: list[str], wait: float
) -> Response:
    return answered(await read.read_answer(parts, session, kind=kind, channels=channel, wait=wait))


Name = Annotated[str, Field(max_length=64)]
"""As long as names are; with bounded lists of them, a URL is never too long for HTTP servers."""
Channels = Annotated[
    list[Name],
    Query(
        default_factory=list,
        description="Only these channels; without it every stored one.",
        max_length=64,
    ),
]


@router.get(
    "/process-single-engine/{session_id}",
    summary="Status and results of a single-engine session",
    responses=_ANSWERS | documented(404, 422, 503),
)
async def read_single_engine(
    parts: PartsOf, session_id: str, channel: Channels, wait: Wait = 0.0
) -> Response:
    """Return status and results so far; with `waitTimeSecond`, at its end."""
    return await _read(parts, SINGLE, session_id, channel, wait)


@router.get(
    "/process-workflow/{session_id}",
    summary="Status and results of a workflow session",
    responses=_ANSWERS | documented(404, 422, 503),
)
async def read_workflow(
    parts: PartsOf, session_id: str, channel: Channels, wait: Wait = 0.0
) -> Response:
    """Return status and results so far; with `waitTimeSecond`, at its end."""
    return await _read(parts, WORKFLOW, session_id, channel, wait)


@router.get(
    "/sessions",
    summary="List sessions",
    responses=document(schemas.Envelope[schemas.SessionList]) | documented(422, 503),
)
async def list_sessions(
    *,
    parts: PartsOf,
    who: WhoAsks,
    status: Annotated[schemas.StatusWord | None, Query()] = None,
    engine: Annotated[str, Query(max_length=64)] = "",
    label: Annotated[
        list[Annotated[str, Field(max_length=321)]],
        Query(default_factory=list, description="`name:value`; repeats.", max_length=12),
    ],
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[str, Query(pattern=r"^\d{0,17}$", description="From the page before.")] = "",
) -> Response:
    """Return sessions, newest first. A page may be short, even empty, before the last one."""
    found = await read.list_sessions(
        parts,
        who,
        status=status or "",
        engine=engine,
        labels=_labels(label),
        limit=limit,
        before=int(cursor or 0),
    )
    return ok(render.listed(found))


def _labels(words: list[str]) -> dict[str, str]:
    wrong = [
        Fault(f"/query/label/{at}", f"a label is name:value, not {word[:80]!r}", "bad-label")
        for at, word in enumerate(words)
        if ":" not in word
    ]
    if wrong:
        raise InvalidError(wrong)
    return dict(word.split(":", 1) for word in words)


@router.get(
    "/sessions/{session_id}",
    summary="Everything known of a session",
    responses=document(schemas.Envelope[schemas.SessionDetail]) | documented(404, 503),
)
async def read_session(parts: PartsOf, session_id: str) -> Response:
    """Return its graph, each engine's part in it, its timeline, and why it waits."""
    return ok(render.detail(await read.read_detail(parts, session_id)))


@router.post(
    "/sessions/{session_id}/stop",
    summary="Stop a session",
    responses=document(schemas.Envelope[schemas.Stopped], says="It is canceled.")
    | document(schemas.Envelope[schemas.Stopped], code=202, says="Its engines are told to stop.")
    | documented(404, 409, 503),
)
async def stop_session(parts: PartsOf, session_id: str) -> Response:
    """Cancel it at once while it waits; tell its engines to stop while it runs."""
    status = await read.stop(parts, session_id, "a client asked for it")
    data = {"sessionId": session_id, "process": {"status": status}}
    return ok(data, status=200 if status == "canceled" else 202)


@router.get(
    "/sessions/{session_id}/results/{channel}",
    summary="Page through the results of a channel",
    responses=document(schemas.Envelope[schemas.ResultPage]) | documented(404, 422, 503),
)
async def read_results(
    parts: PartsOf,
    session_id: str,
    channel: str,
    after: Annotated[int, Query(ge=0, le=2**53, description="Results to skip.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Return stored messages in order."""
    found = await read.read_results(parts, session_id, channel, after=after, limit=limit)
    return ok(render.result_page(session_id, channel, found))


@router.get(
    "/sessions/{session_id}/results/{channel}/{index}/blob",
    summary="One result as bytes",
    response_class=FileResponse,
    responses=DOCUMENTS | documented(404, 416, 422, 503),
)
async def read_blob(
    request: Request, parts: PartsOf, session_id: str, channel: str, index: int
) -> Response:
    """Return one stored message as it was written; ranges are served."""
    if not 0 <= index <= 2**53:
        raise InvalidError.because("an index is a whole number from 0 on", loc="/path/index")
    blob = await read.read_blob(parts, session_id, channel, index)
    kind, name = results.content_type(blob.stored), results.meta(blob.stored).name
    if ref := blob.stored.blob:
        return blob_response(parts.blobs, ref, blob.size, content_type=kind, name=name)
    return bytes_response(request, blob.stored.payload, content_type=kind, name=name)


Taps = Annotated[
    list[Name],
    Query(
        default_factory=list,
        description="Show messages of this channel as they pass; repeats.",
        max_length=8,
    ),
]


@router.get(
    "/sessions/{session_id}/events",
    summary="Follow a session",
    response_class=sse.EventStream,
    status_code=200,
    responses=sse.DOCUMENTS | documented(404, 422, 503),
)
async def follow_session(
    parts: PartsOf,
    who: WhoAsks,
    session_id: str,
    tap: Taps,
    last_event_id: Annotated[str, Header(alias="Last-Event-ID")] = "",
) -> Response:
    """Return what happened to a session and what happens from now on.

    Events: `status`, `part` (an engine's part in it), `results` (a channel has more), and what
    engines say themselves (`progress`, any word of their own). `Last-Event-ID` goes on behind
    that event, without a gap. `tap` adds events `tap`: messages of any channel as they pass, live,
    never waited for, and not repeated.
    """
    if last_event_id and not feed.is_event_id(last_event_id):
        msg = "Last-Event-ID is no id of an event from here"
        raise InvalidError.because(msg, loc="/header/Last-Event-ID")
    if not await feed.has_more(parts, session_id, after=last_event_id):
        return Response(status_code=204)
    watcher = await watch.watcher(parts, session_id, tap)
    return sse.EventStream(parts, session_id, who, after=last_event_id, watcher=watcher)
