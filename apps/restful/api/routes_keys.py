"""API keys: make them, see them, revoke them."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from apps.restful.api import body, schemas
from apps.restful.api.deps import PartsOf, WhoAsks
from apps.restful.api.openapi import in_body
from apps.restful.api.problems import document, documented
from apps.restful.api.responses import ok
from apps.restful.service import manage
from blueengine.ledger.keys import view
from blueengine.wire.access import Scope

router = APIRouter(prefix="/api/v1/keys", tags=["keys"])

LIMIT = 1 << 16


@router.post(
    "",
    summary="Make a key",
    status_code=201,
    responses=document(schemas.Envelope[schemas.NewKey], code=201)
    | documented(400, 401, 403, 413, 415, 422, 429, 503),
    openapi_extra=in_body(schemas.KeyRequest),
)
async def create_key(request: Request, parts: PartsOf, who: WhoAsks) -> Response:
    """Return a new key. It is shown this once; only a digest of it is kept."""
    asked = body.validate(schemas.KeyRequest, await body.read_json(request, limit=LIMIT))
    record, key = await manage.create_key(
        parts,
        who,
        tenant=asked.tenant,
        scopes=[Scope(scope) for scope in asked.scopes],
        name=asked.name,
        lasts=asked.expires_in_second or 0.0,
        rate=asked.rate_per_second,
        max_body=asked.max_body,
    )
    return ok({"key": key, **view(record, parts.clock.unix())}, status=201)


@router.get(
    "",
    summary="List keys",
    responses=document(schemas.Envelope[schemas.KeyList]) | documented(401, 403, 422, 429, 503),
)
async def list_keys(
    parts: PartsOf,
    who: WhoAsks,
    tenant: Annotated[str, Query(max_length=64, description="Only this tenant's.")] = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Annotated[str, Query(pattern=r"^\d{0,17}$", description="From the page before.")] = "",
) -> Response:
    """Return keys, newest first, revoked and expired ones too; never the keys themselves."""
    found = await manage.list_keys(parts, who, tenant=tenant, before=int(cursor or 0), limit=limit)
    now = parts.clock.unix()
    following = str(found[-1].created) if len(found) == limit else None
    return ok({"keys": [view(record, now) for record in found], "cursor": following})


@router.get(
    "/{key_id}",
    summary="One key",
    responses=document(schemas.Envelope[schemas.KeyView]) | documented(401, 403, 404, 429, 503),
)
async def read_key(parts: PartsOf, who: WhoAsks, key_id: str) -> Response:
    """Return what is kept of a key."""
    return ok(view(await manage.read_key(parts, who, key_id), parts.clock.unix()))


@router.delete(
    "/{key_id}",
    summary="Revoke a key",
    responses=document(schemas.Envelope[schemas.KeyView]) | documented(401, 403, 404, 429, 503),
)
async def revoke_key(parts: PartsOf, who: WhoAsks, key_id: str) -> Response:
    """End a key at once, at every gateway."""
    return ok(view(await manage.revoke_key(parts, who, key_id), parts.clock.unix()))
