"""More input for interactive sessions."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import Response

from apps.restful.api import body, convert, schemas
from apps.restful.api.deps import PartsOf, WhoAsks
from apps.restful.api.params import Wait
from apps.restful.api.problems import document, documented
from apps.restful.api.responses import ok
from apps.restful.api.routes_files import word
from apps.restful.service import push
from apps.restful.service.push import Accepted, Wanted

router = APIRouter(prefix="/api/v1/sessions/{session_id}/channels/{name}", tags=["sessions"])

_ANSWERS: Final = document(
    schemas.Envelope[schemas.PushView], says="It was there already: a repeated request."
) | document(schemas.Envelope[schemas.PushView], code=202, says="The engines will get it.")

_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {}, "example": {"page": 3}},
            "text/plain": {"schema": {"type": "string"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


def view(session: str, accepted: Accepted, *, ended: bool) -> dict[str, Any]:
    """Return what a client gets of a push."""
    return {
        "sessionId": session,
        "channel": accepted.channel,
        "sequence": accepted.number,
        "ended": ended,
        "repeated": accepted.repeated,
    }


@router.post(
    "",
    summary="Push a message to a channel",
    status_code=202,
    responses=_ANSWERS | documented(400, 404, 409, 413, 415, 422, 429, 503),
    openapi_extra=_BODY,
)
async def push_message(
    *,
    request: Request,
    parts: PartsOf,
    who: WhoAsks,
    session_id: str,
    name: str,
    sequence: Annotated[
        int | None,
        Query(ge=0, le=2**53, description="Number of the message to the client, from 0 on."),
    ] = None,
    file_name: Annotated[
        str, Query(alias="name", description="File name of a binary message.")
    ] = "",
    wait: Wait = 0.0,
    idempotency_key: Annotated[
        str,
        Header(
            alias="Idempotency-Key",
            max_length=convert.MAX_KEY,
            description="The same key and message are one message.",
        ),
    ] = "",
) -> Response:
    """Give a running session created with `"interactive": true` one more message.

    JSON as `application/json`: any value for a JSON channel, a string for Text, and for the binary
    types `{"base64"}` or `{"fileId"}` as in start data. Any other content type is the message
    itself, as bytes, for a binary channel. What comes before the session runs is kept and released
    with its input. When the engines have too much to consume, 429;
    with `waitTimeSecond` only when there is no room by then.
    """
    if idempotency_key:
        convert.check_key(idempotency_key)
    target = await push.find(parts, session_id, name)
    kind = request.headers.get("content-type", "")
    if body.is_json(kind):
        value = await body.read_json(request, limit=who.limit(parts.settings.max_body))
        message = await push.from_json(parts, target, name, value, who)
    else:
        message = await push.from_bytes(
            parts,
            target,
            name,
            request.stream(),
            content_type=word(kind, "/header/Content-Type"),
            name=word(file_name.rpartition("/")[2], "/query/name"),
            who=who,
        )
    wanted = Wanted(number=sequence, key=idempotency_key, wait=wait)
    accepted = await push.push(parts, target, name, message, wanted)
    return _answered(session_id, accepted, ended=False)


@router.post(
    "/end",
    summary="End a channel",
    status_code=202,
    responses=_ANSWERS | documented(404, 409, 422, 503),
)
async def end_channel(parts: PartsOf, session_id: str, name: str) -> Response:
    """Say that nothing more will be pushed to a channel.

    Once all its inputs have ended, an engine finishes what it has and ends its part.
    """
    target = await push.find(parts, session_id, name)
    accepted = await push.end(parts, target, name)
    return _answered(session_id, accepted, ended=True)


def _answered(session: str, accepted: Accepted, *, ended: bool) -> Response:
    data = view(session, accepted, ended=ended)
    return ok(data, status=200 if accepted.repeated else 202)
