"""Numbers: percentiles, ratios of one round, rows of the report. No input or output."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that ``share`` (0 to 1) of all values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def p50(values: Sequence[float]) -> float:
    """Return the value in the middle."""
    return percentile(values, 0.5)


def p99(values: Sequence[float]) -> float:
    """Return the value that 99 of 100 do not exceed."""
    return percentile(values, 0.99)


@dataclass(frozen=True)
class Target:
    """A bound to reach first, and one to reach then."""

    first: float
    then: float
    at_least: bool = False
    """False: the less, the better."""

    def verdict(self, value: float) -> str:
        """Return ``then``, ``first`` or ``missed``."""
        for name, bound in (("then", self.then), ("first", self.first)):
            if value >= bound if self.at_least else value <= bound:
                return name
        return "missed"

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        return f"{sign} {self.first:g}, then {sign} {self.then:g}"


@dataclass(frozen=True)
class Row:
    """One line of the report: the median over the rounds, and the rounds' extremes."""

    name: str
    rounds: Sequence[float]
    unit: str = ""
    target: Target | None = None

    @property
    def value(self) -> float:
        """The median."""
        return median(self.rounds)

    def as_json(self) -> dict[str, Any]:
        """Return the row as it stands in the JSON file."""
        row: dict[str, Any] = {
            "name": self.name,
            "value": round(self.value, 4),
            "rounds": [round(value, 4) for value in self.rounds],
            "unit": self.unit,
        }
        if self.target:
            row["target"] = str(self.target)
            row["verdict"] = self.target.verdict(self.value)
        return row


@dataclass
class Section:
    """What one benchmark has to say."""

    name: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(
        self, name: str, rounds: Sequence[float], unit: str = "", target: Target | None = None
    ) -> None:
        """Add a row."""
        self.rows.append(Row(name, list(rounds), unit, target))

    def ratio(
        self,
        name: str,
        above: Sequence[float],
        below: Sequence[float],
        target: Target | None = None,
        unit: str = "x",
    ) -> None:
        """Add a row of the quotients of each round."""
        self.add(name, [a / b for a, b in zip(above, below, strict=True)], unit, target)
