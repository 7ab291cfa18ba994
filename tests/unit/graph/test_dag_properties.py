"""Random graphs are accepted exactly when a simple reference says so."""

import itertools
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from blueengine.graph.dag import check_workflow
from blueengine.graph.request import (
    ChannelAsked,
    EngineAsked,
    PortAsked,
    Shape,
    StartAsked,
    Workflow,
)
from blueengine.wire.spec import EngineSpec

TYPES = ["JSON", "json", "Text", "Image", "Nonsense"]
NAMES = ["A", "B", "C", "D", "bad name"]
SPECS = {
    "known": EngineSpec(
        id="known",
        name="known",
        concurrency=1,
        inputs={"Control": "JSON", "p": "Text"},
        outputs={"q": "JSON", "Status": "JSON"},
    )
}

names = st.sampled_from(NAMES)
# Mostly right, so that sound graphs are among them.
types = st.sampled_from(["JSON"] * 6 + TYPES)
ports = st.builds(
    PortAsked,
    st.sampled_from(["p", "q", "r", "Control"]),
    types,
    st.none() | st.sampled_from(NAMES),
)
engines = st.builds(
    EngineAsked,
    st.sampled_from(["known", "new", "other"]),
    st.sampled_from(["n1", "n2", "n3", "n4", ""]),
    st.lists(ports, max_size=2),
    st.lists(ports, max_size=2),
)
workflows = st.builds(
    Workflow,
    shape=st.builds(
        Shape,
        channels=st.lists(
            st.builds(ChannelAsked, names, types), max_size=5, unique_by=lambda c: c.name
        )
        | st.lists(st.builds(ChannelAsked, names, types), max_size=3),
        engines=st.lists(engines, max_size=4),
    ),
    start_data=st.lists(
        st.builds(StartAsked, names, st.sampled_from(["text", 5, {"base64": "AAAA"}])), max_size=2
    ),
)


def canonical(name: str) -> str | None:
    return {"json": "JSON", "text": "Text", "image": "Image"}.get(name.lower())


def reaches_itself(workflow: Workflow) -> bool:
    """Say whether data can come back to an engine, by trying all ways."""
    edges = {
        (a, b)
        for a, writer in enumerate(workflow.shape.engines)
        for b, reader in enumerate(workflow.shape.engines)
        if {p.link_to for p in writer.outputs} & {p.link_to for p in reader.inputs} - {None}
    }
    for _ in workflow.shape.engines:
        edges |= {(a, d) for a, b in edges for c, d in edges if b == c}
    return any(a == b for a, b in edges)


def is_sound(workflow: Workflow) -> bool:
    channels = {channel.name: canonical(channel.type) for channel in workflow.shape.channels}
    written = {port.link_to for engine in workflow.shape.engines for port in engine.outputs}
    fits = {
        "JSON": lambda value: True,
        "Text": lambda value: isinstance(value, str),
        "Image": lambda value: isinstance(value, dict),
    }

    def port_is_sound(engine: EngineAsked, port: PortAsked, way: str) -> bool:
        kind = canonical(port.type)
        known = {"Control": "JSON"} if way == "inputs" else {}
        if engine.id == "known":
            known = SPECS["known"].inputs if way == "inputs" else SPECS["known"].outputs
            if port.name not in known:
                return False
        return (
            kind is not None
            and known.get(port.name, kind) == kind
            and (port.link_to is None or channels.get(port.link_to) == kind)
        )

    return all(
        [
            workflow.shape.engines,
            all(" " not in channel.name for channel in workflow.shape.channels),
            None not in channels.values(),
            len(channels) == len(workflow.shape.channels),
            max(Counter(engine.node for engine in workflow.shape.engines).values(), default=0) <= 1,
            all(
                port_is_sound(engine, port, way)
                for engine in workflow.shape.engines
                for way in ("inputs", "outputs")
                for port in getattr(engine, way)
            ),
            all(
                max(Counter(port.name for port in ports).values(), default=0) <= 1
                for engine in workflow.shape.engines
                for ports in (engine.inputs, engine.outputs)
            ),
            all(
                start.channel not in written
                and fits.get(channels.get(start.channel) or "", lambda value: False)(start.payload)
                for start in workflow.start_data
            ),
            not reaches_itself(workflow),
        ]
    )


@settings(max_examples=600, deadline=None)
@given(workflows)
def test_a_graph_is_accepted_exactly_when_it_is_sound(workflow: Workflow) -> None:
    checked = check_workflow(workflow, specs=SPECS)
    assert (checked.plan is not None) == is_sound(workflow), checked.faults
    assert (checked.plan is None) == bool(checked.faults)


@settings(max_examples=300, deadline=None)
@given(st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=14))
def test_a_cycle_is_found_exactly_when_there_is_one(edges: set[tuple[int, int]]) -> None:
    """An edge of the random graph is a channel of its own."""
    shape = Shape(
        channels=[ChannelAsked(f"{a}-{b}") for a, b in edges],
        engines=[
            EngineAsked(
                f"e{n}",
                "",
                [PortAsked(f"i{a}", "JSON", f"{a}-{b}") for a, b in edges if b == n],
                [PortAsked(f"o{b}", "JSON", f"{a}-{b}") for a, b in edges if a == n],
            )
            for n in range(8)
        ],
    )
    workflow = Workflow(shape=shape)
    checked = check_workflow(workflow, specs={})
    assert (checked.plan is None) == reaches_itself(workflow)
    for fault in checked.faults:
        names = fault.msg.partition(": ")[2].split(" → ")
        assert names[0] == names[-1]
        steps = {(int(a[1:]), int(b[1:])) for a, b in itertools.pairwise(names)}
        assert steps <= edges
