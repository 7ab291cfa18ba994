"""Two steps: make and take. What they pass on is bytes, arrays, or the frames of a video."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from blueengine import BlueEngine, Context

engine = BlueEngine(
    {
        "ENGINE": {"ID": "steps", "MAX_WORKER": 1},
        "OUTPUTS": {"NAMES": ["Result"], "TYPES": ["JSON"]},
    }
)


def make(_context: Context, inputs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Forward what Control asks for."""
    order = inputs["Control"]
    if "video" in order:
        from blueengine import Video

        for frame in Video(order["video"]).frames():
            yield {"forward": frame}
        return
    import numpy as np

    size = order["size"]
    value = np.zeros(size, np.uint8) if size >= 1 << 20 else bytes(size)
    for _ in range(order["count"]):
        yield {"forward": value}


def start(_context: Context) -> dict[str, Any]:
    """Prepare to count."""
    return {"count": 0, "began": 0.0}


def take(context: Context, inputs: Mapping[str, Any]) -> None:
    """Count what comes; encode what is a frame."""
    value, seen = inputs["forward"], context.start_data
    seen["began"] = seen["began"] or time.perf_counter()
    seen["count"] += 1
    if not isinstance(value, bytes) and hasattr(value, "time"):
        from blueengine import Frame, VideoWriter

        if "writer" not in seen:
            seen["writer"] = VideoWriter(Path(context.client_id, "out.mp4"), rate=30)
        seen["writer"].write(Frame(value.array // 2, time=value.time))
    seen["ended"] = time.perf_counter()


def end(context: Context) -> dict[str, Any]:
    """Say how long it took from the first to the last, or how many frames there were."""
    seen = context.start_data
    if "writer" in seen:
        seen["writer"].close()
        return {"Result": seen["count"]}
    return {"Result": seen["ended"] - seen["began"]}


engine.add_step("make", process_func=make, input_channels=["Control"], output_channels=["forward"])
engine.add_step(
    "take",
    start_func=start,
    process_func=take,
    end_func=end,
    input_channels=["forward"],
    output_channels=["Result"],
)
engine.start()
