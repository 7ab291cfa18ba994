"""When which way to run a step pays: processes, threads, inline, batches. Each against a worker process."""

import os
import time
from collections import defaultdict
from pathlib import Path
from typing import Final, get_args
from unittest import mock

from bench.measure import Section
from bench.steps.ways import SESSIONS
from blueengine.runtime.declare import RunIn
from blueengine.testing import running

ENGINE: Final = Path(__file__).parent / "steps" / "ways.py"
ECHOES: Final = 5000
EACH: Final = 10
"""Messages of each session."""
WAYS: Final = {
    "process": ("process", 1),
    "threads": ("thread", SESSIONS),
    "processes": ("process", SESSIONS),
}


def _seconds(way: str, run_in: str, workers: int, sessions: int, messages: int) -> float:
    """Run sessions at once; the seconds from the first message to the last answer."""
    said = {"BENCH_WAY": way, "BENCH_RUN_IN": run_in, "BENCH_WORKERS": str(workers)}
    with (
        mock.patch.dict(os.environ, said),
        running(ENGINE, processes=True, virtual_time=False) as engine,
    ):
        driven = [engine.begin() for _ in range(sessions)]
        for each in driven:  # every worker is warm
            each.send("Control", 0)
        for each in driven:
            each.take("Result")
        began = time.perf_counter()
        for each in driven:
            each.send("Control", *range(messages)).end()
        for each in driven:
            each.ended(timeout=120)
        return time.perf_counter() - began


def a_round(found: defaultdict[str, list[float]]) -> None:
    """Measure each way once."""
    for run_in in get_args(RunIn):
        found[f"echo {run_in}"].append(_seconds("echo", run_in, 1, 1, ECHOES) / ECHOES)
    for kind in ("wait", "compute"):
        for name, (run_in, workers) in WAYS.items():
            seconds = _seconds(kind, run_in, workers, SESSIONS, EACH)
            found[f"{kind} {name}"].append(SESSIONS * EACH / seconds)
    seconds = _seconds("wait_together", "process", 1, SESSIONS, EACH)
    found["wait batch"].append(SESSIONS * EACH / seconds)


def add(section: Section, found: defaultdict[str, list[float]]) -> None:
    """Add what was found to the report."""
    section.add("a light call, in a process", [1e6 * each for each in found["echo process"]], "µs")
    section.ratio("… in a thread ÷ in a process", found["echo thread"], found["echo process"])
    section.ratio("… inline ÷ in a process", found["echo inline"], found["echo process"])
    one = found["wait process"]
    section.add(f"{SESSIONS} sessions that wait 20 ms a message, one process", one, "messages/s")
    section.ratio(f"… {SESSIONS} threads ÷ one process", found["wait threads"], one)
    section.ratio(f"… {SESSIONS} processes ÷ one process", found["wait processes"], one)
    section.ratio(f"… async batches of {SESSIONS} ÷ one process", found["wait batch"], one)
    one = found["compute process"]
    section.add(f"{SESSIONS} sessions that compute 20 ms a message, one process", one, "messages/s")
    section.ratio(f"… {SESSIONS} threads ÷ one process", found["compute threads"], one)
    section.ratio(f"… {SESSIONS} processes ÷ one process", found["compute processes"], one)
