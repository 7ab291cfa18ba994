"""From a request to a plan, or to every fault in it."""

from collections.abc import Sequence
from typing import Any

import pytest

from blueengine.graph.dag import Checked, check_shape, check_single, check_workflow, pointer
from blueengine.graph.request import (
    ChannelAsked,
    EngineAsked,
    PortAsked,
    Shape,
    SingleEngine,
    SinglePort,
    StartAsked,
    Workflow,
)
from blueengine.wire.plan import Channel, Node
from blueengine.wire.spec import EngineSpec

SPEC = EngineSpec(
    id="ocr",
    name="OCR",
    concurrency=1,
    inputs={"Control": "JSON", "Image": "Image"},
    outputs={"Text": "JSON", "Status": "JSON"},
)
SPECS = {"ocr": SPEC}


def engine(
    name: str, reads: Sequence[str] = (), writes: Sequence[str] = (), *, of: str = ""
) -> EngineAsked:
    """Return an engine that reads and writes these channels of type JSON."""
    return EngineAsked(
        of or name,
        name,
        [PortAsked(f"in{at}", "JSON", channel) for at, channel in enumerate(reads)],
        [PortAsked(f"out{at}", "JSON", channel) for at, channel in enumerate(writes)],
    )


def workflow(
    *engines: EngineAsked,
    channels: Sequence[str | ChannelAsked] = (),
    start: Sequence[tuple[str, Any]] = (),
    rank: int = 0,
) -> Checked:
    asked = Workflow(
        shape=Shape(
            channels=[c if isinstance(c, ChannelAsked) else ChannelAsked(c) for c in channels],
            engines=engines,
        ),
        start_data=[StartAsked(*pair) for pair in start],
        rank=rank,
    )
    checked = check_workflow(asked, specs=SPECS)
    # a shape that was found right before gives the same answer again
    graph = check_shape(asked.shape, specs=SPECS)
    assert graph is None or check_workflow(asked, specs=SPECS, graph=graph) == checked
    return checked


def faults(checked: Checked) -> list[tuple[str, str]]:
    assert checked.plan is None
    return [(fault.type, fault.loc) for fault in checked.faults]


def test_a_sound_graph_becomes_a_plan() -> None:
    checked = workflow(
        engine("a", ["In"], ["Mid"]),
        engine("b", ["Mid"], ["Out"], of="a"),
        channels=["In", "Mid", ChannelAsked("Out", "json", interested=True)],
        start=[("In", {"x": 1}), ("In", {"x": 2})],
    )
    assert checked.faults == ()
    plan = checked.plan
    assert plan is not None
    assert plan.nodes == {
        "a": Node("a", {"in0": "In"}, {"out0": "Mid"}),
        "b": Node("a", {"in0": "Mid"}, {"out0": "Out"}),
    }
    assert plan.channels == {
        "In": Channel("JSON"),
        "Mid": Channel("JSON"),
        "Out": Channel("JSON", stored=True),
    }
    assert plan.fed == ("In",)
    assert [feeding.loc for feeding in checked.feedings] == [
        "/startData/0/payload",
        "/startData/1/payload",
    ]


def test_an_engine_is_named_as_its_id_when_nothing_is_said() -> None:
    checked = workflow(EngineAsked("hello"))
    assert checked.plan is not None
    assert list(checked.plan.nodes) == ["hello"]


def test_a_port_without_a_link_is_left_out_of_the_plan() -> None:
    checked = workflow(EngineAsked("x", "", [PortAsked("Control")], [PortAsked("Out")]))
    assert checked.plan is not None
    assert checked.plan.nodes["x"] == Node("x", {}, {})


def test_every_fault_is_found_at_once() -> None:
    checked = workflow(
        EngineAsked(
            "a b",
            "",
            [
                PortAsked("p", "JSON", "Nowhere"),
                PortAsked("q", "Text", "In"),
                PortAsked("r", "Foo"),
            ],
            [],
        ),
        EngineAsked("c", "c", [PortAsked("p", "JSON", "In"), PortAsked("p", "JSON", "Out")]),
        EngineAsked("d", "c"),
        channels=["In", "In", ChannelAsked("Out", "Blob"), "bad,name"],
        start=[("Gone", 1)],
        rank=70_000,
    )
    assert faults(checked) == [
        ("bad-rank", "/rank"),
        ("duplicate-name", "/dataChannels/1/name"),
        ("unknown-type", "/dataChannels/2/type"),
        ("bad-name", "/dataChannels/3/name"),
        ("bad-name", "/engines/0/id"),
        ("unknown-channel", "/engines/0/inputs/0/linkTo"),
        ("type-mismatch", "/engines/0/inputs/1/linkTo"),
        ("unknown-type", "/engines/0/inputs/2/type"),
        ("port-linked-twice", "/engines/1/inputs/1/linkTo"),
        ("duplicate-name", "/engines/2/name"),
        ("unknown-channel", "/startData/0/channelName"),
    ]


def test_a_type_mismatch_names_both_types_and_the_port() -> None:
    checked = workflow(
        EngineAsked("a", "", [PortAsked("Image", "Image", "In")]),
        channels=[ChannelAsked("In", "TEXT")],
    )
    (fault,) = checked.faults
    assert fault.msg == "input 'Image' of 'a' is of type Image, but channel 'In' is of type Text"


def test_a_cycle_is_told_in_the_order_the_data_flows() -> None:
    checked = workflow(
        engine("first", [], ["A"]),
        engine("b", ["A", "D"], ["B"]),
        engine("c", ["B"], ["C"]),
        engine("d", ["C"], ["D", "E"]),
        engine("last", ["E"], []),
        channels="ABCDE",
    )
    (fault,) = checked.faults
    assert fault.msg == "the engines form a cycle: b → c → d → b"
    assert (fault.type, fault.loc) == ("cycle", "/engines")


def test_an_engine_that_reads_what_it_writes_is_a_cycle() -> None:
    (fault,) = workflow(engine("a", ["A"], ["A"]), channels="A").faults
    assert fault.msg == "the engines form a cycle: a → a"


def test_two_cycles_are_both_told() -> None:
    checked = workflow(
        engine("a", ["A"], ["B"]),
        engine("b", ["B"], ["A"]),
        engine("c", ["C"], ["C"]),
        channels="ABC",
    )
    assert [fault.type for fault in checked.faults] == ["cycle", "cycle"]


def test_start_data_for_a_channel_that_an_engine_writes_is_refused() -> None:
    checked = workflow(engine("a", [], ["A"]), channels="A", start=[("A", 1)])
    assert faults(checked) == [("start-data-for-written-channel", "/startData/0/channelName")]


def test_a_payload_must_fit_its_channel() -> None:
    checked = workflow(
        EngineAsked("x"),
        channels=[ChannelAsked("T", "Text"), ChannelAsked("F", "File")],
        start=[("T", 5), ("F", {"base64": "", "colour": "red"})],
    )
    assert faults(checked) == [
        ("bad-payload", "/startData/0/payload"),
        ("bad-payload", "/startData/1/payload/colour"),
    ]


def test_a_session_needs_an_engine() -> None:
    assert faults(workflow()) == [("no-engines", "/engines")]


def test_there_is_a_limit_to_engines_and_channels() -> None:
    checked = workflow(
        *[EngineAsked(f"e{n}") for n in range(101)], channels=[f"c{n}" for n in range(1001)]
    )
    assert faults(checked) == [("too-many", "/engines"), ("too-many", "/dataChannels")]


def test_the_limits_themselves_are_accepted() -> None:
    checked = workflow(
        *[EngineAsked(f"e{n}") for n in range(100)], channels=[f"c{n}" for n in range(1000)]
    )
    assert checked.faults == ()


def test_ports_that_differ_from_the_registered_spec_are_faults() -> None:
    checked = workflow(
        EngineAsked("ocr", "", [PortAsked("Picture", "Image"), PortAsked("Image", "File")]),
    )
    assert faults(checked) == [
        ("differs-from-spec", "/engines/0/inputs/0"),
        ("differs-from-spec", "/engines/0/inputs/1/type"),
    ]
    assert "it has: Control, Image" in checked.faults[0].msg


def test_an_engine_never_seen_is_taken_as_it_is_asked_for() -> None:
    assert workflow(EngineAsked("new", "", [PortAsked("Any", "Video")])).faults == ()


def test_control_and_status_are_there_and_json_even_on_an_engine_never_seen() -> None:
    ports = [PortAsked("Control", "Text")], [PortAsked("Status", "Text")]
    assert faults(workflow(EngineAsked("new", "", *ports))) == [
        ("differs-from-spec", "/engines/0/inputs/0/type"),
        ("differs-from-spec", "/engines/0/outputs/0/type"),
    ]


@pytest.mark.parametrize("name", ["", "a b", "a,b", "a=b", "a#b", "a:b", "ä", "x" * 65, "a\n"])
def test_names_that_could_be_read_as_something_else_are_refused(name: str) -> None:
    assert ("bad-name", "/dataChannels/0/name") in faults(
        workflow(EngineAsked("x"), channels=[name])
    )


def test_a_pointer_escapes_what_is_special_in_it() -> None:
    assert pointer("a/b", 0, "c~d") == "/a~1b/0/c~0d"


# ---- a single engine -----------------------------------------------------------------------------


def single(**changes: Any) -> Checked:
    asked = SingleEngine(**({"engine": "ocr"} | changes))
    return check_single(asked, specs=SPECS)


def test_a_single_engine_has_a_channel_for_each_of_its_ports() -> None:
    checked = single(
        inputs={"Control": SinglePort("JSON", payloads=({"a": 1},)), "Image": SinglePort("Image")},
        outputs={"Text": SinglePort("JSON"), "Status": SinglePort("JSON", interested=True)},
        results=["Text"],
    )
    plan = checked.plan
    assert plan is not None
    assert plan.nodes == {
        "ocr": Node(
            "ocr", {"Control": "Control", "Image": "Image"}, {"Text": "Text", "Status": "Status"}
        )
    }
    stored = {name for name, channel in plan.channels.items() if channel.stored}
    assert stored == {"Text", "Status"}
    assert plan.fed == ("Control",)


def test_a_result_channel_is_taken_from_the_spec_when_it_is_not_among_the_outputs() -> None:
    checked = single(results=["Text", "Status"])
    assert checked.plan is not None
    assert checked.plan.channels == {"Text": Channel("JSON", True), "Status": Channel("JSON", True)}


def test_a_result_channel_that_is_nowhere_is_a_fault() -> None:
    assert faults(single(results=["Text", "Boxes"])) == [("unknown-channel", "/resultChannels/1")]


def test_an_input_and_an_output_of_one_name_are_two_channels() -> None:
    checked = single(
        engine="flip",
        inputs={"Image": SinglePort("Image", payloads=({"base64": ""},))},
        outputs={"Image": SinglePort("Image", interested=True)},
    )
    plan = checked.plan
    assert plan is not None
    assert plan.nodes["flip"] == Node("flip", {"Image": "Image.in"}, {"Image": "Image"})
    assert plan.channels["Image"].stored
    assert not plan.channels["Image.in"].stored
    assert plan.fed == ("Image.in",)


def test_faults_of_a_single_engine_are_found_at_once() -> None:
    checked = single(
        engine="ocr",
        inputs={"Image": SinglePort("Text", payloads=(5,)), "a b": SinglePort("JSON")},
        outputs={"Text": SinglePort("Foo")},
        rank=-65536,
    )
    assert faults(checked) == [
        ("bad-rank", "/rank"),
        ("unknown-type", "/outputs/Text/type"),
        ("differs-from-spec", "/inputs/Image/type"),
        ("bad-payload", "/inputs/Image/payload"),
        ("bad-name", "/inputs/a b"),
        ("differs-from-spec", "/inputs/a b"),
    ]
