"""JSON, Text and Bytes, there and back."""

import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueengine.datatypes import base
from blueengine.errors import DataTypeError
from tests.unit.datatypes.helpers import decode, there_and_back

NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(VALUES)
def test_json_comes_back_as_it_was(value: Any) -> None:
    assert there_and_back("JSON", value) == value


@dataclass
class Box:
    x: int
    name: str


GRID = np.arange(6).reshape(2, 3)


@pytest.mark.parametrize(
    ("value", "back"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.float16(0.5), 0.5),
        (GRID, [[0, 1, 2], [3, 4, 5]]),
        (GRID[:, ::2], [[0, 2], [3, 5]]),
        (GRID.T, [[0, 3], [1, 4], [2, 5]]),
        ({"boxes": GRID[:, :1]}, {"boxes": [[0], [3]]}),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Box(1, "a"), {"x": 1, "name": "a"}),
        ({1: "one", None: 2}, {"1": "one", "null": 2}),
        ((1, 2), [1, 2]),
        (float("nan"), None),
    ],
)
def test_json_takes_what_python_has_beside_it(value: Any, back: Any) -> None:
    assert there_and_back("JSON", value) == back


@pytest.mark.parametrize("value", [object(), b"x", {1, 2}, Path("/x"), 1j, [object()]])
def test_what_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises(DataTypeError, match="this value is no JSON"):
        base.get("JSON").encode(value, stored=False)


@pytest.mark.parametrize("payload", [b"", b"{", b"nope", b"\xff"])
def test_bytes_that_are_no_json_are_refused(payload: bytes) -> None:
    with pytest.raises(DataTypeError, match="the message is no JSON"):
        decode("JSON", payload)


@given(st.text())
def test_text_comes_back_as_it_was(value: str) -> None:
    assert there_and_back("Text", value) == value


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(DataTypeError, match="takes str, not bytes"):
        base.get("Text").encode(b"x", stored=False)
    with pytest.raises(DataTypeError, match="no UTF-8"):
        decode("Text", b"\xff")
    with pytest.raises(DataTypeError, match="cannot be written as UTF-8"):
        base.get("Text").encode("\ud800", stored=False)


@given(st.binary())
def test_bytes_come_back_as_they_were(value: bytes) -> None:
    assert there_and_back("Bytes", value) == value


@pytest.mark.parametrize("value", [bytearray(b"ab"), memoryview(b"ab"), memoryview(b"axbx")[::2]])
def test_bytes_take_anything_like_bytes(value: Any) -> None:
    assert there_and_back("Bytes", value) == b"ab"


@pytest.mark.parametrize("value", ["ab", 7, [1], None])
def test_what_is_no_bytes_is_refused(value: Any) -> None:
    with pytest.raises(DataTypeError, match="takes bytes, not"):
        base.get("Bytes").encode(value, stored=False)


@pytest.mark.parametrize(
    ("kind", "content", "value"),
    [("JSON", b"[1]", [1]), ("Text", "é".encode(), "é"), ("Bytes", b"\x00", b"\x00")],
)
def test_a_payload_in_a_file_is_read_from_there(
    tmp_path: Path, kind: str, content: bytes, value: Any
) -> None:
    file = tmp_path / "payload"
    file.write_bytes(content)
    assert decode(kind, b"", file=file) == value


def test_types_are_found_whatever_their_case_and_an_unknown_one_is_named() -> None:
    assert base.get("jSON") is base.get("JSON")
    with pytest.raises(DataTypeError, match="no type 'Jason'; known: Bytes, File"):
        base.get("Jason")
