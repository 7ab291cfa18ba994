"""Commands to an instance: from stream fields and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueengine.errors import DecodeError
from blueengine.wire import command
from blueengine.wire.command import Credit, Go, Start, Stop

names = st.text("abcXYZ012_.-", min_size=1, max_size=12)
START = {
    b"t": b"start", b"s": b"s1", b"a": b"2", b"n": b"n1", b"p": b"plan", b"k": b"n1=i1,n2=i2",
    b"d": b"input", b"g": b"1",
}  # fmt: skip


def flat(fields: dict[bytes, bytes]) -> list[bytes]:
    return [word for pair in fields.items() for word in pair]


def test_each_kind() -> None:
    assert command.from_fields(flat(START)) == Start(
        "s1", 2, "n1", b"plan", {"n1": "i1", "n2": "i2"}, b"input", go=True
    )
    go = {b"t": b"go", b"s": b"s1", b"a": b"1", b"n": b"n1"}
    assert command.from_fields(flat(go)) == Go("s1", 1, "n1")
    stop = go | {b"t": b"stop", b"w": "schön".encode()}
    assert command.from_fields(flat(stop)) == Stop("s1", 1, "n1", "schön")


def test_a_start_from_before_these_fields_were_there() -> None:
    old = {name: value for name, value in START.items() if name not in {b"d", b"g"}}
    start = command.from_fields(flat(old))
    assert isinstance(start, Start)
    assert start.start_data == b""
    assert start.go is False


@given(
    st.builds(Credit, names, st.integers(1, 9), names, names, names, st.integers(0), st.integers(0))
)
def test_a_credit_goes_there_and_back(credit: Credit) -> None:
    raw = [
        word if isinstance(word, bytes) else str(word).encode()
        for word in command.credit_fields(credit)
    ]
    assert command.from_fields(raw) == credit


@given(st.dictionaries(names, names))
def test_picks_go_there_and_back(picks: dict[str, str]) -> None:
    assert command.picks_from_text(command.picks_to_text(picks)) == picks


@pytest.mark.parametrize("missing", [b"t", b"s", b"a", b"n", b"p", b"k"])
def test_a_missing_field_is_an_error(missing: bytes) -> None:
    with pytest.raises(DecodeError):
        command.from_fields(flat({n: v for n, v in START.items() if n != missing}))


@pytest.mark.parametrize(
    "wrong",
    [{b"a": b"one"}, {b"k": b"no-equals-sign"}, {b"s": b"\xff\xfe"}, {b"t": b"dance"}],
    ids=str,
)
def test_a_wrong_field_is_an_error(wrong: dict[bytes, bytes]) -> None:
    with pytest.raises(DecodeError):
        command.from_fields(flat(START | wrong))


def test_half_a_field_is_an_error() -> None:
    with pytest.raises(DecodeError):
        command.from_fields([*flat(START), b"odd"])
