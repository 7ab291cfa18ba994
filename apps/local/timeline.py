"""A session's course as text: how long each phase took, and which engine worked when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

FULL: Final = "█"
NUMBERS: Final = "123456789abcdefghijklmnopqrstuvwxyz"

Span = tuple[int, int]
"""(start, length) of a call, microseconds."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The time that a row of characters stands for."""

    start: int
    length: int
    """Microseconds."""
    width: int

    def cells(self, span: Span) -> range:
        """Return the cells that a call touches, at least one."""
        first = (span[0] - self.start) * self.width // self.length
        last = (span[0] + span[1] - self.start) * self.width // self.length
        first = min(max(first, 0), self.width - 1)
        return range(first, min(max(last, first + 1), self.width))


def scale(spans: Mapping[str, Sequence[Span]], *, width: int) -> Scale | None:
    """Return a scale that holds all of these calls; None when there is none."""
    every = [span for calls in spans.values() for span in calls]
    if not every:
        return None
    start = min(begin for begin, _ in every)
    end = max(begin + length for begin, length in every)
    return Scale(start=start, length=max(1, end - start), width=width)


def gantt(spans: Mapping[str, Sequence[Span]], *, width: int = 60) -> list[str]:
    """Return a row for each engine: the number of its call that ran at that time.

    An engine with a single call gets a solid bar.
    """
    grid = scale(spans, width=width)
    if grid is None:
        return []
    margin = max(map(len, spans))
    lines = []
    for name, calls in spans.items():
        row = [" "] * width
        for index, call in enumerate(calls):
            mark = FULL if len(calls) == 1 else NUMBERS[index % len(NUMBERS)]
            for cell in grid.cells(call):
                row[cell] = mark
        lines.append(f"{name.ljust(margin)} |{''.join(row)}|")
    seconds = f"{grid.length / 1e6:.1f} s"
    lines.append(" " * (margin + 2) + "0" + seconds.rjust(width - 1))
    return lines


def overlap(one: Sequence[Span], other: Sequence[Span]) -> tuple[int, int, int]:
    """Return (call of one, call of other, microseconds) of two calls that ran longest together.

    Calls are counted from 1; nothing ran together when the time is 0.
    """
    best = (0, 0, 0)
    for i, (a, a_length) in enumerate(one, 1):
        for j, (b, b_length) in enumerate(other, 1):
            shared = min(a + a_length, b + b_length) - max(a, b)
            if i != j and shared > best[2]:
                best = (i, j, shared)
    return best
