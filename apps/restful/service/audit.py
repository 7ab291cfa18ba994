"""The audit log: who did what, one JSON object a line.

A line is written when a request has been answered: for everything that changes something, and for
everything that is refused for its key (401, 403, a session of another tenant, 429). What a client
sends over a WebSocket is a line a frame, and the socket itself another one at its end. Plain reads
are not in it. A line holds ids and routes as the API's document names them; no header, no query, no
body, so no secret either.
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import orjson

from blueengine.errors import SettingsError

log = logging.getLogger(__name__)

STANDARD_ERROR: Final = 2


class Audit:
    """Where the lines go. Each is one write at the file's end, so gateways may share a file."""

    def __init__(self, descriptor: int | None) -> None:
        """Write to an open file; None writes nothing."""
        self._descriptor = descriptor
        self._broken = False

    @classmethod
    def to(cls, path: str) -> Self:
        """Write to the end of a file, or to standard error when no path is given.

        Raises:
            SettingsError: The file cannot be written to.
        """
        if not path:
            return cls(STANDARD_ERROR)
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            return cls(os.open(Path(path), flags, 0o600))
        except OSError as exc:
            raise SettingsError(
                f"RESTFUL_AUDIT_LOG {path} cannot be written to: {exc.strerror}"
            ) from exc

    @property
    def is_kept(self) -> bool:
        """Whether lines go anywhere."""
        return self._descriptor is not None

    def close(self) -> None:
        """Close the file."""
        if self._descriptor not in {None, STANDARD_ERROR}:
            os.close(self._descriptor)
        self._descriptor = None

    def write(self, facts: Mapping[str, object]) -> None:
        """Write a line; one that cannot be written is told of in the log, once."""
        if self._descriptor is None:
            return
        try:
            os.write(self._descriptor, orjson.dumps(facts, option=orjson.OPT_APPEND_NEWLINE))
        except OSError as exc:
            if not self._broken:
                log.error("the audit log cannot be written to: %s", exc)
            self._broken = True
        else:
            self._broken = False
