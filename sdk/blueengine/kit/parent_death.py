"""Processes that end with the one that started them, however that one ends (Linux; elsewhere nothing).

The kernel sends the signal, so it comes after ``kill -9`` of the parent, too, and whatever the child
is doing.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def _loaded_prctl() -> Callable[[int, int], int] | None:
    """Return libc's prctl, looked up before any fork; None where there is none."""
    if not sys.platform.startswith("linux"):
        return None
    prctl: Callable[[int, int], int] = ctypes.CDLL(None).prctl
    return prctl


_prctl: Final = _loaded_prctl()


def die_with_parent() -> None:
    """Have this process killed when its parent is gone."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def before_exec(parent: int) -> Callable[[], None] | None:
    """Return what a child of the process ``parent`` does before it becomes its program.

    It is killed when the thread that started it is gone: start it from one that lives on.
    """
    if _prctl is None:
        return None

    def tie() -> None:
        die_with_parent()
        if os.getppid() != parent:  # it died before the line above
            os.kill(os.getpid(), signal.SIGKILL)

    return tie
