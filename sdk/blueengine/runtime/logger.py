"""What the author's code logs about a session: to the process's own log as ever, and to the session.

The worker sends each line to the parent along with its other frames, up to a rate.
"""

import logging
import time
import traceback
from collections.abc import Callable
from typing import Any, Final

from blueengine.kit.logs import clean

LINES_A_SECOND: Final = 100.0
BURST: Final = 200.0
"""Lines at once that a session may send from one worker; of further ones only the number is sent."""
LARGEST: Final = 4096
"""Characters of a line."""


class SessionLogger(logging.LoggerAdapter[logging.Logger]):
    """``context.logger``: logs under the session's ids, and hands each line on."""

    def __init__(self, ids: dict[str, str], hand_on: Callable[[int, int, str], None]) -> None:
        """Log with ``ids``; ``hand_on`` gets time (microseconds), level and text of each line."""
        super().__init__(logging.getLogger("blueengine.engine"), ids)
        self._hand_on = hand_on
        self._room = BURST
        self._at = time.monotonic()
        self._skipped = 0

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log a line, as ``logging.Logger.log`` does."""
        if not self.isEnabledFor(level):
            return
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
        super().log(level, msg, *args, **kwargs)
        now = time.monotonic()
        self._room = min(BURST, self._room + (now - self._at) * LINES_A_SECOND)
        self._at = now
        if self._room < 1:
            self._skipped += 1
            return
        self._room -= 1
        text = _text(msg, args, kwargs.get("exc_info"))
        if self._skipped:
            text += f" ({self._skipped} lines before this one are not shown here)"
            self._skipped = 0
        self._hand_on(time.time_ns() // 1000, level, text)


def _text(msg: object, args: tuple[object, ...], exc_info: Any) -> str:
    try:
        text = str(msg) % args if args else str(msg)
    except (TypeError, ValueError, KeyError):
        text = f"{msg} {args}"  # logging has complained about it
    if exc_info:
        text += "\n" + traceback.format_exc().rstrip()
    text = clean(text)
    return text if len(text) <= LARGEST else text[:LARGEST] + "…"
