"""What is told of an exception in the author's code: a line, and the author's frames only."""

import inspect
import os
import traceback
from pathlib import Path
from typing import Final

from blueengine.errors import DataTypeError, Fail, RetryLater

_OWN: Final = str(Path(__file__).parent) + os.sep
LONGEST_MESSAGE: Final = 4_000
LONGEST_TRACEBACK: Final = 40_000
"""Characters of a report, which is kept in Redis and sent to whoever asks."""
_AROUND: Final = (_OWN, str(Path(inspect.__file__).with_name("asyncio")) + os.sep)
"""Folders whose frames say nothing of the author's code (while that has not been reached)."""


def explain(exc: BaseException) -> tuple[str, str]:
    """Return message and traceback; the traceback begins where the author's code does."""
    if isinstance(exc, (Fail, RetryLater, DataTypeError)):
        return _short(str(exc), LONGEST_MESSAGE) or "the engine failed the session", ""
    told = _without_own(traceback.TracebackException.from_exception(exc))
    message = f"{type(exc).__name__}: {_text(exc)}"
    if isinstance(exc, SystemExit):
        message += " (an engine's code must not end its process; raise Fail to fail the session)"
    return _short(message, LONGEST_MESSAGE), _short("".join(told.format()), LONGEST_TRACEBACK)


def _text(exc: BaseException) -> str:
    try:
        return str(exc)
    except Exception:  # noqa: BLE001 - of the author's class; its fault must not hide the first
        return "<its message cannot be shown>"


def _short(text: str, longest: int) -> str:
    """Leave out the middle of what is too long for a report."""
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]} … {text[-half:]}"


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
