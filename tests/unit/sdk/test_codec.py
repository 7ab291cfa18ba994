"""Bytes and models: what goes in comes out, and nonsense is a typed error."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueengine.errors import DecodeError
from blueengine.wire import codec
from blueengine.wire.envelope import Header, Kind, Meta, Stored
from blueengine.wire.plan import Plan, StartData
from tests.kit.builders import a_plan, a_result, start_data

MODELS: list[msgspec.Struct] = [
    a_plan(["a", "b"], labels={"team": "x"}),
    start_data(b"\x00\xff", b""),
    a_result(b"\x00" * 10, meta=b"m", blob="sessions/x"),
    Header("s", 1, "n", "", "In", 0),
    Header("s", 2, "n2", "n1", "Ch", 7, Kind.END, b"meta", "blob", "00-trace"),
    Meta(content_type="image/png", shape=(2, 3), dtype="uint8", facts={"page": 1}),
]


@pytest.mark.parametrize("message", MODELS, ids=lambda m: type(m).__name__)
def test_a_message_comes_back_as_it_was(message: msgspec.Struct) -> None:
    assert codec.decode(type(message), codec.encode(message)) == message


@pytest.mark.parametrize("model", [Plan, StartData, Stored, Header])
def test_an_unknown_version_is_an_error(model: type[msgspec.Struct]) -> None:
    known = next(m for m in MODELS if type(m) is model)
    later = msgspec.structs.replace(known, version=2)
    with pytest.raises(DecodeError, match=model.__name__):
        codec.decode(model, codec.encode(later))


@pytest.mark.parametrize("model", [Plan, StartData, Stored, Header, Meta])
@pytest.mark.parametrize(
    "raw", [b"", b"\xc1", b"\x93", b"\xa3abc", b"[]", b"\x90", b"\x92\xa1\x80"]
)
def test_nonsense_is_an_error(model: type[msgspec.Struct], raw: bytes) -> None:
    with pytest.raises(DecodeError, match=model.__name__):
        codec.decode(model, raw)


@given(raw=st.binary(max_size=60))
def test_no_bytes_raise_anything_else(raw: bytes) -> None:
    for model in (Plan, StartData, Stored, Header):
        try:
            codec.decode(model, raw)
        except DecodeError:
            continue


def test_fields_of_a_later_minor_version_are_passed_over() -> None:
    raw = msgspec.msgpack.encode(msgspec.to_builtins(a_plan()) | {"hint": "new"})
    assert isinstance(codec.decode(Plan, raw), Plan)
    longer = [*msgspec.msgpack.decode(codec.encode(a_result())), "new"]
    assert codec.decode(Stored, msgspec.msgpack.encode(longer)) == a_result()
