"""``python -m tests.chaos.table chaos-*.json``: what runs have shown together, as rows of Markdown."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

BROKEN = {"0", "429", "503"}
"""Answers after which a request is made again."""


def rows(reports: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield what is counted, and the counts."""
    statuses: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for name, count in _all(reports, "sessions"):
        kind, status = name.split()
        statuses[status] += count
        kinds[kind] += count
    ended = ", ".join(f"{count:,} {status}" for status, count in sorted(statuses.items()))
    yield "runs, seconds in all", f"{len(reports)}, {_sum(reports, 'seconds'):,}"
    yield "sessions acknowledged", f"{kinds.total():,}: {ended}"
    yield "… of each kind", ", ".join(f"{kind} {count:,}" for kind, count in sorted(kinds.items()))
    yield (
        "attempts; messages fed to interactive sessions",
        f"{_sum(reports, 'attempts'):,}; {_sum(reports, 'pushed'):,}",
    )
    yield (
        "webhook events taken, requests that brought them",
        f"{_sum(reports, 'events'):,}, {_sum(reports, 'deliveries'):,}",
    )
    faults: dict[str, Counter[str]] = {}
    for name, count in _all(reports, "faults"):
        target, _, kind = name.partition(" ")
        faults.setdefault(target, Counter())[kind] += count
    yield "faults", f"{sum(one.total() for one in faults.values()):,}"
    for target, one in sorted(faults.items()):
        yield (
            f"… {target}: {', '.join(sorted(one))}",
            ", ".join(str(one[kind]) for kind in sorted(one)),
        )
    answers = Counter[str]()
    for code, count in _all(reports, "answers"):
        answers[code] += count
    again = sum(count for code, count in answers.items() if code in BROKEN)
    yield (
        "requests that clients had to repeat (connection broken, 429, 503)",
        f"{again:,} of {answers.total():,}",
    )
    yield "findings", str(sum(len(report["findings"]) for report in reports))


def _all(reports: Iterable[dict[str, Any]], field: str) -> Iterator[tuple[str, int]]:
    for report in reports:
        yield from report[field].items()


def _sum(reports: Iterable[dict[str, Any]], field: str) -> int:
    return round(sum(report[field] for report in reports))


def main(paths: Sequence[str]) -> int:
    """Print the table; 1 when something was found."""
    reports = [orjson.loads(Path(path).read_bytes()) for path in paths]
    lines = ["| | |", "|---|---|", *(f"| {what} | {count} |" for what, count in rows(reports))]
    sys.stdout.write("\n".join(lines) + "\n")
    return int(any(report["findings"] for report in reports))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
