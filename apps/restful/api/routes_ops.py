"""What operators and probes ask."""

from typing import Final

import orjson
from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import PlainTextResponse, Response

from apps.restful.api import schemas
from apps.restful.api.deps import PartsOf, WhoAsks
from apps.restful.api.problems import RETRY_AFTER, document, documented
from apps.restful.api.responses import JSON_TYPE, ok
from apps.restful.service.read import is_ready
from blueengine.wire.lifecycle import Status

router = APIRouter(tags=["operations"])

READY_WITHIN: Final = 1.0


@router.get(
    "/api/v1/stats",
    summary="Counts",
    responses=document(schemas.Envelope[schemas.Stats]) | documented(503),
)
async def stats(parts: PartsOf, who: WhoAsks) -> Response:
    """Return how many sessions are kept by status, and how many engines are known."""
    counts = await parts.store.counts([status.value for status in Status], tenant=who.sees)
    return ok(
        {
            "sessions": counts,
            "totalSessions": sum(counts.values()),
            "engines": len(await parts.store.engine_ids()),
            "waitingRequests": len(parts.pokes) if who.sees_all else None,
        }
    )


@router.get("/healthz", summary="Liveness", responses=document(schemas.Health))
async def healthz() -> Response:
    """Say that the process lives."""
    return Response(b'{"status":"ok"}', media_type=JSON_TYPE)


@router.get(
    "/readyz",
    summary="Readiness",
    responses=document(schemas.Health) | document(schemas.Health, code=503),
)
async def readyz(parts: PartsOf) -> Response:
    """Say whether Redis answers, Kafka where it is used, and the blob folder takes files."""
    state = await is_ready(parts, within=READY_WITHIN)
    wrong = any(state.values()) or parts.pokes.closing
    if parts.settings.keys_needed:  # whoever asks has no key: no addresses for them
        state = {part: "away" if fault else "" for part, fault in state.items()}
    content = orjson.dumps({"status": "unready" if wrong else "ok", "parts": state})
    headers = {"Retry-After": RETRY_AFTER} if wrong else None
    return Response(content, 503 if wrong else 200, headers, media_type=JSON_TYPE)


@router.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)
async def metrics(parts: PartsOf) -> Response:
    """Return the gateway's numbers in Prometheus' text format."""
    content = await parts.metrics.expose(parts.store, parts.outbox, parts.pokes)
    return Response(content, headers={"Content-Type": CONTENT_TYPE_LATEST})
