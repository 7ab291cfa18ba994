"""What a webhook is sent: the body of an event, and the headers that prove who sent it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import orjson
from standardwebhooks import Webhook as Signer

from apps.sessions.results import result, results_url
from blueengine.wire.envelope import Stored
from blueengine.wire.webhook import Event

MOST_RESULTS: Final = 100
LARGEST_RESULTS: Final = 256 * 1024
"""Bytes of results in one body; those behind are named by their URL."""
LONGEST_TEXT: Final = 16 * 1024
"""Characters of a fault's message and of its traceback."""


def body(event: Event, channel: str, results: Sequence[Stored]) -> bytes:
    """Return the body of an event with the first results of its webhook's channel, if it has one."""
    sent = {
        "eventId": event.id,
        "sessionId": event.session,
        "type": event.type,
        "status": event.status,
        "engineId": event.engine,
        "message": _message(event),
        "data": _data(event),
        "results": {},
        "timestamp": _time(event),
    }
    if channel:
        shown = _within_limits(results)
        sent["results"] = {
            channel: [result(event.session, channel, at, item) for at, item in enumerate(shown)]
        }
        if len(shown) < event.results:
            sent["more"] = {channel: f"{results_url(event.session, channel)}?after={len(shown)}"}
    return orjson.dumps(sent)


def signed(
    event_id: str, content: bytes, *, secrets: Sequence[str], unix_time: float
) -> dict[str, str]:
    """Return the headers of Standard Webhooks, with a signature for each secret."""
    at = datetime.fromtimestamp(int(unix_time), UTC)
    text = content.decode()
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(unix_time)),
        "webhook-signature": " ".join(
            Signer(secret).sign(msg_id=event_id, timestamp=at, data=text) for secret in secrets
        ),
    }


def _within_limits(results: Sequence[Stored]) -> list[Stored]:
    room, shown = LARGEST_RESULTS, list[Stored]()
    for item in results[:MOST_RESULTS]:
        room -= len(item.payload) + len(item.meta)
        if room < 0:
            break
        shown.append(item)
    return shown


def _message(event: Event) -> str:
    if event.fault is not None:
        return event.fault.message[:LONGEST_TEXT]
    said = _said(event).get("message")
    return said[:LONGEST_TEXT] if isinstance(said, str) else ""


def _data(event: Event) -> Any:
    if event.large:
        return {"type": event.type, "leftOut": f"a message of {event.large} bytes"}
    if event.body:
        return orjson.Fragment(event.body)
    data: dict[str, Any] = {"attempt": event.attempt}
    if event.node:
        data["name"] = event.node
    if (fault := event.fault) is not None:
        data["error"] = {
            "code": fault.code,
            "message": fault.message[:LONGEST_TEXT],
            "engine": fault.engine,
            "node": fault.node,
            "traceback": fault.traceback[-LONGEST_TEXT:],
        }
    return data


def _said(event: Event) -> Mapping[str, Any]:
    try:
        said = msgspec.json.decode(event.body or b"{}")
    except msgspec.DecodeError:
        return {}
    return said if isinstance(said, dict) else {}


def _time(event: Event) -> str:
    at = datetime.fromtimestamp(int(event.at) / 1e6, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
