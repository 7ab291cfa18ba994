"""What is told of an exception in the author's code: a line, and the author's frames only."""

import inspect
import os
import traceback
from pathlib import Path
from typing import Final

from blueengine.errors import DataTypeError, Fail, RetryLater

_OWN: Final = str(Path(__file__).parent) + os.sep
_AROUND: Final = (_OWN, str(Path(inspect.__file__).with_name("asyncio")) + os.sep)
"""Folders whose frames say nothing of the author's code (while that has not been reached)."""


def explain(exc: Exception) -> tuple[str, str]:
    """Return message and traceback; the traceback begins where the author's code does."""
    if isinstance(exc, (Fail, RetryLater, DataTypeError)):
        return str(exc) or "the engine failed the session", ""
    told = _without_own(traceback.TracebackException.from_exception(exc))
    return f"{type(exc).__name__}: {exc}", "".join(told.format())


def _without_own(told: traceback.TracebackException) -> traceback.TracebackException:
    at = 0
    while at < len(told.stack) and told.stack[at].filename.startswith(_AROUND):
        at += 1
    kept = [frame for frame in told.stack[at:] if not frame.filename.startswith(_OWN)]
    told.stack = traceback.StackSummary.from_list(kept)
    for other in (told.__cause__, told.__context__):
        if other is not None:
            _without_own(other)
    return told
