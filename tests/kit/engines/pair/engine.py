"""Put first with first, second with second; a setting that came is repeated."""

import os
from typing import Any

from blueengine import BlueEngine, Context

engine = BlueEngine(os.environ.get("ENGINE_YML"))


def pair(_: Context, inputs: dict[str, Any]) -> dict[str, Any]:
    return {"Results": [inputs["Left"], inputs["Right"], len(inputs.get("Setting", b""))]}


engine.add_step(
    "pair",
    process_func=pair,
    input_channels=["Left", "Right", "Setting"],
    output_channels=["Results"],
    required_channels=["Left", "Right", "Setting"],
    keep_channels=["Setting"],
)
engine.start()
