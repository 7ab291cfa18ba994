"""Prepare for each session, or refuse it, as its labels say."""

import os
import time
from typing import Any

from blueengine import BlueEngine, Context, Refuse

engine = BlueEngine(os.environ.get("ENGINE_YML"))

INSTANCE = os.environ.get("BLUEENGINE_INSTANCE_ID", "")


def start(context: Context) -> str:
    if context.labels.get("refused-by") in {INSTANCE, "all"}:
        raise Refuse(f"{INSTANCE} has no room for it")
    if context.labels.get("start") == "raise":
        raise ValueError("cannot prepare")
    if context.labels.get("start") == "hang":
        time.sleep(60)
    if context.labels.get("start") == "wait":
        while not context.cancelled:
            time.sleep(0.01)
    return f"prepared by {INSTANCE}"


def answer(context: Context, inputs: dict[str, Any]) -> dict[str, Any]:
    return {"Results": {"start": context.start_data, "got": inputs.get("Control")}}


engine.add_step(
    "answer",
    start_func=start,
    process_func=answer,
    input_channels=["Control"],
    output_channels=["Results"],
)
engine.start()
