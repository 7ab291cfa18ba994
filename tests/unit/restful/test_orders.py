"""Requests seen before: only their payloads are looked at, and nothing else of them may differ."""

from typing import Any

import pytest

from apps.restful.api import body, convert, schemas
from apps.restful.service.orders import KnownOrder, Order, Orders
from apps.restful.service.recent import LARGEST, MOST
from apps.restful.service.shapes import Shapes
from blueengine.graph.payload import Inline
from blueengine.wire.spec import EngineSpec
from tests.unit.graph.test_dag import SPECS


def a_single(**changes: Any) -> dict[str, Any]:
    inputs = {"Control": {"type": "JSON", "payload": {"a": 1}}, "Image": {"type": "Image"}}
    return {"engineId": "ocr", "inputs": inputs, **changes}


def a_workflow(*payloads: Any, **changes: Any) -> dict[str, Any]:
    return {
        "dataChannels": [{"name": "in"}, {"name": "word", "type": "Text"}],
        "engines": [
            {"id": "any", "inputs": [{"name": "Control", "linkTo": "in"}]},
            {"id": "other", "inputs": [{"name": "w", "type": "Text", "linkTo": "word"}]},
        ],
        "startData": [
            {"channelName": "in", "payload": payloads[0]},
            {"channelName": "word", "payload": payloads[1]},
        ],
        **changes,
    }


def read_single(value: Any) -> Order:
    return convert.single(body.validate(schemas.SingleEngineRequest, value))


def read_workflow(value: Any) -> Order:
    asked = body.validate(schemas.WorkflowRequest, value)
    return convert.workflow(asked, Shapes().add(b"", convert.shape(asked)))


def test_payloads_are_taken_out_and_their_place_stays() -> None:
    bare, payloads = convert.apart("inputs", a_single())
    assert bare == a_single(
        inputs={"Control": {"type": "JSON", "payload": None}, "Image": {"type": "Image"}}
    )
    assert payloads == [{"a": 1}]
    bare, payloads = convert.apart("startData", a_workflow([1], "b"))
    assert bare == a_workflow(None, None)
    assert payloads == [[1], "b"]


@pytest.mark.parametrize(
    "value", [None, [], "x", {}, {"inputs": 5}, {"inputs": [None]}, {"inputs": {"a": 1}}]
)
def test_what_has_another_form_is_left_to_be_refused(value: Any) -> None:
    assert convert.apart("inputs", value) == (value, [])


def test_null_is_a_payload_and_none_is_not() -> None:
    said, unsaid = {"inputs": {"a": {"payload": None}}}, {"inputs": {"a": {}}}
    assert convert.apart("inputs", said) == (said, [None])
    assert convert.apart("inputs", unsaid) == (unsaid, [])
    orders = Orders()
    assert orders.key("k", said) != orders.key("k", unsaid)


def test_a_request_seen_before_means_the_same_with_its_own_payloads() -> None:
    bare, _ = convert.apart("startData", a_workflow(1, "one"))
    known = KnownOrder(read_workflow(bare))
    first = known.check([1, "one"], {}, 0)
    second = known.check([{"b": 2}, "two"], {}, 0)
    assert second.plan is first.plan is not None
    assert [feed.payload for feed in first.feedings] == [Inline(b"1"), Inline(b"one")]
    assert [feed.payload for feed in second.feedings] == [Inline(b'{"b":2}'), Inline(b"two")]
    assert second == KnownOrder(known.order).check([{"b": 2}, "two"], {}, 0)


def test_a_payload_that_does_not_fit_is_named_as_the_first_time() -> None:
    bare, _ = convert.apart("startData", a_workflow(1, "one"))
    known = KnownOrder(read_workflow(bare))
    first = known.check([1, 5], {}, 0)
    assert known.check([1, "one"], {}, 0).plan is not None
    assert known.check([1, 5], {}, 0) == first
    assert [fault.loc for fault in first.faults] == ["/startData/1/payload"]


def test_other_specs_are_checked_against() -> None:
    bare, payloads = convert.apart("inputs", a_single(inputs={"New": {"payload": 1}}))
    known = KnownOrder(read_single(bare))
    assert known.check(payloads, {}, 0).plan is not None
    assert known.check(payloads, SPECS, 1).plan is None
    assert known.check(payloads, {}, 2).plan is not None
    renewed: dict[str, EngineSpec] = {}
    assert known.check(payloads, renewed, 3).faults == ()


def test_orders_not_used_for_longest_are_forgotten_and_large_ones_not_kept() -> None:
    orders, order = Orders(), read_single(a_single())
    keys = [orders.key("k", number) for number in range(MOST + 1)]
    for key in keys[:MOST]:
        orders.add(key, order)
    assert orders.find(keys[0]) is not None
    orders.add(keys[MOST], order)
    assert orders.find(keys[0]) is not None
    assert orders.find(keys[1]) is None
    large = orders.key("k", "x" * LARGEST)
    orders.add(large, order)
    assert orders.find(large) is None
