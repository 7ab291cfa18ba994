"""Builders of the values tests need most: say what matters, the rest is filled in."""

import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from apps.sessions.store import NewSession
from blueengine.wire.envelope import Stored
from blueengine.wire.plan import Channel, Feed, Node, Plan, StartData
from blueengine.wire.spec import EngineSpec

_numbers: Final = itertools.count(1)


def a_session_id(kind: str = "process-workflow", rank: int = 0) -> str:
    """Return a session id that no other test has."""
    return f"session-{kind}-{rank}-1700000000.0000000-{next(_numbers):021d}"


def a_topic_prefix() -> str:
    """Return a prefix of Kafka topics that no other test has."""
    return f"be-{os.getpid()}-{next(_numbers)}"


def a_plan(
    engines: Mapping[str, str] | Sequence[str] = ("echo",),
    *,
    stored: Sequence[str] = ("Out",),
    interactive: bool = False,
    labels: Mapping[str, str] | None = None,
) -> Plan:
    """Return a chain: ``In`` -> first node -> … -> last node -> ``Out``.

    ``engines`` are the engine ids in order (nodes are then named ``n1``, ``n2``, …), or
    ``{node: engine}``.
    """
    if not isinstance(engines, Mapping):
        engines = {f"n{number}": engine for number, engine in enumerate(engines, 1)}
    between = [f"Ch{number}" for number in range(1, len(engines))]
    reads, writes = ["In", *between], [*between, "Out"]
    return Plan(
        nodes={
            name: Node(engine=engine, reads={"Control": source}, writes={"Results": target})
            for (name, engine), source, target in zip(engines.items(), reads, writes, strict=True)
        },
        channels={
            name: Channel(type="JSON", stored=name in stored) for name in ("In", *between, "Out")
        },
        fed=("In",),
        interactive=interactive,
        labels=dict(labels or {}),
    )


def start_data(*payloads: bytes, channel: str = "In") -> StartData:
    """Return start data of one channel."""
    return StartData(tuple(Feed(channel, payload) for payload in payloads))


def a_session(
    engines: Mapping[str, str] | Sequence[str] = ("echo",), *, rank: int = 0, **changes: Any
) -> NewSession:
    """Return a session of a chain of engines; fields of ``NewSession`` or ``a_plan`` by name."""
    plan = changes.pop("plan", None)
    if plan is None:
        names = ("stored", "interactive")
        plan_changes = {name: changes.pop(name) for name in names if name in changes}
        if "stored_start_data" in changes:
            changes["stored"] = changes.pop("stored_start_data")
        plan = a_plan(engines, labels=changes.get("labels"), **plan_changes)
    changes.setdefault("session", a_session_id(rank=rank))
    changes.setdefault("start_data", start_data(b'{"page": 1}'))
    return NewSession(plan=plan, kind="process-workflow", rank=rank, **changes)


def an_engine_spec(engine: str = "echo", *, concurrency: int = 1, **changes: Any) -> EngineSpec:
    """Return the spec of an engine that reads Control and writes Results and Status."""
    fields: dict[str, Any] = {
        "id": engine,
        "name": engine.title(),
        "concurrency": concurrency,
        "inputs": {"Control": "JSON"},
        "outputs": {"Results": "JSON", "Status": "JSON"},
    }
    return EngineSpec(**(fields | changes))


def a_result(payload: bytes = b'{"text": "hello"}', **changes: Any) -> Stored:
    """Return a stored message."""
    fields: dict[str, Any] = {"type": "JSON", "payload": payload, "size": len(payload)}
    return Stored(**(fields | changes))
