"""The engine that everybody reads first."""

import pytest

from blueengine import Fail
from engines.hello import steps


@pytest.mark.parametrize("message", [{}, None, {"other": 1}, {"name": ""}])
def test_without_a_name_it_answers_world(context, message):
    assert steps.greet(context, {"Control": message}) == {"Result": {"data": "World"}}


def test_a_name_is_greeted(context):
    result = steps.greet(context, {"Control": {"name": "Ada"}})
    assert result == {"Result": {"data": "Hello, Ada!"}}


def test_it_leaves_finishing_to_the_system(context):
    assert "Status" not in steps.greet(context, {"Control": {}})


@pytest.mark.parametrize("message", ["Ada", 7, ["Ada"]])
def test_what_is_no_object_fails_with_an_example_of_one(context, message):
    with pytest.raises(Fail, match=r'such as \{"name": "Ada"\}'):
        steps.greet(context, {"Control": message})
