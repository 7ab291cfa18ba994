"""Webhooks as the JSON that clients get. Values of callback headers never are among it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from apps.restful.api.times import when
from apps.restful.service.webhooks import Deliveries
from apps.sessions.outbox import Delivery, Secret, Watching

MASK: Final = "***"


def webhook(found: Watching) -> dict[str, Any]:
    """Return a webhook of a session and how it fares."""
    hook = found.webhook
    return {
        "callbackUrl": hook.url,
        "callbackHeader": dict.fromkeys(hook.headers, MASK),
        "statusTypes": hook.types,
        "resultChan": hook.results or None,
        "events": found.told,
        "waiting": found.waiting,
        "delivered": found.delivered,
        "dead": found.dead,
        "dropped": found.dropped,
        "deliveries": [delivery(one) for one in found.deliveries],
    }


def delivery(found: Delivery) -> dict[str, Any]:
    """Return what became of one event."""
    event = found.event
    return {
        "deliveryId": event.id,
        "sessionId": event.session,
        "type": event.type,
        "status": event.status,
        "engineId": event.engine,
        "happenedAt": when(int(event.at)),
        "callbackUrl": found.webhook.url,
        "state": found.state,
        "tries": found.tries,
        "nextTryAt": when(found.next_try),
        "log": [_tried(one) for one in found.log],
    }


def deliveries(found: Deliveries) -> dict[str, Any]:
    """Return a page of deliveries."""
    return {
        "deliveries": [delivery(one) for one in found.items],
        "cursor": str(found.cursor) if found.cursor else None,
    }


def secrets(found: Sequence[Secret]) -> dict[str, Any]:
    """Return the secrets that sign."""
    return {
        "secrets": [
            {
                "secret": one.value,
                "createdAt": when(one.created),
                "signsUntil": when(one.until),
            }
            for one in found
        ]
    }


def _tried(kept: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "at": when(int(kept.get("at", 0))),
        "latencyMs": kept.get("ms", 0.0),
        "code": kept.get("code"),
        "response": kept.get("response", ""),
        "error": kept.get("error", ""),
    }
