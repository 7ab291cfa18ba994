"""The WebSocket of a session."""

from typing import Final
from urllib.parse import urlsplit

from fastapi import APIRouter, WebSocket

from apps.restful.api import problems
from apps.restful.api.deps import PartsOf, WhoAsks
from apps.restful.api.socket import Socket
from apps.restful.service import feed, watch
from apps.restful.service.errors import ForbiddenError, InvalidError
from apps.restful.service.parts import Parts
from apps.restful.service.taps import Watcher
from blueengine.errors import BlueEngineError

router = APIRouter(prefix="/api/v1")

MOST_TAPS: Final = 8


@router.websocket("/sessions/{session_id}/ws")
async def session_socket(
    websocket: WebSocket, parts: PartsOf, who: WhoAsks, session_id: str
) -> None:
    """Serve events, results and taps of a session, and take pushes to its channels."""
    after = websocket.query_params.get("after", "")
    try:
        watcher = await _checked(websocket, parts, session_id, after)
    except BlueEngineError as exc:
        await websocket.send_denial_response(problems.answer(exc))
        return
    await websocket.accept()
    results = websocket.query_params.get("results", "true") == "true"
    socket = Socket(
        websocket, parts, who, session_id, after=after, watcher=watcher, results=results
    )
    await socket.run()


async def _checked(websocket: WebSocket, parts: Parts, session: str, after: str) -> Watcher | None:
    """See that the session may be connected to.

    Raises:
        ForbiddenError: A page of another site asks. Browsers let every page connect to every
            server, and a gateway without keys would take it for its user.
        InvalidError: A parameter is wrong.
        UnknownError: No such session, or no such channel to tap.
    """
    origin = websocket.headers.get("origin")
    if origin and urlsplit(origin).netloc != websocket.headers.get("host"):
        msg = f"pages of {origin[:80]} may not connect to this gateway"
        raise ForbiddenError.because(msg, loc="/header/Origin", kind="foreign-origin")
    if after and not feed.is_event_id(after):
        msg = "after is no id of an event from here"
        raise InvalidError.because(msg, loc="/query/after")
    results = websocket.query_params.get("results", "true")
    if results not in {"true", "false"}:
        raise InvalidError.because("results is true or false", loc="/query/results")
    taps = websocket.query_params.getlist("tap")
    if len(taps) > MOST_TAPS:
        raise InvalidError.because(f"at most {MOST_TAPS} channels are tapped", loc="/query/tap")
    await feed.has_more(parts, session, after=after)
    return await watch.watcher(parts, session, taps)
