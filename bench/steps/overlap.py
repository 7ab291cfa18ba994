"""Three steps that compute, one after the other on each message, and say when they did."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from blueengine import BlueEngine, Context

NAMES: Final = ("first", "second", "third")

engine = BlueEngine(
    {
        "ENGINE": {"ID": "overlap", "MAX_WORKER": 1},
        "OUTPUTS": {"NAMES": ["Spans"], "TYPES": ["JSON"]},
    }
)


def work(turns: int) -> int:
    """Compute, without ever sleeping or waiting."""
    total = 0
    for number in range(turns):
        total += number * number
    return total


def first(_context: Context, inputs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Make the messages that Control asks for."""
    order = inputs["Control"]
    for _ in range(order["count"]):
        yield {"forward": [order["turns"], span(order["turns"])]}


def between(_context: Context, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Work on a message and pass it on."""
    turns = inputs["forward"][0]
    return {"forward": [*inputs["forward"], span(turns)]}


def last(_context: Context, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Work on a message and say when all three did."""
    turns, *spans = inputs["forward"]
    return {"Spans": [*spans, span(turns)]}


def span(turns: int) -> list[float]:
    """Work; return when it began and ended, by a clock that all processes share."""
    began = time.monotonic()
    work(turns)
    return [began, time.monotonic()]


engine.add_step(
    NAMES[0], process_func=first, input_channels=["Control"], output_channels=["forward"]
)
engine.add_step(
    NAMES[1], process_func=between, input_channels=["forward"], output_channels=["forward"]
)
engine.add_step(NAMES[2], process_func=last, input_channels=["forward"], output_channels=["Spans"])
engine.start()
