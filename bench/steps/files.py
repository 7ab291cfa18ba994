"""Two engines of the ``files`` benchmark, as BENCH_ENGINE says: one writes a file, one reads it."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from blueengine import BlueEngine, Context
from blueengine.datatypes.file import File

NAME: Final = os.environ["BENCH_ENGINE"]
PIECE: Final = 1 << 20

engine = BlueEngine(
    {
        "ENGINE": {"ID": NAME, "MAX_WORKER": 1},
        "INPUTS": {"NAMES": ["Control", "File"], "TYPES": ["JSON", "File"]},
        "OUTPUTS": {"NAMES": ["File", "Result"], "TYPES": ["File", "JSON"]},
    }
)


def give(context: Context, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Write a file of so many bytes, piece by piece, and pass it on with its checksum."""
    size, digest = inputs["Control"]["size"], hashlib.sha256()
    path, left = Path(context.client_id, "large.bin"), size
    with path.open("wb") as out:
        while left:
            piece = os.urandom(min(PIECE, left))
            digest.update(piece)
            out.write(piece)
            left -= len(piece)
    return {"File": File(path, meta={"sha256": digest.hexdigest()})}


def take(_context: Context, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Read the file piece by piece; say how large it is and whether it is whole."""
    file, digest, size = inputs["File"], hashlib.sha256(), 0
    with file.path.open("rb") as source:
        while piece := source.read(PIECE):
            digest.update(piece)
            size += len(piece)
    return {"Result": {"size": size, "whole": digest.hexdigest() == file.meta["sha256"]}}


giving = NAME == "giver"
engine.add_step(
    NAME,
    process_func=give if giving else take,
    input_channels=["Control" if giving else "File"],
    output_channels=["File" if giving else "Result"],
)
engine.start()
