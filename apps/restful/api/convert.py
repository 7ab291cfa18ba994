"""From HTTP bodies to what the rules and use cases take."""

import hashlib
import string
from collections.abc import Mapping
from typing import Any, Final

import orjson

from apps.restful.api.schemas import (
    KnownWorkflowRequest,
    OutputPort,
    SingleEngineRequest,
    WorkflowRequest,
)
from apps.restful.service.errors import InvalidError
from apps.restful.service.orders import HookAsked, Order
from apps.restful.service.shapes import KnownShape
from apps.restful.service.submit import SINGLE, WORKFLOW
from blueengine.graph import request as asked
from blueengine.graph.dag import Fault

MAX_KEY: Final = 255
_VISIBLE: Final = frozenset(string.printable) - frozenset(string.whitespace)


def apart(member: str, value: Any) -> tuple[Any, list[Any]]:
    """Return a body with null for each payload in this member, and the payloads.

    The member holds ports by name, or start data in a list. What has another form is left as it is,
    to be refused.
    """
    within = value.get(member) if isinstance(value, dict) else None
    payloads: list[Any] = []

    def bare(item: Any) -> Any:
        if isinstance(item, dict) and "payload" in item:
            payloads.append(item["payload"])
            return {**item, "payload": None}
        return item

    if isinstance(within, dict):
        return {**value, member: {name: bare(item) for name, item in within.items()}}, payloads
    if isinstance(within, list):
        return {**value, member: [bare(item) for item in within]}, payloads
    return value, payloads


def single(body: SingleEngineRequest) -> Order:
    """Return the order in the body of process-single-engine."""
    outputs = body.outputs
    return _order(
        SINGLE,
        asked.SingleEngine(
            engine=body.engine_id,
            inputs={
                name: asked.SinglePort(
                    port.type,
                    port.interested,
                    # null is a message only when it is said
                    (port.payload,) if "payload" in port.model_fields_set else (),
                )
                for name, port in body.inputs.items()
            },
            outputs=_outputs(outputs),
            results=body.result_channels,
            labels=body.labels,
            rank=body.rank,
            interactive=body.interactive,
            record=body.record,
        ),
        body,
    )


def shape(body: WorkflowRequest) -> asked.Shape:
    """Return the channels and engines in the body of process-workflow."""
    return asked.Shape(
        channels=[
            asked.ChannelAsked(channel.name, channel.type, channel.interested)
            for channel in body.data_channels
        ],
        engines=[
            asked.EngineAsked(
                engine.id,
                engine.name,
                [asked.PortAsked(port.name, port.type, port.link_to) for port in engine.inputs],
                [asked.PortAsked(port.name, port.type, port.link_to) for port in engine.outputs],
            )
            for engine in body.engines
        ],
    )


def workflow(body: KnownWorkflowRequest, known: KnownShape) -> Order:
    """Return the order in the body of process-workflow, whose shape is converted already."""
    return _order(
        WORKFLOW,
        asked.Workflow(
            shape=known.shape,
            start_data=[
                asked.StartAsked(start.channel_name, start.payload) for start in body.start_data
            ],
            labels=body.labels,
            rank=body.rank,
            interactive=body.interactive,
            record=body.record,
        ),
        body,
        known=known,
    )


def _outputs(outputs: Mapping[str, OutputPort]) -> dict[str, asked.SinglePort]:
    return {name: asked.SinglePort(port.type, port.interested) for name, port in outputs.items()}


def _order(
    kind: str,
    graph: asked.SingleEngine | asked.Workflow,
    body: SingleEngineRequest | KnownWorkflowRequest,
    *,
    known: KnownShape | None = None,
) -> Order:
    return Order(
        kind=kind,
        graph=graph,
        wait=body.wait_time_second,
        time_limit=body.timeout_second or 0.0,
        ttl=body.ttl_second or 0.0,
        max_attempts=body.retry.max_attempts if body.retry else 1,
        known=known,
        policy=(placement.policy or "") if (placement := body.placement) else "",
        near=(placement.near or "") if placement else "",
        webhooks=[
            HookAsked(
                url=hook.callback_url,
                types=hook.status_types,
                headers=hook.callback_header,
                results=hook.result_chan or "",
            )
            for hook in body.webhooks
        ],
        refused=_refused(body),
    )


def check_key(key: str) -> None:
    """Refuse an Idempotency-Key that is none.

    Raises:
        InvalidError: It is too long, or holds spaces or control characters.
    """
    if len(key) > MAX_KEY or not _VISIBLE.issuperset(key):
        msg = f"Idempotency-Key must be 1 to {MAX_KEY} visible ASCII characters"
        raise InvalidError.because(msg, loc="/header/Idempotency-Key", kind="bad-key")


def digest(kind: str, value: Any) -> str:
    """Return a hash that is the same for bodies that say the same."""
    plain = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(kind.encode() + b" " + plain).hexdigest()


def _refused(body: SingleEngineRequest | KnownWorkflowRequest) -> tuple[Fault, ...]:
    """Return faults of what the request asks beside its graph."""
    faults = []
    if body.interactive and body.retry and body.retry.max_attempts > 1:
        msg = "an interactive session has one attempt: what was pushed is not kept for another"
        faults.append(Fault("/retry/maxAttempts", msg, "interactive-retry"))
    return tuple(faults)
