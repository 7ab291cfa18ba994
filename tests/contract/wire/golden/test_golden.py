"""Messages as they were sent by the first release. They must decode for ever, to the same values.

A file is written once and never changed: a new version of a model gets a new file beside the old.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from blueengine.wire import codec, command
from blueengine.wire.envelope import Header, Meta, Stored
from blueengine.wire.plan import Plan, StartData
from blueengine.wire.report import Fault, Tally
from blueengine.wire.spec import EngineSpec
from blueengine.wire.webhook import Event, Webhook

FILES: Final = sorted(Path(__file__).parent.glob("*.json"))

PACKED: Final = {
    model.__name__: model for model in (Plan, StartData, Header, Meta, Stored, Webhook)
}
JSON: Final = {model.__name__: model for model in (EngineSpec, Event, Fault, Tally)}
COMMANDS: Final = {"Start", "Go", "Stop", "Credit", "Push", "Tap", "Probe"}


def packed(model: type[msgspec.Struct]) -> Callable[[str], msgspec.Struct]:
    return lambda raw: codec.decode(model, bytes.fromhex(raw))


def from_json(model: type[msgspec.Struct]) -> Callable[[str], msgspec.Struct]:
    return lambda raw: msgspec.json.decode(raw, type=model)


def from_fields(raw: list[str]) -> msgspec.Struct:
    return command.from_fields([bytes.fromhex(word) for word in raw])


READERS: Final[dict[str, Callable[[Any], msgspec.Struct]]] = {
    **{name: packed(model) for name, model in PACKED.items()},
    **{name: from_json(model) for name, model in JSON.items()},
    **dict.fromkeys(COMMANDS, from_fields),
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_golden_message_decodes_to_its_value(path: Path) -> None:
    golden = json.loads(path.read_text())
    message = READERS[golden["model"]](golden["raw"])
    assert type(message).__name__ == golden["model"]
    assert kept(golden["value"], json.loads(msgspec.json.encode(message, order="sorted")))


def kept(old: Any, new: Any) -> bool:
    """Everything of the old value is there; fields that came later may stand beside or behind it."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(name in new and kept(value, new[name]) for name, value in old.items())
    if isinstance(old, list) and isinstance(new, list):
        return len(old) <= len(new) and all(map(kept, old, new))
    return bool(old == new)


def test_every_model_has_a_golden_message() -> None:
    assert {json.loads(path.read_text())["model"] for path in FILES} == set(READERS)
