"""Webhooks: what a client asks for, checked; and what became of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from apps.restful.service.access import Who
from apps.restful.service.errors import ConflictError, ForbiddenError, UnknownError
from apps.restful.service.orders import HookAsked
from apps.restful.service.parts import Parts
from apps.sessions.outbox import STATES, Delivery, Secret
from apps.sessions.outside import Rules, receiver_of
from blueengine.graph.dag import Fault, pointer
from blueengine.wire.plan import Plan
from blueengine.wire.webhook import DEFAULT_TENANT, Webhook

_TYPE: Final = re.compile(r"[^\x00-\x1f\x7f]{1,128}")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_HEADER_VALUE: Final = re.compile(r"([!-~]([ -~]*[!-~])?)?")
_OURS: Final = re.compile(
    r"host|content-.*|transfer-encoding|connection|keep-alive|te|trailer|upgrade|expect|"
    r"user-agent|accept-encoding|proxy-.*|webhook-.*",
    re.IGNORECASE,
)
_DELIVERY: Final = re.compile(r"evt_[A-Za-z0-9_-]{1,100}")


@dataclass(frozen=True, kw_only=True)
class Deliveries:
    """A page of deliveries."""

    items: Sequence[Delivery]
    cursor: int
    """Where the next page begins; 0 when there is none."""


def faults(asked: Sequence[HookAsked], plan: Plan | None, rules: Rules) -> list[Fault]:
    """Return everything that is wrong with the webhooks of a session of this plan."""
    found: list[Fault] = []
    for at, hook in enumerate(asked):
        if wrong := rules.fault(hook.url):
            loc = pointer("webhooks", at, "callbackUrl")
            kind = "forbidden-address" if "network" in wrong else "bad-url"
            found.append(Fault(loc, f"callbackUrl: {wrong}", kind))
        found += _type_faults(hook, at)
        found += _header_faults(hook, at)
        if plan is not None and hook.results:
            found += _result_faults(hook, at, plan)
    return found


def _type_faults(hook: HookAsked, at: int) -> list[Fault]:
    return [
        Fault(
            pointer("webhooks", at, "statusTypes", index),
            "a status type is 1 to 128 characters without control characters",
            "bad-type",
        )
        for index, word in enumerate(hook.types)
        if not _TYPE.fullmatch(word)
    ]


def _header_faults(hook: HookAsked, at: int) -> list[Fault]:
    """Return what is wrong with the headers, never showing a value."""
    found = []
    for name, value in hook.headers.items():
        wrong = ""
        if not _HEADER_NAME.fullmatch(name):
            wrong = "this is no name of an HTTP header"
        elif _OURS.fullmatch(name):
            wrong = f"{name} is set by the platform"
        elif not _HEADER_VALUE.fullmatch(value):
            wrong = f"the value of {name} must be printable ASCII without spaces around it"
        if wrong:
            loc = pointer("webhooks", at, "callbackHeader", name[:128])
            found.append(Fault(loc, wrong, "bad-header"))
    return found


def _result_faults(hook: HookAsked, at: int, plan: Plan) -> list[Fault]:
    channel = plan.channels.get(hook.results)
    if channel is not None and channel.stored:
        return []
    stored = ", ".join(name for name, one in plan.channels.items() if one.stored) or "none"
    wrong = (
        f"there is no channel {hook.results[:80]!r}"
        if channel is None
        else f"no results of channel {hook.results!r} are kept; make it interested"
    )
    loc = pointer("webhooks", at, "resultChan")
    return [Fault(loc, f"{wrong} (kept are: {stored})", "unknown-channel")]


def made(asked: Sequence[HookAsked], who: Who) -> list[Webhook]:
    """Return webhooks without a fault as they are kept for a session of ``who``."""
    return [
        Webhook(
            url=hook.url,
            receiver=receiver_of(hook.url),
            types=tuple(dict.fromkeys(hook.types)),
            headers=dict(hook.headers),
            results=hook.results,
            tenant=who.tenant or DEFAULT_TENANT,
        )
        for hook in asked
    ]


async def list_deliveries(
    parts: Parts, who: Who, *, tenant: str, state: str, before: int, limit: int
) -> Deliveries:
    """Return deliveries of one state, the last changed first.

    Raises:
        ForbiddenError: Another tenant's are not to be seen.
    """
    items, cursor = await parts.outbox.page(
        tenant=_tenant(who, tenant), state=state, before=before, limit=limit
    )
    return Deliveries(items=items, cursor=cursor)


async def read_delivery(parts: Parts, who: Who, delivery: str) -> Delivery:
    """Return what became of an event.

    Raises:
        UnknownError: It was never tried, its record is over, or it is another tenant's.
    """
    found = await parts.outbox.delivery(delivery) if _DELIVERY.fullmatch(delivery) else None
    if found is None or not _owns(who, found):
        raise _unknown(delivery)
    return found


async def redeliver(parts: Parts, who: Who, delivery: str) -> Delivery:
    """Have an event that was given up delivered again.

    Raises:
        UnknownError: It was never tried, its record is over, or it is another tenant's.
        ConflictError: It was delivered, or is being retried.
    """
    found = await read_delivery(parts, who, delivery)
    word = await parts.outbox.redeliver(delivery, tenant=found.webhook.tenant)
    if word in STATES:
        how = "was delivered" if word == "delivered" else "is being delivered"
        msg = f"only dead events can be delivered again; this one {how}"
        raise ConflictError.because(msg, kind="not-dead")
    return await read_delivery(parts, who, delivery)


async def secrets(parts: Parts, who: Who, *, tenant: str) -> list[Secret]:
    """Return the secrets that sign now, newest first.

    Raises:
        ForbiddenError: Another tenant's are not to be seen.
    """
    return await parts.outbox.signing_secrets(_tenant(who, tenant))


async def rotate(parts: Parts, who: Who, *, tenant: str, keep_old: float) -> list[Secret]:
    """Add a new secret; the old ones still sign for ``keep_old`` seconds.

    Raises:
        ForbiddenError: Another tenant's are not to be changed.
    """
    return await parts.outbox.rotate_secret(_tenant(who, tenant), keep_old=keep_old)


def _tenant(who: Who, asked: str) -> str:
    own = who.tenant or DEFAULT_TENANT
    if asked and asked != own and not who.sees_all:
        raise ForbiddenError.because("this is another tenant's", loc="/query/tenant")
    return asked or own


def _owns(who: Who, found: Delivery) -> bool:
    return who.sees_all or found.webhook.tenant == (who.tenant or DEFAULT_TENANT)


def _unknown(delivery: str) -> UnknownError:
    return UnknownError.because(
        f"there is no delivery {delivery[:120]!r}; one that was delivered is kept for a day, a dead "
        "one for a week"
    )
