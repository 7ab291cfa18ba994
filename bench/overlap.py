"""Whether the steps of an engine overlap: three that compute, against three bare processes.

The limit is what bare processes do at once with the same work and nobody to pass anything to: as many
cores as there are, or as the machine gives at the time.
"""

import multiprocessing
import os
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from bench.measure import Section, Target
from bench.steps.overlap import NAMES, work
from blueengine.testing import running

ENGINE: Final = Path(__file__).parent / "steps" / "overlap.py"
COLUMNS: Final = 72
_SHADES: Final = " ░▒▓█"

Span = tuple[float, float]


def a_round(count: int, turns: int) -> tuple[float, float, list[list[Span]]]:
    """Run both sides; their seconds, and when each step of the engine was at work."""
    with running(ENGINE, processes=True, virtual_time=False) as engine:
        engine.run(Control=[{"count": 2, "turns": 1000}])  # warm
        found = engine.run(Control=[{"count": count, "turns": turns}], timeout=300)
    spans: list[list[Span]] = [[(began, ended) for began, ended in each] for each in
                               zip(*found.outputs["Spans"], strict=True)]  # fmt: skip
    ours = max(end for step in spans for _, end in step) - min(
        at for step in spans for at, _ in step
    )
    return ours, bare(count, turns), spans


def _bare(far: "Connection[Any, Any]", count: int, turns: int) -> None:
    far.send("ready")
    far.recv()
    for _ in range(count):
        work(turns)
    far.send("done")


def bare(count: int, turns: int) -> float:
    """Do the work of each step in a process of its own, all at once; seconds."""
    context = multiprocessing.get_context("spawn")
    ends, processes = [], []
    for _ in NAMES:
        here, far = context.Pipe()
        process = context.Process(target=_bare, args=(far, count, turns))
        process.start()
        ends.append(here)
        processes.append(process)
    for end in ends:
        end.recv()
    began = time.perf_counter()
    for end in ends:
        end.send("go")
    for end in ends:
        end.recv()
    seconds = time.perf_counter() - began
    for process in processes:
        process.join()
    return seconds


def timeline(spans: Sequence[Sequence[Span]]) -> list[str]:
    """Draw when each step was at work, and how many of them were."""
    begin = min(at for step in spans for at, _ in step)
    end = max(at for step in spans for _, at in step)
    width = (end - begin) / COLUMNS
    rows, together = [], [0.0] * COLUMNS
    for name, step in zip(NAMES, spans, strict=True):
        share = [0.0] * COLUMNS
        for began, ended in step:
            for column in range(COLUMNS):
                left = begin + column * width
                share[column] += max(0.0, min(ended, left + width) - max(began, left)) / width
        together = [a + b for a, b in zip(together, share, strict=True)]
        shades = "".join(_SHADES[min(4, round(4 * each))] for each in share)
        rows.append(f"{name:>8} {shades}")
    rows.append(f"{'at once':>8} {''.join(str(round(each)) for each in together)}")
    return rows


def add(section: Section, rounds: Sequence[tuple[float, float, list[list[Span]]]]) -> None:
    """Add what was found to the report."""
    at_work = [sum(e - b for step in spans for b, e in step) / ours for ours, _, spans in rounds]
    section.add("three computing steps: steps at work at a time", at_work)
    section.ratio(
        "three bare processes at once ÷ three steps in a row",
        [each[1] for each in rounds],
        [each[0] for each in rounds],
        Target(0.8, 0.9, at_least=True),
    )
    cores = len(os.sched_getaffinity(0))
    section.notes.append(f"a round of the three computing steps, on {cores} cores:")
    section.notes += timeline(rounds[-1][2])
