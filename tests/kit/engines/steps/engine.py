"""Three steps that pass objects on: split a message, double each piece, sum them up."""

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np

from blueengine import BlueEngine, Context

engine = BlueEngine(os.environ.get("ENGINE_YML"))


class Piece:
    """A class of the engine's own, known in its main module only."""

    def __init__(self, number: int, data: np.ndarray[Any, Any]) -> None:
        self.number = number
        self.data = data


def split(_: Context, inputs: dict[str, Any]) -> Iterator[dict[str, Any]]:
    message = inputs["Control"]
    for number in range(message["pieces"]):
        yield {"forward": Piece(number, np.full(message["size"], number % 256, np.uint8))}


async def double(_: Context, inputs: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    piece: Piece = inputs["forward"]
    yield {"forward": Piece(piece.number, piece.data * 2)}


async def total(_: Context, inputs: dict[str, Any]) -> dict[str, Any]:
    piece: Piece = inputs["forward"]
    return {"Results": {"n": piece.number, "sum": piece.data.sum(), "pid": os.getpid()}}


engine.add_step(
    "split", process_func=split, input_channels=["Control"], output_channels=["forward"]
)
engine.add_step(
    "double", process_func=double, input_channels=["forward"], output_channels=["forward"]
)
engine.add_step(
    "sum up", process_func=total, input_channels=["forward"], output_channels=["Results"]
)
engine.start()
