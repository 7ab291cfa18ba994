"""Webhooks: their deliveries, and the secrets that sign them."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from apps.restful.api import render_webhooks as render
from apps.restful.api import schemas_webhooks as schemas
from apps.restful.api.deps import PartsOf, WhoAsks
from apps.restful.api.problems import document, documented
from apps.restful.api.responses import ok
from apps.restful.api.schemas import Envelope
from apps.restful.service import webhooks
from apps.sessions.outbox import DAY, OLD_SECRET_SECONDS

router = APIRouter(prefix="/api/v1/webhooks", tags=["webhooks"])

Tenant = Annotated[
    str, Query(max_length=64, description="Of operators: another tenant's than their own.")
]
NO_STORE = {"Cache-Control": "no-store"}


@router.get(
    "",
    summary="List deliveries of webhooks",
    responses=document(Envelope[schemas.DeliveryList]) | documented(401, 403, 422, 429, 503),
)
async def list_deliveries(
    *,
    parts: PartsOf,
    who: WhoAsks,
    tenant: Tenant = "",
    state: Annotated[Literal["retrying", "delivered", "dead"], Query()] = "dead",
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[str, Query(pattern=r"^\d{0,17}$", description="From the page before.")] = "",
) -> Response:
    """Return deliveries of one state, the last changed first.

    `retrying`: tried in vain so far. `dead`: given up after a day, or at once when the receiver
    answered 410; kept for a week. `delivered`: kept for a day.
    """
    found = await webhooks.list_deliveries(
        parts, who, tenant=tenant, state=state, before=int(cursor or 0), limit=limit
    )
    return ok(render.deliveries(found))


@router.get(
    "/secret",
    summary="Show the secrets that sign webhooks",
    responses=document(Envelope[schemas.SecretList]) | documented(401, 403, 429, 503),
)
async def show_secrets(parts: PartsOf, who: WhoAsks, tenant: Tenant = "") -> Response:
    """Return what a receiver verifies signatures with, the newest first.

    While there are two, each event carries two signatures.
    """
    return _secret(render.secrets(await webhooks.secrets(parts, who, tenant=tenant)))


@router.post(
    "/secret/rotate",
    summary="Replace the secret that signs webhooks",
    responses=document(Envelope[schemas.SecretList]) | documented(401, 403, 422, 429, 503),
)
async def rotate_secret(
    parts: PartsOf,
    who: WhoAsks,
    tenant: Tenant = "",
    keep_old_second: Annotated[
        float,
        Query(
            alias="keepOldSecond",
            ge=0,
            le=30 * DAY,
            allow_inf_nan=False,
            description="How long the old one signs, too; 0: it is revoked at once.",
        ),
    ] = OLD_SECRET_SECONDS,
) -> Response:
    """Make a new secret. Until the old one is over, receivers may verify with either."""
    return _secret(
        render.secrets(await webhooks.rotate(parts, who, tenant=tenant, keep_old=keep_old_second))
    )


@router.get(
    "/{delivery_id}",
    summary="One delivery and its tries",
    responses=document(Envelope[schemas.DeliveryView]) | documented(401, 403, 404, 429, 503),
)
async def read_delivery(parts: PartsOf, who: WhoAsks, delivery_id: str) -> Response:
    """Return what became of an event: each try with its time, latency, code and answer."""
    return ok(render.delivery(await webhooks.read_delivery(parts, who, delivery_id)))


@router.post(
    "/{delivery_id}/redeliver",
    summary="Deliver a dead event again",
    status_code=202,
    responses=document(Envelope[schemas.DeliveryView], code=202)
    | documented(401, 403, 404, 409, 429, 503),
)
async def redeliver(parts: PartsOf, who: WhoAsks, delivery_id: str) -> Response:
    """Send it again with the same id and body, retried like a new one."""
    return ok(render.delivery(await webhooks.redeliver(parts, who, delivery_id)), status=202)


def _secret(data: dict[str, Any]) -> Response:
    response = ok(data)
    response.headers.update(NO_STORE)
    return response
