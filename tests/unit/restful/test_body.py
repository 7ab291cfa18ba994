"""JSON bodies are taken strictly."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.restful.api.body import parse
from apps.restful.service.errors import MalformedError

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values, st.booleans())
def test_every_json_value_is_taken_as_it_is(value: Any, escaped: bool) -> None:
    assert parse(json.dumps(value, ensure_ascii=escaped).encode()) == value


@given(values, st.text(), values)
def test_a_member_that_stands_twice_is_refused(first: Any, name: str, second: Any) -> None:
    member = json.dumps(name)
    raw = f'{{"a": {{{member}: {json.dumps(first)}, {member}: {json.dumps(second)}}}}}'
    with pytest.raises(MalformedError, match="two members of one name"):
        parse(raw.encode())


def test_a_member_that_stands_twice_in_other_spelling_is_refused() -> None:
    with pytest.raises(MalformedError):
        parse(b'{"a\\u003a": 1, "a:": 2}')
    with pytest.raises(MalformedError):
        parse(b'{"a": ":\\u003a", "\\u0061": 2}')
