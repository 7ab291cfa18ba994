"""An engine that is at work until it is told to stop, and notes when it was called and when it was stopped.

A message is ``{"seconds": so long}``; without it the call goes on until the session is stopped.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blueengine import BlueEngine, Context

engine = BlueEngine()
NOTES = Path(os.environ["BENCH_NOTES"])


def note(what: str, context: Context) -> None:
    """Append a line: what happened, to which session, when."""
    with NOTES.open("a") as file:
        file.write(f"{what} {context.session_id} {time.time_ns() / 1e9}\n")


def work(context: Context, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Be busy."""
    note("called", context)
    seconds = inputs["Control"].get("seconds", 3600)
    until = time.monotonic() + seconds
    while not context.cancelled and time.monotonic() < until:
        sum(range(5000))
    return {"Result": os.getpid()}


def stop(context: Context) -> None:
    """Note the end of a session."""
    note("stopped", context)


engine.add_step(
    "work",
    process_func=work,
    stop_func=stop,
    input_channels=["Control"],
    output_channels=["Result"],
)
engine.start()
