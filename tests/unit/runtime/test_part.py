"""A part's books: what is accepted, what is repeated, what is missing."""

import pytest

from blueengine.errors import MessageLostError
from blueengine.runtime.part import (
    NO_MORE,
    TOLD,
    WINDOW_MESSAGES,
    Output,
    Part,
    Route,
    weight,
    wire,
)
from blueengine.wire.command import Start
from blueengine.wire.envelope import Kind
from blueengine.wire.plan import CLIENT, Channel, Node, Plan

NODES = {
    "source": Node("e", {"Control": "In"}, {"Results": "Mid"}),
    "other": Node("e", {}, {"Results": "Mid"}),
    "sink": Node("e", {"A": "Mid", "B": "Mid", "C": "Set"}, {"X": "Out", "Y": "Out", "Z": "End"}),
    "after": Node("e", {"Control": "Out"}, {}),
}


def a_part(node: str = "sink") -> Part:
    channels = {name: Channel("JSON", name == "Out") for name in ("In", "Mid", "Set", "Out", "End")}
    plan = Plan(nodes=NODES, channels=channels, fed=("In", "Set"))
    picks = {name: f"{name}-instance" for name in NODES}
    return Part(1, Start("s", 2, node, b"", picks, b""), wire(plan, node), "/folder")


def test_its_sources_are_the_writers_of_what_it_reads() -> None:
    part = a_part()
    assert set(part.sources) == {("Mid", "source"), ("Mid", "other"), ("Set", CLIENT)}
    assert part.open_sources == 3
    assert set(a_part("source").sources) == {("In", CLIENT)}


def test_one_channel_at_two_ports_is_one_source() -> None:
    assert a_part().ports == {"Mid": ["A", "B"], "Set": ["C"]}


def test_two_ports_of_one_channel_share_its_routes() -> None:
    part = a_part()
    assert part.outputs["X"] is part.outputs["Y"]
    assert [(r.node, r.instance) for r in part.outputs["X"].routes] == [("after", "after-instance")]
    assert part.outputs["Z"].routes == []


def test_the_first_node_tells_those_behind_it_nearest_first() -> None:
    names = [f"n{number}" for number in range(TOLD + 4)]
    nodes = {
        name: Node("e", {"Control": f"C{at}"}, {"Results": f"C{at + 1}"})
        for at, name in enumerate(names)
    }
    nodes["beside"] = Node("e", {"Control": "C1"}, {})
    channels = {f"C{at}": Channel("JSON", False) for at in range(len(names) + 1)}
    plan = Plan(nodes=dict(reversed(nodes.items())), channels=channels, fed=("C0",))
    assert sorted(wire(plan, "n0").tells) == sorted(["beside", *names[1:TOLD]])
    assert all(wire(plan, name).tells == () for name in names[1:])


def test_messages_are_accepted_in_order() -> None:
    part = a_part()
    for seq in range(3):
        assert part.accept("Mid", "source", seq, Kind.DATA, 1) == (part.sources["Mid", "source"], 0)


def test_of_a_run_only_what_is_new_is_accepted() -> None:
    part = a_part()
    source = part.sources["Mid", "source"]
    assert part.accept("Mid", "source", 0, Kind.DATA, 5) == (source, 0)
    assert part.accept("Mid", "source", 0, Kind.DATA, 5) is None
    assert part.accept("Mid", "source", 3, Kind.DATA, 2) is None
    assert part.accept("Mid", "source", 2, Kind.DATA, 4) == (source, 3)
    assert source.expected == 6


def test_the_end_of_a_run_is_the_end_of_its_source() -> None:
    part = a_part()
    assert part.accept("Mid", "source", 0, Kind.LAST, 3) is not None
    assert part.sources["Mid", "source"].ended
    assert part.open_sources == 2


def test_a_repetition_is_dropped() -> None:
    part = a_part()
    part.accept("Mid", "source", 0, Kind.DATA, 1)
    assert part.accept("Mid", "source", 0, Kind.DATA, 1) is None
    assert part.accept("Mid", "source", 1, Kind.DATA, 1) is not None


def test_each_sender_counts_for_itself() -> None:
    part = a_part()
    part.accept("Mid", "source", 0, Kind.DATA, 1)
    assert part.accept("Mid", "other", 0, Kind.DATA, 1) is not None


@pytest.mark.parametrize(
    ("channel", "sender"), [("Mid", "stranger"), ("In", CLIENT), ("Mid", CLIENT)]
)
def test_what_is_nobodys_is_dropped(channel: str, sender: str) -> None:
    assert a_part().accept(channel, sender, 0, Kind.DATA, 1) is None


def test_a_gap_is_an_error_that_says_what_is_missing() -> None:
    part = a_part()
    part.accept("Mid", "source", 0, Kind.DATA, 1)
    with pytest.raises(MessageLostError, match=r"'Mid': messages 1 to 3 of source never arrived"):
        part.accept("Mid", "source", 4, Kind.DATA, 1)
    with pytest.raises(MessageLostError, match="of the client"):
        part.accept("Set", CLIENT, 1, Kind.END, 1)


def test_an_end_closes_its_source_once() -> None:
    part = a_part()
    part.accept("Mid", "source", 0, Kind.DATA, 1)
    assert part.accept("Mid", "source", 1, Kind.END, 1) is not None
    assert part.open_sources == 2
    assert part.accept("Mid", "source", 1, Kind.END, 1) is None
    assert part.accept("Mid", "source", 2, Kind.DATA, 1) is None
    assert part.open_sources == 2


def test_results_are_taken_once_with_the_number_of_the_first() -> None:
    part = a_part()
    output = part.channels["Out"]
    output.unsaved, output.stored_seq = [b"a", b"b"], 2
    assert part.take_unsaved() == [("Out", 0, [b"a", b"b"])]
    assert part.take_unsaved() == []
    output.unsaved, output.stored_seq = [b"c"], 3
    assert part.take_unsaved() == [("Out", 2, [b"c"])]


def test_a_window_is_full_by_messages_or_bytes() -> None:
    assert Route("n", "i", messages=WINDOW_MESSAGES - 1).has_room
    assert not Route("n", "i", messages=WINDOW_MESSAGES).has_room
    assert not Route("n", "i", size=8 << 20).has_room


def test_an_output_has_room_when_every_reader_and_the_store_have() -> None:
    full, empty = Route("n", "i", messages=WINDOW_MESSAGES), Route("m", "i")
    assert Output("c", "JSON", [empty], True).has_room
    assert not Output("c", "JSON", [empty, full], True).has_room
    assert not Output("c", "JSON", [empty], True, saving=2048).has_room
    assert not Output("c", "JSON", [], True, saving_bytes=8 << 20).has_room


def test_a_payload_by_reference_weighs_less_than_one_in_memory() -> None:
    assert (weight(100, 0), weight(0, 800), weight(0, 0)) == (100, 100, 0)


def test_no_credit_counts_as_a_number_of_messages() -> None:
    assert NO_MORE < 0
