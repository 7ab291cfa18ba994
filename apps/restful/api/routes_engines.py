"""Engines: what they read and write, and their load."""

import asyncio

from fastapi import APIRouter
from starlette.responses import Response

from apps.restful.api import render, schemas
from apps.restful.api.deps import PartsOf
from apps.restful.api.problems import document, documented
from apps.restful.api.responses import ok
from apps.restful.service.errors import UnknownError
from blueengine.graph.dag import is_name

router = APIRouter(prefix="/api/v1/engines", tags=["engines"])


@router.get(
    "",
    summary="List engines",
    responses=document(schemas.Envelope[schemas.EngineList]) | documented(503),
)
async def list_engines(parts: PartsOf) -> Response:
    """Return every engine ever seen; a spec is kept when no instance is left."""
    ids = await parts.store.engine_ids()
    states = await asyncio.gather(*[parts.store.engine(engine) for engine in ids])
    return ok({"engines": [render.engine(state) for state in states if state is not None]})


@router.get(
    "/{engine_id}",
    summary="One engine and its instances",
    responses=document(schemas.Envelope[schemas.EngineDetail]) | documented(404, 503),
)
async def read_engine(parts: PartsOf, engine_id: str) -> Response:
    """Return an engine's spec and load; `desiredReplicas` is what an autoscaler should aim at."""
    state = await parts.store.engine(engine_id) if is_name(engine_id) else None
    if state is None:
        msg = f"engine {engine_id[:80]!r} was never seen"
        raise UnknownError.because(msg)
    return ok(render.engine_detail(state))
