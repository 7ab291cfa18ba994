"""One module, many engines: BENCH_ENGINE says which of them this process is.

``source`` makes messages, ``sink`` counts them, any other id answers each message with itself. With
``inline-`` before its name an engine runs its step inline.
"""

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

from bench.stream import FRAME_HEAD, frame, message
from blueengine import BlueEngine, Context

NAME = os.environ["BENCH_ENGINE"]
ROLE = NAME.removeprefix("inline-")

engine = BlueEngine(
    config={
        "ENGINE": {"ID": NAME, "CONCURRENCY": 128, "MAX_WORKER": 1},
        "INPUTS": {"NAMES": ["Control", "Frames"], "TYPES": ["JSON", "Bytes"]},
        "OUTPUTS": {"NAMES": ["Result", "Frames", "Status"], "TYPES": ["JSON", "Bytes", "JSON"]},
    }
)


def echo(_context: Context, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Answer JSON with the same JSON, a frame with the same frame."""
    if "Frames" in inputs:
        return {"Frames": inputs["Frames"]}
    return {"Result": inputs["Control"]}


def make(_context: Context, inputs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Write as many messages as Control asks for; each carries when the first was made."""
    order = inputs["Control"]
    count, size, started = order["count"], order["size"], time.time_ns()
    if order["kind"] == "json":
        for number in range(count):
            yield {"Result": message(number, count, started, size)}
    else:
        body = bytes(size - FRAME_HEAD.size)
        for number in range(count):
            yield {"Frames": frame(number, count, started, body)}


seen: dict[str, int] = {}


def tally(context: Context, inputs: Mapping[str, Any]) -> dict[str, Any] | None:
    """Count; at the last message say how many there were and how long they took."""
    if "Frames" in inputs:
        number, count, started = FRAME_HEAD.unpack_from(inputs["Frames"])
    else:
        item = inputs["Control"]
        number, count, started = item["n"], item["of"], item["t"]
    session = context.session_id
    got = seen.get(session, 0)
    if number != got:
        raise ValueError(f"message {number} came where {got} was due")
    seen[session] = got + 1
    if got + 1 < count:
        return None
    del seen[session]
    return {"Result": {"count": count, "ns": time.time_ns() - started}}


engine.add_step(
    NAME,
    process_func={"source": make, "sink": tally}.get(ROLE, echo),
    input_channels=["Control", "Frames"],
    output_channels=["Result", "Frames"],
    run_in="process" if ROLE == NAME else "inline",
)
engine.start()
