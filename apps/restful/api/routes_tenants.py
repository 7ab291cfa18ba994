"""Tenants: how many of their sessions may run and wait at the same time."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from apps.restful.api import body, schemas
from apps.restful.api.deps import PartsOf, WhoAsks
from apps.restful.api.openapi import in_body
from apps.restful.api.problems import document, documented
from apps.restful.api.responses import ok
from apps.restful.service import manage
from apps.sessions.store import TenantState

router = APIRouter(prefix="/api/v1/tenants", tags=["keys"])

LIMIT = 1 << 16


@router.get(
    "",
    summary="List tenants",
    responses=document(schemas.Envelope[schemas.TenantList]) | documented(401, 403, 429, 503),
)
async def list_tenants(parts: PartsOf) -> Response:
    """Return every tenant that was given a key or a limit."""
    return ok({"tenants": [_view(state) for state in await manage.list_tenants(parts)]})


@router.get(
    "/{tenant}",
    summary="One tenant",
    responses=document(schemas.Envelope[schemas.TenantView]) | documented(401, 403, 404, 429, 503),
)
async def read_tenant(parts: PartsOf, who: WhoAsks, tenant: str) -> Response:
    """Return a tenant's limits, and how many of its sessions run and wait now."""
    return ok(_view(await manage.read_tenant(parts, who, tenant)))


@router.put(
    "/{tenant}",
    summary="Limit a tenant",
    responses=document(schemas.Envelope[schemas.TenantView])
    | documented(400, 401, 403, 413, 415, 422, 429, 503),
    openapi_extra=in_body(schemas.TenantRequest),
)
async def limit_tenant(request: Request, parts: PartsOf, who: WhoAsks, tenant: str) -> Response:
    """Say how many sessions of a tenant may run and wait at the same time.

    Sessions over `maxRunning` wait, and hold up nobody else's; sessions over `maxPending` are
    refused with 429. What runs already goes on when a limit is lowered.
    """
    asked = body.validate(schemas.TenantRequest, await body.read_json(request, limit=LIMIT))
    state = await manage.limit_tenant(
        parts, who, tenant, max_running=asked.max_running, max_pending=asked.max_pending
    )
    return ok(_view(state))


def _view(state: TenantState) -> dict[str, Any]:
    return {
        "tenant": state.tenant,
        "maxRunning": state.max_running,
        "maxPending": state.max_pending,
        "running": state.running,
        "pending": state.pending,
    }
