"""What a process does about signals, by the kernel's word."""

import signal
from pathlib import Path
from typing import Literal


def signals(pid: int, which: Literal["SigBlk", "SigCgt"]) -> set[int]:
    """Return the signals that a process blocks, or has a handler for."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = int(next(line for line in lines if line.startswith(which)).split()[1], 16)
    return {number for number in range(1, signal.NSIG) if mask >> (number - 1) & 1}
