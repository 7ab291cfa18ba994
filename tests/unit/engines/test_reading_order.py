"""Boxes come out in the order in which a person reads."""

import random

from engines.detect_text.reading_order import in_reading_order

PAGE_WIDTH = 1000


def box(left: int, top: int, right: int, height: int = 20) -> list[list[int]]:
    bottom = top + height
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def shuffled(boxes):
    mixed = list(boxes)
    random.Random(7).shuffle(mixed)
    return mixed


def test_nothing_in_nothing_out():
    assert in_reading_order([], PAGE_WIDTH) == ([], [])


def test_rows_run_down_and_cells_run_right():
    # The cells of a row stand a little off each other, as a detector finds them.
    table = [
        box(60, 100, 250), box(500, 103, 560), box(800, 98, 880),
        box(60, 130, 230), box(500, 128, 540), box(800, 131, 880),
        box(60, 160, 270), box(500, 162, 560), box(800, 159, 880),
    ]  # fmt: skip
    assert in_reading_order(shuffled(table), PAGE_WIDTH) == (table, [0, 0, 0, 1, 1, 1, 2, 2, 2])


def test_lines_that_slightly_overlap_stay_two_rows():
    # Detectors draw boxes larger than the print, so those of neighbouring lines overlap.
    lines = [box(60, 100 + 18 * n, 700, height=22) for n in range(6)]
    assert in_reading_order(shuffled(lines), PAGE_WIDTH) == (lines, [0, 1, 2, 3, 4, 5])


def test_two_columns_of_prose_are_read_one_after_the_other():
    heading = [box(60, 40, 600, height=30)]
    left = [box(60, 100 + 30 * n, 470) for n in range(5)] + [box(60, 250, 200)]
    right = [box(530, 100 + 30 * n, 930) for n in range(4)]
    footer = [box(60, 400, 700)]
    page = heading + left + right + footer
    boxes, rows = in_reading_order(shuffled(page), PAGE_WIDTH)
    assert boxes == page
    assert rows == list(range(len(page)))


def test_a_line_across_the_page_ends_the_columns():
    above = [box(60, 100 + 30 * n, 470) for n in range(3)]
    beside = [box(530, 100 + 30 * n, 930) for n in range(3)]
    across = [box(60, 190, 930)]
    page = above + beside + across
    assert in_reading_order(shuffled(page), PAGE_WIDTH)[0] == page


def test_labels_and_values_are_rows_and_not_columns():
    form = [
        cell for n in range(4) for cell in (box(60, 100 + 30 * n, 180), box(800, 100 + 30 * n, 880))
    ]
    boxes, rows = in_reading_order(shuffled(form), PAGE_WIDTH)
    assert boxes == form
    assert rows == [0, 0, 1, 1, 2, 2, 3, 3]


def test_no_box_is_lost_or_doubled_whatever_the_page():
    dice = random.Random(3)
    for _ in range(300):
        boxes = []
        for _ in range(dice.randint(1, 40)):
            left, top = dice.randint(0, 900), dice.randint(0, 900)
            boxes.append(box(left, top, left + dice.randint(1, 600), height=dice.randint(1, 80)))
        ordered, rows = in_reading_order(boxes, PAGE_WIDTH)
        assert sorted(ordered) == sorted(boxes)
        assert len(rows) == len(boxes)
        assert rows == sorted(rows)
