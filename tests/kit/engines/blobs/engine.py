"""Make and copy large payloads: bytes, and files."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from blueengine import BlueEngine, Context, File

engine = BlueEngine(os.environ.get("ENGINE_YML"))


def make(context: Context, inputs: dict[str, Any]) -> Iterator[dict[str, Any]]:
    order = inputs["Control"]
    for number in range(order.get("count", 1)):
        data = bytes([number % 256]) * order["size"]
        if order.get("as") == "file":
            path = Path(context.client_id, f"made-{number}.bin")
            path.write_bytes(data)
            yield {"Doc": File(path, meta={"number": number})}
        else:
            yield {"Data": data}


def copy(_: Context, inputs: dict[str, Any]) -> dict[str, Any]:
    data = inputs["DataIn"] if "DataIn" in inputs else inputs["Again"]
    return {"Data": data, "Sums": {"size": len(data), "sum": hashlib.sha256(data).hexdigest()}}


def copy_file(_: Context, inputs: dict[str, Any]) -> dict[str, Any]:
    doc: File = inputs["DocIn"]
    with doc.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"Doc": doc, "Sums": {"name": doc.name, "size": doc.size, "sum": digest, **doc.meta}}


engine.add_step(
    "make", process_func=make, input_channels=["Control"], output_channels=["Data", "Doc"]
)
engine.add_step(
    "copy", process_func=copy, input_channels=["DataIn", "Again"], output_channels=["Data", "Sums"]
)
engine.add_step(
    "copy file", process_func=copy_file, input_channels=["DocIn"], output_channels=["Doc", "Sums"]
)
engine.start()
