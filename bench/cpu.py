"""CPU time of processes, from /proc."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

TICK: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def parse_stat(text: str) -> tuple[int, float]:
    """Return (parent's id, seconds of CPU time) from the content of /proc/<id>/stat."""
    # the name stands in brackets and may hold anything, brackets and blanks too
    fields = text[text.rindex(")") + 2 :].split()
    return int(fields[1]), (int(fields[11]) + int(fields[12])) / TICK


def _all() -> dict[int, tuple[int, float]]:
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                found[int(entry.name)] = parse_stat((entry / "stat").read_text())
            except OSError:
                continue  # it ended meanwhile
    return found


def parents() -> dict[int, int]:
    """Return the parent of each process."""
    return {pid: parent for pid, (parent, _) in _all().items()}


def used(programs: Mapping[str, int]) -> dict[str, float]:
    """Return the seconds each program has used so far; its children count as ``<name>/workers``."""
    everybody = _all()
    seconds: dict[str, float] = {}
    for name, pid in programs.items():
        if pid not in everybody:
            continue
        seconds[name] = everybody[pid][1]
        below, added = [pid], 0.0
        while below:
            parent = below.pop()
            if parent == os.getpid():
                continue  # the children of this process have names of their own
            for child, (its_parent, its_seconds) in everybody.items():
                if its_parent == parent:
                    below.append(child)
                    added += its_seconds
        if added:
            seconds[f"{name}/workers"] = added
    return seconds


def per_session(
    before: Mapping[str, float], after: Mapping[str, float], sessions: int
) -> dict[str, float]:
    """Return the microseconds each program took for one session."""
    return {
        name: (seconds - before.get(name, 0.0)) / sessions * 1e6
        for name, seconds in after.items()
        if seconds - before.get(name, 0.0) > 0
    }


def as_text(each: Mapping[str, float]) -> str:
    """Return what each program took, the most first, and the sum."""
    parts = [f"{name} {micros:.0f}" for name, micros in sorted(each.items(), key=lambda i: -i[1])]
    return f"{', '.join(parts)}; sum {sum(each.values()):.0f}"
