"""The builder accepts a workflow exactly when the gateway does."""

from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from apps.restful.api import body, convert
from apps.restful.api.schemas import SingleEngineRequest, WorkflowRequest
from apps.restful.service.errors import InvalidError
from apps.restful.service.orders import KnownOrder, Order
from apps.restful.service.shapes import Shapes
from blueengine.client import SingleEngine, Workflow
from blueengine.client.answers import Engine
from blueengine.wire.spec import EngineSpec

KNOWN = Engine(
    id="known", inputs={"p": "Text"}, outputs={"q": "JSON", "Status": "JSON"}, concurrency=1
)
SPECS = {
    "known": EngineSpec(
        id="known", name="", concurrency=1, inputs=dict(KNOWN.inputs), outputs=dict(KNOWN.outputs)
    )
}

names = st.sampled_from(["A", "B", "C", "bad name"])
# Mostly right, so that sound workflows are among them.
types = st.sampled_from(["JSON"] * 6 + ["json", "Text", "Image", "Nonsense"])
links = st.none() | names
ports = st.sampled_from(["p", "q", "r", "Control"])
odd = st.sampled_from([None, 3, 1.0, True, "x", [], {}])


def members(required: dict[str, Any], **optional: Any) -> Any:
    return st.fixed_dictionaries(required, optional=optional)


port = members({"name": ports}, type=types, linkTo=links)
engine = members(
    {"id": st.sampled_from(["known", "new"])},
    name=st.sampled_from(["n1", "n2", "n3"]),
    inputs=st.lists(port, max_size=2),
    outputs=st.lists(port, max_size=2),
)
common = {
    "labels": st.dictionaries(st.sampled_from(["", "a", "x" * 64, "x" * 65]), st.just("v")),
    "interactive": st.booleans(),
    "rank": st.sampled_from([0, 5, -65535, 70000, 1.0, True]),
    "timeoutSecond": st.sampled_from([None, 0, 1, 0.5, 1e9]),
    "ttlSecond": st.sampled_from([None, 0.5, 1, 60]),
    "waitTimeSecond": st.sampled_from([0, 1.5, -1]),
    "retry": st.sampled_from([None, {}, {"maxAttempts": 3}, {"maxAttempts": 0}]),
}
bodies = members(
    {"engines": st.lists(engine, max_size=4)},
    dataChannels=st.lists(
        members({"name": names}, type=types, interested=st.booleans()), max_size=4
    ),
    startData=st.lists(
        st.fixed_dictionaries(
            {"channelName": names, "payload": st.sampled_from(["t", 5, {"base64": "AAAA"}])}
        ),
        max_size=2,
    ),
    **common,
)
singles = members(
    {"engineId": st.sampled_from(["new", "bad name"])},
    inputs=st.dictionaries(ports, members({}, type=types, payload=st.sampled_from(["t", 5]))),
    outputs=st.dictionaries(ports, members({}, type=types, interested=st.booleans())),
    **common,
)


@st.composite
def broken(draw: st.DrawFn, whole: Any) -> Any:
    """Return a body with one value somewhere in it replaced by an odd one."""
    value = draw(whole)
    places = [(value, key) for key in value]
    for found in [*value.get("engines", []), *value.get("dataChannels", [])]:
        places += [(found, key) for key in found]
    holder, key = draw(st.sampled_from(places))
    holder[key] = draw(odd)
    return value


def server_takes_workflow(value: Any) -> bool:
    bare, payloads = convert.apart("startData", value)
    try:
        asked = body.validate(WorkflowRequest, bare)
    except InvalidError:
        return False
    shape = Shapes().add(b"", convert.shape(asked))
    return takes(convert.workflow(asked, shape), payloads, SPECS)


def server_takes_single(value: Any) -> bool:
    bare, payloads = convert.apart("inputs", value)
    try:
        asked = body.validate(SingleEngineRequest, bare)
    except InvalidError:
        return False
    return takes(convert.single(asked), payloads, {})


def takes(order: Order, payloads: list[Any], specs: Mapping[str, EngineSpec]) -> bool:
    """Whether an order is taken, which is the same when it was seen before."""
    known = KnownOrder(order)
    first = known.check(payloads, specs, 0)
    assert known.check(payloads, specs, 0) == first
    return first.plan is not None


def client_takes_workflow(value: Any) -> bool:
    if not isinstance(value["engines"], list):
        return False  # from_dict refuses it
    return not Workflow.from_dict(value, [KNOWN]).faults()


@settings(max_examples=250, deadline=None)
@given(bodies)
def test_random_workflows_are_taken_by_both_or_by_none(value: Any) -> None:
    assert client_takes_workflow(value) == server_takes_workflow(value)


@settings(max_examples=250, deadline=None)
@given(broken(bodies))
def test_workflows_of_a_wrong_shape_are_taken_by_both_or_by_none(value: Any) -> None:
    assert client_takes_workflow(value) == server_takes_workflow(value)


@settings(max_examples=200, deadline=None)
@given(singles | broken(singles))
def test_single_engines_are_taken_by_both_or_by_none(value: Any) -> None:
    assert (not SingleEngine.from_dict(value).faults()) == server_takes_single(value)


@settings(max_examples=200, deadline=None)
@given(st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12))
def test_a_random_graph_of_links_is_taken_exactly_when_it_has_no_cycle(
    edges: set[tuple[int, int]],
) -> None:
    wf = Workflow()
    nodes = [wf.engine("e", f"n{n}") for n in range(7)]
    for a, b in sorted(edges):
        nodes[a].link(f"to{b}", nodes[b], f"from{a}")
    ways = set(edges)
    for _ in nodes:
        ways |= {(a, d) for a, b in ways for c, d in edges if b == c}
    is_cyclic = any(a == b for a, b in ways)
    assert bool(wf.faults()) == is_cyclic
    assert server_takes_workflow(wf.to_dict()) != is_cyclic
