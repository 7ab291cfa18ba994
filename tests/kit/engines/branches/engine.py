"""Two branches of which one runs far ahead: ``BRANCH`` says which of the three engines this is.

``split`` writes the same to both branches (or, ``apart``, all of one and then all of the other), ``gather``
says how much it got when all of it came, ``late`` needs that before it can do anything.
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


match os.environ["BRANCH"]:
    case "split":
        engine.add_step(
            "split",
            process_func=split,
            input_channels=["Control"],
            output_channels=["Data", "More"],
        )
    case "gather":
        engine.add_step(
            "gather",
            process_func=gather,
            end_func=total,
            input_channels=["Data"],
            output_channels=["Total"],
        )
    case _:
        engine.add_step(
            "late",
            process_func=late,
            input_channels=["Data", "Total"],
            output_channels=["Results"],
            required_channels=["Data", "Total"],
            keep_channels=["Total"],
        )
engine.start()
