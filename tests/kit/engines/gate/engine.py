"""Pass messages on once the file ``GATE`` is there."""

import os
import time
from pathlib import Path
from typing import Any

from blueengine import BlueEngine, Context

engine = BlueEngine(os.environ.get("ENGINE_YML"))


def wait(context: Context, inputs: dict[str, Any]) -> dict[str, Any]:
    while not Path(os.environ["GATE"]).exists() and not context.cancelled:
        time.sleep(0.005)
    return {"Results": inputs["Control"]}


engine.add_step("wait", process_func=wait, input_channels=["Control"], output_channels=["Results"])
engine.start()
