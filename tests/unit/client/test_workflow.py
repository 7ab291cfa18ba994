"""Building workflows: what is made of links, which faults are found, files, drawings."""

from pathlib import Path

import pytest

from blueengine.client import Node, SingleEngine, Workflow, WorkflowError, load
from blueengine.client.answers import Engine

ROOT = Path(__file__).parents[3]

ENGINES = [
    Engine(id="pdf_to_image", inputs={"File": "File"}, outputs={"Image": "Image"}),
    Engine(id="detect_text", inputs={"Image": "Image"}, outputs={"Boxes": "JSON"}),
    Engine(id="ocr", inputs={"Image": "Image", "Boxes": "JSON"}, outputs={"Text": "JSON"}),
]


def the_ocr_workflow() -> Workflow:
    wf = Workflow(ENGINES)
    pdf, detect, ocr = (wf.engine(engine.id) for engine in ENGINES)
    wf.input("Document", pdf, "File")
    pdf.link("Image", detect, channel="Pages").link("Image", ocr)
    detect.link("Boxes", ocr)
    ocr.result("Text")
    return wf


def a_cycle(*names: str) -> Workflow:
    wf = Workflow()
    nodes = [wf.engine("e", name) for name in names]
    for writer, reader in zip(nodes, nodes[1:] + nodes[:1], strict=True):
        writer.link("Out", reader, "In")
    return wf


def only_fault(wf: Workflow) -> str:
    with pytest.raises(WorkflowError) as caught:
        wf.check()
    (fault,) = caught.value.faults
    return fault.msg


def test_links_make_the_workflow_in_the_file() -> None:
    built, written = the_ocr_workflow().check(), load(ROOT / "workflows" / "ocr.yml")
    assert isinstance(written, Workflow)
    assert built.channels == written.channels
    assert built.to_dict()["engines"] == written.to_dict()["engines"]
    stored = [c["name"] for c in built.to_dict()["dataChannels"] if c["interested"]]
    assert stored == ["Text"]


def test_types_are_said_once_where_the_engines_are_not_known() -> None:
    wf = Workflow()
    a, b = wf.engine("a"), wf.engine("b")
    a.link("Image", b, type="Image")
    wf.input("Note", b, "Note", type="Text")
    assert wf.channels == {"Image": "Image", "Note": "Text"}
    assert [port["type"] for port in wf.to_dict()["engines"][1]["inputs"]] == ["Image", "Text"]


def test_an_output_keeps_its_channel_and_a_taken_name_gets_the_engines() -> None:
    wf = Workflow()
    a, b, c = wf.engine("a"), wf.engine("b"), wf.engine("c")
    a.link("Out", b, "In").link("Out", c, "In").result("Out")
    b.link("Out", c, "Other").result("More")
    assert list(wf.channels) == ["Out", "b.Out", "More"]
    assert wf.check().inputs == {}


def test_the_cycle_names_its_engines_in_order() -> None:
    assert only_fault(a_cycle("a", "b", "c")) == "the engines form a cycle: a → b → c → a"


def test_a_type_that_differs_on_a_link_is_named() -> None:
    wf = Workflow()
    a = wf.engine("a", outputs={"Out": "Image"})
    a.link("Out", wf.engine("b", inputs={"In": "Text"}), "In")
    assert only_fault(wf) == "input 'In' of 'b' is of type Text, but channel 'Out' is of type Image"


def test_a_name_that_stands_twice_is_named() -> None:
    wf = Workflow()
    wf.engine("a")
    wf.engine("a")
    assert only_fault(wf) == "two engines are named 'a'; give one of them another name"


def test_an_unknown_channel_is_named() -> None:
    wf = Workflow()
    wf.engine("a").reads("In", "Nowhere")
    assert only_fault(wf) == "input 'In' of 'a' is linked to the unknown channel 'Nowhere'"


def test_an_input_that_is_linked_twice_is_named() -> None:
    wf = Workflow()
    a, b, c = wf.engine("a"), wf.engine("b"), wf.engine("c")
    a.link("Out", c, "In")
    b.link("Out", c, "In")
    assert only_fault(wf) == "input 'In' of 'c' is linked twice: to 'Out' and 'b.Out'"


def test_a_port_that_a_known_engine_has_not_is_named() -> None:
    wf = Workflow(ENGINES)
    wf.engine("ocr").result("Words")
    assert only_fault(wf) == "engine 'ocr' has no output 'Words'; it has: Status, Text"


def test_all_faults_are_named_at_once() -> None:
    wf = a_cycle("a", "b")
    wf.engine("a").reads("In", "Nowhere")
    with pytest.raises(WorkflowError, match=r"^the workflow has 3 faults: /engines") as caught:
        wf.check()
    assert [fault.type for fault in caught.value.faults] == [
        "duplicate-name",
        "unknown-channel",
        "cycle",
    ]


def test_an_engine_of_another_workflow_cannot_be_linked() -> None:
    with pytest.raises(ValueError, match="another workflow"):
        Workflow().engine("a").link("Out", Workflow().engine("b"))


def test_start_data_is_checked_too() -> None:
    wf = Workflow()
    wf.input("In", wf.engine("a"), "Words", type="Text").start("In", "one", "two")
    wf.check()
    wf.start("In", 3)
    assert only_fault(wf) == "channel 'In': a Text channel takes a string, not a number"


def test_nodes_are_found_by_name() -> None:
    wf = load(ROOT / "workflows" / "hello.yml")
    assert isinstance(wf, Workflow)
    node = wf.nodes["hello"]
    assert isinstance(node, Node)
    node.result("Status", channel="Said")
    assert wf.check().channels == {"Input": "JSON", "Result": "JSON", "Said": "JSON"}
    assert repr(node) == "Node('hello')"
    assert repr(wf) == "Workflow(1 engines, 3 channels)"


@pytest.mark.parametrize("path", sorted((ROOT / "workflows").glob("*.yml")), ids=lambda p: p.stem)
def test_every_workflow_file_goes_through_yaml_and_json(path: Path) -> None:
    wf = load(path)
    assert isinstance(wf, Workflow)
    wf.check()
    assert Workflow.from_yaml(wf.to_yaml()) == wf
    assert Workflow.from_json(wf.to_json()) == wf
    assert Workflow.from_dict(wf.to_dict()) == wf


def test_what_this_client_does_not_know_is_kept() -> None:
    body = {"engines": [{"id": "a", "mood": "good"}], "newer": [1]}
    wf = Workflow.from_dict(body).check()
    assert Workflow.from_yaml(wf.to_yaml()).to_dict() == body


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dataChannels: []\n", "it has no list `engines`"),
        ("- 1\n", "must hold names and values"),
        ("a: [\n", "no valid YAML (line 2)"),
        (None, "does not exist"),
    ],
)
def test_what_is_no_workflow_is_said_in_one_line(
    tmp_path: Path, text: str | None, said: str
) -> None:
    path = tmp_path / "w.yml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(WorkflowError) as caught:
        load(path)
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({"engines": [{"name": "x"}]}, "/engines/0"),
        ({"engines": [{"id": 3}]}, "/engines/0/id"),
        ({"engines": [{"id": "a", "inputs": [{"name": "p", "linkTo": 3}]}]}, "/engines/0/inputs/0/linkTo"),
        ({"engines": [{"id": "a"}], "rank": 1.5}, "/rank"),
        ({"engines": [{"id": "a"}], "startData": [{"payload": 1}]}, "/startData/0"),
    ],
)  # fmt: skip
def test_a_wrong_shape_is_pointed_at(body: dict[str, object], loc: str) -> None:
    (fault,) = Workflow.from_dict(body).faults()
    assert fault.loc == loc


def test_it_draws_itself() -> None:
    assert the_ocr_workflow().to_mermaid() == (
        "flowchart LR\n"
        '    e0["pdf_to_image"]\n'
        '    e1["detect_text"]\n'
        '    e2["ocr"]\n'
        '    i0(["Document (File)"])\n'
        "    i0 --> e0\n"
        '    e0 -- "Pages (Image)" --> e1\n'
        '    e0 -- "Pages (Image)" --> e2\n'
        '    e1 -- "Boxes (JSON)" --> e2\n'
        '    r3(["Text"])\n'
        "    e2 --> r3\n"
    )


def test_a_single_engine_is_read_and_checked() -> None:
    single = SingleEngine("hello", inputs={"Control": "JSON"}, results=["Result"]).check()
    assert single.to_dict()["resultChannels"] == ["Result"]
    assert single.inputs == {"Control": "JSON"}
    assert list(single.nodes) == ["hello"]
    with pytest.raises(WorkflowError, match="'Nonsense' is no type"):
        SingleEngine("hello", inputs={"Control": "Nonsense"}).check()
    with pytest.raises(WorkflowError, match="takes one message"):
        single.filled({"Control": [1, 2]}, {})
