"""Put the two branches of a fan-out together again, message by message."""

import os
from typing import Any

from blueengine import BlueEngine, Context

engine = BlueEngine(os.environ.get("ENGINE_YML"))


def join(_: Context, inputs: dict[str, Any]) -> dict[str, Any]:
    left, right = inputs["Left"], inputs["Right"]
    return {"Results": {"n": left["n"], "m": right["n"], "via": [left["via"], right["via"]]}}


engine.add_step(
    "join",
    process_func=join,
    input_channels=["Left", "Right"],
    output_channels=["Results"],
    required_channels=["Left", "Right"],
    run_in="inline",
)
engine.start()
