"""The table a person reads and the JSON a program reads."""

import os
import platform
import time
from collections.abc import Sequence
from typing import Any

from bench.measure import Row, Section

_MARKS = {"then": "✓✓", "first": "✓", "missed": "✗", "": ""}


def number(value: float) -> str:
    """Return a number with three digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _cells(row: Row) -> list[str]:
    low, high = min(row.rounds), max(row.rounds)
    spread = f"{number(low)} … {number(high)}" if len(row.rounds) > 1 else ""
    verdict = row.target.verdict(row.value) if row.target else ""
    target = str(row.target) if row.target else ""
    return [row.name, number(row.value), row.unit, spread, target, _MARKS[verdict]]


def table(section: Section) -> str:
    """Return a section as text."""
    head = [section.name, "median", "", "rounds", "target", ""]
    lines = [head, *(_cells(row) for row in section.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = []
    for line in lines:
        cells = [
            cell.rjust(width) if column in {1, 3} else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        text.append("  ".join(cells).rstrip())
    text.insert(1, "-" * (sum(widths) + 2 * (len(widths) - 1)))
    return "\n".join([*text, *(f"  {note}" for note in section.notes)])


def document(
    sections: Sequence[Section], *, redis: str, quick: bool, load: Sequence[float]
) -> dict[str, Any]:
    """Return everything as it stands in the JSON file."""
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "quick": quick,
        "machine": {
            "cpus": len(os.sched_getaffinity(0)),
            "load": [round(load, 2) for load in load],
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "redis": redis,
        },
        "sections": {
            section.name: {"rows": [row.as_json() for row in section.rows], "notes": section.notes}
            for section in sections
        },
    }
