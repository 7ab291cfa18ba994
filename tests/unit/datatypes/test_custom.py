"""Types that authors add: registered by name, named in engine.yml, bytes to everybody else."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pytest

from blueengine import BlueEngine, DataTypeError, register_type
from blueengine.datatypes import base, names
from blueengine.datatypes.names import canonical
from blueengine.errors import SettingsError
from tests.unit.datatypes.helpers import there_and_back


class Points:
    """A list of pairs, packed."""

    def encode(self, value: Any, *, stored: bool) -> base.Encoded:
        return base.Encoded(b",".join(b"%d:%d" % pair for pair in value))

    def decode(self, message: base.Incoming) -> Any:
        return [tuple(map(int, pair.split(b":"))) for pair in message.read().split(b",")]


@pytest.fixture(autouse=True)
def _table_restored() -> Iterator[None]:
    yield
    for name in [name for name in base._types if names.is_custom(name)]:
        del base._types[name]


def config(kind: str) -> dict[str, Any]:
    return {"ENGINE": {"ID": "e"}, "OUTPUTS": {"NAMES": ["Cloud"], "TYPES": [kind]}}


def test_a_registered_type_carries_its_values() -> None:
    register_type("acme.Points", Points())
    assert there_and_back("Acme.Points", [(1, 2), (3, 4)]) == [(1, 2), (3, 4)]


def test_engine_yml_may_name_it_in_any_case() -> None:
    register_type("acme.Points", Points())
    assert BlueEngine(config("ACME.points")).settings.outputs["Cloud"] == "acme.points"


def test_a_type_that_nobody_registered_is_found_at_start() -> None:
    with pytest.raises(SettingsError, match=r"channel 'Cloud': nobody registered .*acme\.points"):
        BlueEngine(config("acme.points"))


@pytest.mark.parametrize("name", ["points", "", ".points", "acme.", "a b.c", "x." * 40 + "y"])
def test_a_custom_name_has_a_dot(name: str) -> None:
    with pytest.raises(DataTypeError, match="a name with a dot"):
        register_type(name, Points())
    assert canonical(name) is None


def test_an_object_that_is_no_type_is_refused() -> None:
    with pytest.raises(DataTypeError, match="no method 'encode'"):
        register_type("acme.points", object())  # type: ignore[arg-type]


def test_the_platform_takes_a_custom_type_for_granted() -> None:
    assert canonical("Acme.Points") == "acme.points"
    assert canonical("Jsn") is None


def test_a_type_without_options_refuses_them() -> None:
    with pytest.raises(DataTypeError, match="takes no options"):
        base.get("JSON", {"INDENT": 2})


def test_json_takes_what_science_makes() -> None:
    value = {
        "scalar": [np.float32(0.5), np.float16(0.5), np.int64(7), np.bool_(True)],
        "array": np.arange(6).reshape(2, 3)[:, ::2],
        "when": [dt.date(2026, 1, 2), dt.datetime(2026, 1, 2, 3, tzinfo=dt.UTC)],
        "np_when": np.datetime64("2026-01-02T03:04:05"),
        7: np.str_("text"),
    }
    assert orjson.loads(orjson.dumps(there_and_back("JSON", value))) == {
        "scalar": [0.5, 0.5, 7, True],
        "array": [[0, 2], [3, 5]],
        "when": ["2026-01-02", "2026-01-02T03:00:00+00:00"],
        "np_when": "2026-01-02T03:04:05",
        "7": "text",
    }
