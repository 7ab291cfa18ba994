"""Two engines for acceptance tests: one makes binary messages, the other says what they are."""

import hashlib
from pathlib import Path
from typing import Any

BLOCKS = '''
import hashlib
from blueengine import BlueEngine

def content(number, size):
    """Return bytes that nothing but their number and size tells."""
    return hashlib.shake_256(str(number).encode()).digest(size)

def make(context, inputs):
    """Write the blocks that the message asks for."""
    order = inputs["Control"]
    for number in order["numbers"]:
        yield {"Block": content(number, order["size"])}

engine = BlueEngine()
engine.add_step("make", process_func=make, input_channels=["Control"], output_channels=["Block"])
engine.start()
'''

BLOCKS_CONFIG = """
ENGINE: {ID: blocks, CONCURRENCY: 4, MAX_WORKER: 1}
INPUTS: {NAMES: [Control], TYPES: [JSON]}
OUTPUTS: {NAMES: [Block], TYPES: [Bytes]}
"""

DIGEST = '''
import hashlib
from blueengine import BlueEngine

def digest(context, inputs):
    """Give a block on, and say what it is."""
    block = inputs["Block"]
    yield {"Digest": {"size": len(block), "sha256": hashlib.sha256(block).hexdigest()}, "Copy": block}

engine = BlueEngine()
engine.add_step(
    "digest", process_func=digest, input_channels=["Block"], output_channels=["Digest", "Copy"]
)
engine.start()
'''

DIGEST_CONFIG = """
ENGINE: {ID: digest, CONCURRENCY: 4, MAX_WORKER: 1}
INPUTS: {NAMES: [Block], TYPES: [Bytes]}
OUTPUTS: {NAMES: [Digest, Copy], TYPES: [JSON, Bytes]}
"""


def content(number: int, size: int) -> bytes:
    """Return what the engine ``blocks`` writes."""
    return hashlib.shake_256(str(number).encode()).digest(size)


def engines(folder: Path) -> str:
    """Write both engines; what ``--engines`` is told."""
    made = []
    for name, code, config in (
        ("blocks", BLOCKS, BLOCKS_CONFIG),
        ("digest", DIGEST, DIGEST_CONFIG),
    ):
        place = folder / name
        (place / "configs").mkdir(parents=True)
        (place / "engine.py").write_text(code)
        (place / "configs" / "engine.yml").write_text(config)
        made.append(str(place))
    return ",".join(made)


def workflow(readers: int = 1) -> dict[str, Any]:
    """Return a workflow in which every block goes to so many readers; they write to D0, C0, D1, …"""
    channels = [{"name": "Order", "type": "JSON"}, {"name": "Blocks", "type": "Bytes"}]
    graph: list[dict[str, Any]] = [
        {
            "id": "blocks",
            "name": "maker",
            "inputs": [{"name": "Control", "type": "JSON", "linkTo": "Order"}],
            "outputs": [{"name": "Block", "type": "Bytes", "linkTo": "Blocks"}],
        }
    ]
    for number in range(readers):
        channels += [
            {"name": f"D{number}", "type": "JSON", "interested": True},
            {"name": f"C{number}", "type": "Bytes", "interested": True},
        ]
        graph.append(
            {
                "id": "digest",
                "name": f"reader{number}",
                "inputs": [{"name": "Block", "type": "Bytes", "linkTo": "Blocks"}],
                "outputs": [
                    {"name": "Digest", "type": "JSON", "linkTo": f"D{number}"},
                    {"name": "Copy", "type": "Bytes", "linkTo": f"C{number}"},
                ],
            }
        )
    return {"dataChannels": channels, "engines": graph, "startData": []}
