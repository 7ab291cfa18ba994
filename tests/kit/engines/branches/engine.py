"""Two branches of which one runs far ahead: ``BRANCH`` says which of the engines this is.

``split`` writes the same to both branches (or, ``apart``, all of one and then all of the other), ``gather``
says how much it got when all of it came, ``late`` needs that before it can do anything. ``strict`` needs it
for every message. The others have a step before that one, which forwards what it reads to it (``passing``;
``beside``, where the second step can do without; ``paired``, message by message) or, at its end, how much
it was (``summing``).
"""

import hashlib
import os
from collections.abc import Iterator
from typing import Any

from blueengine import BlueEngine, Context

engine = BlueEngine(os.environ.get("ENGINE_YML"))
got: dict[str, int] = {}


def split(_: Context, inputs: dict[str, Any]) -> Iterator[dict[str, Any]]:
    order = inputs["Control"]
    messages = (n.to_bytes(4, "big") * (order["size"] // 4) for n in range(order["count"]))
    if order.get("apart"):
        for message in messages:
            yield {"Data": message}
        for n in range(order["count"]):
            yield {"More": n.to_bytes(4, "big")}
    else:
        for message in messages:
            yield {"Data": message, "More": message}


def gather(context: Context, _: dict[str, Any]) -> None:
    got[context.session_id] = got.get(context.session_id, 0) + 1


def total(context: Context) -> dict[str, Any]:
    return {"Total": got.pop(context.session_id)}


def late(_: Context, inputs: dict[str, Any]) -> dict[str, Any]:
    data: bytes = inputs["Data"]
    n, whole = int.from_bytes(data[:4], "big"), data[:4] * (len(data) // 4) == data
    digest = hashlib.sha256(data).hexdigest()[:8]
    return {"Results": {"n": n, "whole": whole, "sum": digest, "total": inputs["Total"]}}


def forward(_: Context, inputs: dict[str, Any]) -> dict[str, Any]:
    (value,) = inputs.values()
    return {"forward": value}


def forward_total(context: Context) -> dict[str, Any]:
    return {"forward": got.pop(context.session_id)}


def join(context: Context, inputs: dict[str, Any]) -> dict[str, Any]:
    return late(context, {"Data": inputs["forward"], "Total": inputs["Total"]})


def join_sum(context: Context, inputs: dict[str, Any]) -> dict[str, Any]:
    return late(context, {"Data": inputs["Data"], "Total": inputs["forward"]})


def pair(_: Context, inputs: dict[str, Any]) -> dict[str, Any]:
    return {"Results": [inputs["forward"], inputs["Total"]]}


def only_total(_: Context, inputs: dict[str, Any]) -> dict[str, Any]:
    return {"Results": inputs["Total"]}


def add(name: str, function: Any, reads: list[str], writes: str, **more: Any) -> None:
    engine.add_step(
        name, process_func=function, input_channels=reads, output_channels=[writes], **more
    )


match os.environ["BRANCH"]:
    case "split":
        engine.add_step(
            "split",
            process_func=split,
            input_channels=["Control"],
            output_channels=["Data", "More"],
        )
    case "gather":
        add("gather", gather, ["Data"], "Total", end_func=total)
    case "late":
        both = ["Data", "Total"]
        add("late", late, both, "Results", required_channels=both, keep_channels=["Total"])
    case "strict":
        both = ["Data", "Total"]
        add("late", late, both, "Results", required_channels=both)
    case "passing":
        both = ["forward", "Total"]
        add("pass", forward, ["Data"], "forward")
        add("late", join, both, "Results", required_channels=both, keep_channels=["Total"])
    case "beside":
        add("pass", forward, ["Data"], "forward")
        add("late", only_total, ["forward", "Total"], "Results", required_channels=["Total"])
    case "paired":
        both = ["forward", "Total"]
        add("pass", forward, ["Control"], "forward")
        add("pair", pair, both, "Results", required_channels=both)
    case "summing":
        both = ["Data", "forward"]
        add("sum", gather, ["Control"], "forward", end_func=forward_total)
        add("late", join_sum, both, "Results", required_channels=both, keep_channels=["forward"])
    case _:
        raise SystemExit(2)
engine.start()
