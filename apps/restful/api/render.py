"""What use cases answer, as the JSON that clients get."""

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from apps.restful.api import render_webhooks
from apps.restful.api.times import when
from apps.restful.service.answer import RESULTS_AT_ONCE, Answer
from apps.restful.service.files import Upload
from apps.restful.service.logs import Lines
from apps.restful.service.read import Detail, Listed, Results
from apps.restful.service.resumed import Begun
from apps.restful.service.submit import Lack, Placement
from apps.sessions import results
from apps.sessions.results import API, result, results_url
from apps.sessions.store import (
    EngineState,
    Entry,
    PlacementRule,
    SessionRecord,
    SubSession,
    TenantState,
)
from blueengine.datatypes.names import JSON, TEXT
from blueengine.wire.envelope import Copy
from blueengine.wire.lifecycle import TERMINAL
from blueengine.wire.plan import Plan
from blueengine.wire.report import Fault

# ---- sessions ------------------------------------------------------------------------------------


def session_answer(answer: Answer) -> dict[str, Any]:
    """Return the answer of submit and of read."""
    session = answer.session
    data: dict[str, Any] = {
        "sessionId": session,
        "process": process(answer),
        "results": {
            channel: [result(session, channel, index, item) for index, item in enumerate(items)]
            for channel, items in answer.results.items()
        },
    }
    more = {
        channel: f"{results_url(session, channel)}?after={RESULTS_AT_ONCE}"
        for channel, items in answer.results.items()
        if len(items) >= RESULTS_AT_ONCE
    }
    if more:
        data["more"] = more
    return data


def process(answer: Answer) -> dict[str, Any]:
    """Return where a session stands."""
    view: dict[str, Any] = {"status": answer.status}
    if answer.queue is not None:
        view["current_position"] = answer.queue.position
        view["total_pending"] = answer.queue.pending
        view["total_queuing"] = answer.queue.queuing
    if answer.fault is not None and answer.status == "failed":
        view["error"] = fault(answer.fault)
    return view


def fault(why: Fault) -> dict[str, str]:
    """Return why a session or a part of it failed."""
    return {
        "code": why.code,
        "message": why.message,
        "engine": why.engine,
        "node": why.node,
        "traceback": why.traceback,
    }


def message(answer: Answer) -> str:
    """Return one line for people; empty when there is nothing to say."""
    if answer.status == "failed" and answer.fault is not None:
        return f"the session failed: {answer.fault.message}"
    return ""


def placement(trial: Placement) -> dict[str, Any]:
    """Return the answer of a dry run."""
    return {
        "valid": True,
        "wouldBePlaced": bool(trial.picks),
        "placement": _rule(trial.rule),
        "picks": [
            {
                "name": pick.node,
                "engine": pick.engine,
                "instance": pick.instance,
                "host": pick.host or None,
                "zone": pick.zone or None,
            }
            for pick in trial.picks
        ],
        "lacking": [_lack(lack) for lack in trial.lacking],
        "quota": _quota(trial.quota),
    }


def _rule(rule: PlacementRule) -> dict[str, str]:
    return {"policy": rule.policy, "near": rule.near or "any"}


def detail(found: Detail) -> dict[str, Any]:
    """Return everything known of a session."""
    record = found.record
    pending = None
    if found.queue is not None:
        pending = {
            "position": found.queue.position,
            "totalPending": found.queue.pending,
            "totalQueuing": found.queue.queuing,
            "parkedOn": record.parked or None,
            "lacking": [_lack(lack) for lack in found.lacking],
            "quota": _quota(found.quota),
        }
    return {
        "sessionId": record.session,
        "kind": record.kind,
        "rank": record.rank,
        "status": record.status,
        "attempt": record.attempt,
        "maxAttempts": record.max_attempts,
        "refusals": record.refused,
        "labels": record.labels,
        "placement": _rule(record.placement),
        "recorded": record.plan.record,
        "createdAt": when(record.created),
        "endedAt": when(record.ended),
        "error": fault(record.fault) if record.fault is not None else None,
        "pending": pending,
        "dag": _dag(record.plan, found.results),
        "subSessions": [_part(part) for part in record.parts],
        "timeline": _timeline(record, found.history),
        "durations": _durations(record),
        "webhooks": [render_webhooks.webhook(hook) for hook in found.webhooks],
    }


def listed(found: Listed) -> dict[str, Any]:
    """Return a page of sessions."""
    return {
        "sessions": [
            {
                "sessionId": head.session,
                "kind": head.kind,
                "rank": head.rank,
                "status": head.status,
                "engines": list(dict.fromkeys(head.engines)),
                "labels": head.labels,
                "createdAt": when(head.created),
                "endedAt": when(head.ended),
            }
            for head in found.heads
        ],
        "cursor": str(found.cursor) if found.cursor else None,
    }


def event(session: str, entry: Entry) -> tuple[str, dict[str, Any]]:
    """Return an event of a session's history as (name, data)."""
    fields = entry.fields
    data: dict[str, Any] = {"at": when(entry.at), "attempt": entry.attempt}
    match fields["k"]:
        case "session":
            return "status", {"status": fields["st"], **data}
        case "part":
            return "part", {"name": fields["n"], "status": fields["st"], **data}
        case "results":
            channel, count = fields["c"], int(fields["count"])
            url = results_url(session, channel)
            return "results", {
                "name": fields["n"], "channel": channel, "count": count, "url": url, **data,
            }  # fmt: skip
        case _:
            kind = fields.get("type", "")
            body = orjson.Fragment(fields.get("body") or "null")
            return kind, {"name": fields.get("n", ""), "type": kind, "body": body, **data}


# ---- results -------------------------------------------------------------------------------------


def copy(seen: Copy) -> dict[str, Any]:
    """Return what a tap shows of a message: JSON and text as they are, small others as base64."""
    facts = results.facts(seen.meta)
    view: dict[str, Any] = {
        "channel": seen.channel,
        "name": seen.sender,
        "type": seen.type,
        "contentType": facts.content_type or results.default_content_type(seen.type),
        "size": seen.size,
        "meta": results.meta_view(facts),
        "skipped": seen.skipped,
    }
    if seen.size and not seen.payload:
        return view  # too large to be shown
    if seen.type == JSON:
        view["body"] = orjson.Fragment(seen.payload)
    elif seen.type == TEXT:
        view["body"] = seen.payload.decode(errors="replace")
    else:
        view["base64"] = base64.b64encode(seen.payload).decode()
    return view


def result_page(session: str, channel: str, found: Results) -> dict[str, Any]:
    """Return a page of a channel's results."""
    end = found.after + len(found.items)
    return {
        "channel": channel,
        "type": found.type,
        "count": found.count,
        "after": found.after,
        "results": [
            result(session, channel, index, item)
            for index, item in enumerate(found.items, start=found.after)
        ],
        "next": end if end < found.count else None,
    }


def lines(found: Lines) -> dict[str, Any]:
    """Return some of a session's log."""
    return {
        "lines": [
            {
                "id": line.id,
                "at": when(line.at),
                "attempt": line.attempt,
                "name": line.node,
                "level": line.level,
                "message": line.text,
            }
            for line in found.lines
        ],
        "after": found.after,
        "ended": found.ended,
    }


# ---- files and engines ---------------------------------------------------------------------------


def upload(file: Upload) -> dict[str, Any]:
    """Return an uploaded file."""
    return {
        "fileId": file.id,
        "name": file.name,
        "contentType": file.content_type,
        "size": file.size,
        "sha256": file.sha256,
        "url": f"{API}/files/{file.id}",
    }


def begun(file: Begun) -> dict[str, Any]:
    """Return an upload of which more is to come."""
    return {
        "fileId": file.id,
        "name": file.name,
        "contentType": file.content_type,
        "size": file.size,
        "received": file.received,
        "url": f"{API}/files/{file.id}",
    }


def engine(state: EngineState) -> dict[str, Any]:
    """Return an engine and its load."""
    spec = state.spec
    return {
        "id": spec.id,
        "name": spec.name,
        "concurrency": spec.concurrency,
        "inputs": spec.inputs,
        "outputs": spec.outputs,
        "instances": len(state.instances),
        "freeSlots": state.free_slots,
        "usedSlots": state.used_slots,
        "pending": state.pending,
        "active": state.used_slots,
        "waiting": state.waiting,
        "demand": state.demand,
        "desiredReplicas": math.ceil(state.demand / max(1, spec.concurrency)),
    }


def engine_detail(state: EngineState) -> dict[str, Any]:
    """Return an engine and each of its instances."""
    return {**engine(state), "instanceList": [_instance(record) for record in state.instances]}


def _instance(record: Mapping[str, str]) -> dict[str, Any]:
    known = {"id", "used", "engine", "concurrency", "state", "since", "beat"}
    return {
        "id": record["id"],
        "state": record.get("state", ""),
        "usedSlots": int(record["used"]),
        "concurrency": int(record.get("concurrency", 0)),
        "since": when(int(record.get("since", 0))),
        "facts": {name: value for name, value in record.items() if name not in known},
    }


# ---- pieces --------------------------------------------------------------------------------------


def _quota(state: TenantState | None) -> dict[str, int] | None:
    if state is None:
        return None
    return {"running": state.running, "maxRunning": state.max_running}


def _lack(lack: Lack) -> dict[str, Any]:
    return {
        "engine": lack.engine,
        "wanted": lack.wanted,
        "free": lack.free,
        "instances": lack.instances,
        "satisfiedBy": lack.cure,
    }


def _dag(plan: Plan, counts: Mapping[str, int]) -> dict[str, Any]:
    def links(ports: Mapping[str, str]) -> list[dict[str, str]]:
        return [
            {"name": port, "type": plan.channels[channel].type, "linkTo": channel}
            for port, channel in ports.items()
        ]

    channels: list[dict[str, Any]] = []
    for name, channel in plan.channels.items():
        view = {"name": name, "type": channel.type, "interested": channel.stored}
        channels.append(view | ({"results": counts[name]} if name in counts else {}))
    return {
        "engines": [
            {
                "id": node.engine,
                "name": name,
                "inputs": links(node.reads),
                "outputs": links(node.writes),
            }
            for name, node in plan.nodes.items()
        ],
        "dataChannels": channels,
    }


def _part(part: SubSession) -> dict[str, Any]:
    tally = part.tally
    return {
        "name": part.node,
        "engine": part.engine,
        "instance": part.instance or None,
        "status": part.status,
        "acceptedAt": when(part.accepted),
        "endedAt": when(part.ended),
        "progress": part.progress,
        "messagesIn": tally.messages_in,
        "bytesIn": tally.bytes_in,
        "messagesOut": tally.messages_out,
        "bytesOut": tally.bytes_out,
        "calls": tally.calls,
        "busyMs": tally.busy / 1000,
        "spans": tally.spans,
        "error": fault(part.fault) if part.fault is not None else None,
    }


def _timeline(record: SessionRecord, history: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return the status changes; those of the last attempt to the microsecond, as recorded."""
    exact = {
        (record.attempt, "queuing"): record.picked,
        (record.attempt, "processing"): record.ready,
    }
    exact |= {(1, "pending"): record.created}
    exact |= {(record.attempt, status): record.ended for status in TERMINAL}
    steps = []
    for entry in history:
        status = entry.fields["st"]
        at = exact.get((entry.attempt, status)) or max(entry.at, record.created)
        steps.append(
            {
                "status": status,
                "at": when(at),
                "attempt": entry.attempt,
                "afterMs": (at - record.created) / 1000,
            }
        )
    return steps


def _durations(record: SessionRecord) -> dict[str, float | None]:
    def between(start: int, end: int) -> float | None:
        return (end - start) / 1000 if start and end >= start else None

    return {
        "queuedMs": between(record.created, record.picked),
        "readyMs": between(record.picked, record.ready),
        "firstResultMs": between(record.ready, record.first_result),
        "runMs": between(record.ready, record.ended),
        "totalMs": between(record.created, record.ended),
    }
