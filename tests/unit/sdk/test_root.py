"""The names of the package's root."""

import subprocess
import sys

import pytest

import blueengine
from blueengine.runtime.declare import BlueEngine

HEAVY = {"asyncio", "msgspec", "orjson", "redis", "yaml"}


def test_every_public_name_is_there() -> None:
    assert set(blueengine.__all__) <= set(dir(blueengine))
    for name in blueengine.__all__:
        assert getattr(blueengine, name).__name__ == name
    assert blueengine.BlueEngine is BlueEngine


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'blueengine' has no attribute 'Blue'"):
        blueengine.Blue  # type: ignore[attr-defined]  # noqa: B018 - that is the test


def test_nothing_is_imported_before_it_is_used() -> None:
    code = "import blueengine, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert loaded.isdisjoint(HEAVY), sorted(loaded & HEAVY)
    assert "blueengine.runtime" not in loaded
