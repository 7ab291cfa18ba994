"""How much memory processes take above what they had, from /proc."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bench import cpu

RESET_PEAK: Final = "5"
"""What /proc/<id>/clear_refs takes for: the peak is what it is now."""


def everybody(programs: Mapping[str, int]) -> dict[int, str]:
    """Return programs and their workers by process id; each worker is ``<name>/worker``."""
    parents = cpu.parents()
    found = {pid: name for name, pid in programs.items()}
    below = list(found)
    while below:
        parent = below.pop()
        for child in [pid for pid, its in parents.items() if its == parent and pid not in found]:
            found[child] = f"{found[parent].removesuffix('/worker')}/worker"
            below.append(child)
    return found


class Peaks:
    """What processes take at most from now on."""

    def __init__(self, processes: Mapping[int, str]) -> None:
        """Note what each has now."""
        self._processes = processes
        self._idle = {}
        for pid in processes:
            Path(f"/proc/{pid}/clear_refs").write_text(RESET_PEAK)
            self._idle[pid] = _kilobytes(pid, "VmRSS")

    def above(self) -> dict[str, float]:
        """Return the megabytes each had at most above what it had; the highest of one name."""
        found: dict[str, float] = {}
        for pid, name in self._processes.items():
            risen = (_kilobytes(pid, "VmHWM") - self._idle[pid]) * 1024 / 1e6
            found[name] = max(risen, found.get(name, 0.0))
        return found


def _kilobytes(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0])
    raise ValueError(f"the kernel does not tell {field} of process {pid}")
