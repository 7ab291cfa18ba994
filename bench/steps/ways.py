"""One step that echoes, waits or calls a model, in the way that BENCH_WAY names."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from blueengine import BlueEngine, Context
from blueengine.runtime.declare import RunIn

SECONDS: Final = 0.02
"""How long what is waited for takes, and a call of the model with up to ``SESSIONS`` messages."""
SESSIONS: Final = 8
BATCH_WAIT: Final = 0.005

engine = BlueEngine(
    {
        "ENGINE": {
            "ID": "ways",
            "CONCURRENCY": SESSIONS,
            "MAX_WORKER": int(os.environ.get("BENCH_WORKERS", "1")),
        },
        "OUTPUTS": {"NAMES": ["Result"], "TYPES": ["JSON"]},
    }
)


def echo(_context: Context, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Give back what came."""
    return {"Result": inputs["Control"]}


def wait(_context: Context, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Wait for something, a network say."""
    time.sleep(SECONDS)
    return {"Result": inputs["Control"]}


async def wait_together(
    _contexts: Sequence[Context], inputs: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Wait for what all the messages of a batch need at once."""
    await asyncio.gather(*(asyncio.sleep(SECONDS) for _ in inputs))
    return [{"Result": each["Control"]} for each in inputs]


def compute(_context: Context, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Compute for about as long."""
    until = time.thread_time() + SECONDS
    while time.thread_time() < until:
        pass
    return {"Result": inputs["Control"]}


WAYS: Final[Mapping[str, Callable[..., Any]]] = {
    "echo": echo,
    "wait": wait,
    "wait_together": wait_together,
    "compute": compute,
}
way = os.environ.get("BENCH_WAY", "echo")
run_in = cast(RunIn, os.environ.get("BENCH_RUN_IN", "process"))
engine.add_step(
    "step",
    process_func=WAYS[way],
    input_channels=["Control"],
    output_channels=["Result"],
    run_in=run_in,
    batch_size=SESSIONS if way == "wait_together" else 1,
    batch_wait=BATCH_WAIT,
)
engine.start()
