"""What engines wrote about a session."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from apps.restful.api import render, schemas
from apps.restful.api.deps import PartsOf
from apps.restful.api.params import Wait
from apps.restful.api.problems import document, documented
from apps.restful.api.responses import ok
from apps.restful.service import logs
from apps.restful.service.errors import InvalidError

router = APIRouter(prefix="/api/v1", tags=["sessions"])


@router.get(
    "/sessions/{session_id}/logs",
    summary="What engines wrote about a session",
    responses=document(schemas.Envelope[schemas.LinePage]) | documented(404, 422, 503),
)
async def read_logs(
    *,
    parts: PartsOf,
    session_id: str,
    engine: Annotated[
        str, Query(max_length=64, description="Only this engine, by its name in the session.")
    ] = "",
    after: Annotated[
        str, Query(max_length=64, description="From the page before; empty: the first line.")
    ] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    wait: Wait = 0.0,
) -> Response:
    """Return what engines logged (`context.logger`): the last thousand lines or so of all attempts."""
    if after and not logs.is_line_id(after):
        raise InvalidError.because("after is no id of a line from here", loc="/query/after")
    found = await logs.read_logs(
        parts, session_id, node=engine, after=after, limit=limit, wait=wait
    )
    return ok(render.lines(found))
