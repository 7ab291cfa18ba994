"""What the engines of a recorded session received."""

from typing import Annotated

from fastapi import APIRouter
from fastapi import Path as InPath
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from apps.restful.api.deps import PartsOf
from apps.restful.api.download import DOCUMENTS, blob_response, bytes_response
from apps.restful.api.problems import documented
from apps.restful.service import recordings
from blueengine.wire.recording import MEDIA_TYPE

router = APIRouter(prefix="/api/v1", tags=["sessions"])

Engine = Annotated[str, InPath(max_length=64, description="By its name in the session.")]


@router.get(
    "/sessions/{session_id}/recordings/{engine}",
    summary="What an engine received in a recorded session",
    response_class=FileResponse,
    responses=DOCUMENTS | documented(404, 416, 503),
)
async def read_recording(
    request: Request, parts: PartsOf, session_id: str, engine: Engine
) -> Response:
    """Return one JSON object a line, in the order of arrival.

    It has `channel`, `sender` (an engine; empty: the client), `at` (microseconds since the epoch),
    `size`, `meta`, and the `payload` in base64 or the number of its `blob`. A last line
    `{"cut": …}` says why the recording is not whole.
    """
    kept = await recordings.recording(parts, session_id, engine)
    name = f"{engine}.ndjson"
    if kept is None:
        return bytes_response(request, b"", content_type=MEDIA_TYPE, name=name)
    return blob_response(parts.blobs, kept.ref, kept.size, content_type=MEDIA_TYPE, name=name)


@router.get(
    "/sessions/{session_id}/recordings/{engine}/{number}",
    summary="A large payload that an engine received",
    response_class=FileResponse,
    responses=DOCUMENTS | documented(404, 416, 422, 503),
)
async def read_recorded_payload(
    parts: PartsOf,
    session_id: str,
    engine: Engine,
    number: Annotated[int, InPath(ge=0, le=2**31, description="`blob` in the recording.")],
) -> Response:
    """Return the bytes of the message whose `blob` has this number."""
    kept = await recordings.payload(parts, session_id, engine, number)
    return blob_response(
        parts.blobs, kept.ref, kept.size, content_type="application/octet-stream", name=""
    )
