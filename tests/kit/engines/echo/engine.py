"""Pass every message on."""

import os
from typing import Any

from blueengine import BlueEngine, Context

engine = BlueEngine(os.environ.get("ENGINE_YML"))


def echo(_: Context, inputs: dict[str, Any]) -> dict[str, Any]:
    return {"Results": inputs["Control"]}


engine.add_step("echo", process_func=echo, input_channels=["Control"], output_channels=["Results"])
engine.start()
