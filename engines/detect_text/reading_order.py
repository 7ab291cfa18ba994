"""Put text boxes in the order in which a person reads the page. Pure: numbers in, numbers out.

Boxes are grouped into printed rows, rows run from top to bottom, boxes of a row from left to
right: right for letters, forms and tables. Where a run of rows is two columns of prose, the left
column is read to its end before the right one. Made for pages that stand upright; the rows of a
page tilted by more than a degree or two run into each other.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

Quad = list[list[int]]
"""Four corners ``[x, y]``, clockwise from the top left."""

# A box belongs to a row when it shares this part of the smaller height with the row's last box.
_SAME_ROW = 0.5
# Rows further apart than this many line heights are not one run of columns.
_LARGEST_GAP = 2.0
_FEWEST_ROWS = 3
# What tells prose from a table: columns that are wide, and lines that mostly fill them.
_WIDE_COLUMN = 0.25
_FULL_LINE = 0.6
_MOSTLY = 0.6


@dataclass(frozen=True, slots=True)
class _Span:
    """A box as the upright rectangle around it."""

    quad: Quad
    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top


_Row = list[_Span]


def in_reading_order(quads: Sequence[Quad], page_width: int) -> tuple[list[Quad], list[int]]:
    """Order the boxes of a page; the second list gives the row (0, 1, …) of each ordered box."""
    rows = _rows([_span(quad) for quad in quads])
    ordered: list[_Row] = []
    while rows:
        run = _two_columns(rows, page_width)
        if run is None:
            ordered.append(rows.pop(0))
        else:
            left, right, length = run
            ordered += left + right
            del rows[:length]
    boxes = [span.quad for row in ordered for span in row]
    numbers = [number for number, row in enumerate(ordered) for _ in row]
    return boxes, numbers


def _span(quad: Quad) -> _Span:
    xs, ys = [x for x, _ in quad], [y for _, y in quad]
    return _Span(quad, min(xs), min(ys), max(xs), max(ys))


def _rows(spans: list[_Span]) -> list[_Row]:
    """Group boxes into printed rows.

    Compared with the row's last box and not with its extent, so that a tall box does not pull the
    rows beside it into one.
    """
    rows: list[_Row] = []
    for span in sorted(spans, key=lambda span: (span.top + span.bottom, span.left)):
        if rows and _same_row(rows[-1][-1], span):
            rows[-1].append(span)
        else:
            rows.append([span])
    return [sorted(row, key=lambda span: span.left) for row in rows]


def _same_row(one: _Span, other: _Span) -> bool:
    shared = min(one.bottom, other.bottom) - max(one.top, other.top)
    return shared > _SAME_ROW * min(one.height, other.height)


def _two_columns(rows: list[_Row], page_width: int) -> tuple[list[_Row], list[_Row], int] | None:
    """Find two columns of prose that begin with the first row: left, right, and rows used."""
    first = rows[0]
    if len(first) != 2:
        return None
    gutter = (first[0].right, first[1].left)
    left: _Row = []
    right: _Row = []
    used = 0
    for row in rows:
        if used and _gap(rows[used - 1], row) > _LARGEST_GAP * row[0].height:
            break
        narrowed = _narrowed(gutter, row)
        if narrowed is None:
            break
        gutter = narrowed
        middle = sum(gutter) / 2
        left += [span for span in row if span.right <= middle]
        right += [span for span in row if span.left >= middle]
        used += 1
    if not (_is_prose(left, page_width) and _is_prose(right, page_width)):
        return None
    return [[span] for span in left], [[span] for span in right], used


def _gap(above: _Row, below: _Row) -> int:
    return min(span.top for span in below) - max(span.bottom for span in above)


def _narrowed(gutter: tuple[int, int], row: _Row) -> tuple[int, int] | None:
    """Keep what is free in this row of the gutter; None when too little is left of it."""
    middle = sum(gutter) / 2
    start, end = gutter
    for span in row:
        if (span.left + span.right) / 2 < middle:
            start = max(start, span.right)
        else:
            end = min(end, span.left)
    # Half a line height is more than a space between words, so a line across both columns ends it.
    return (start, end) if end - start >= row[0].height / 2 else None


def _is_prose(column: _Row, page_width: int) -> bool:
    if len(column) < _FEWEST_ROWS:
        return False
    width = max(span.right for span in column) - min(span.left for span in column)
    full = [span.width >= _FULL_LINE * width for span in column]
    return width >= _WIDE_COLUMN * page_width and statistics.fmean(full) >= _MOSTLY
