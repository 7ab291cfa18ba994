"""The text Gantt of a session."""

from apps.local import timeline


def test_calls_are_drawn_where_they_ran() -> None:
    spans = {"detect": [(0, 50), (50, 50)], "ocr": [(50, 50)]}
    assert timeline.gantt(spans, width=10)[:2] == ["detect |1111122222|", "ocr    |     █████|"]


def test_the_shortest_call_has_a_cell() -> None:
    spans = {"a": [(0, 1), (999_999, 1)], "b": [(0, 1_000_000)]}
    assert timeline.gantt(spans, width=10)[0] == "a |1        2|"


def test_nothing_is_drawn_of_nothing() -> None:
    assert timeline.gantt({"a": []}) == []


def test_the_scale_is_named() -> None:
    assert timeline.gantt({"a": [(0, 2_500_000)]}, width=10)[-1].split() == ["0", "2.5", "s"]


def test_overlap_finds_different_calls_side_by_side() -> None:
    detect, ocr = [(0, 10), (10, 10), (20, 10)], [(10, 12), (25, 2)]
    assert timeline.overlap(detect, ocr) == (2, 1, 10)
    assert timeline.overlap(detect, []) == (0, 0, 0)
