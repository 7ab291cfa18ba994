"""Logs of services and engines: JSON lines, or text when a person watches on a terminal.

Ids travel in a context variable: what is logged inside ``with bound(session=…, engine=…)`` carries
them, also in tasks started there. ``extra={…}`` of a single call adds further fields. Secrets are
masked: fields with a name like ``password`` or ``token``, and passwords inside URLs.
"""

import logging
import re
import sys
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, Literal, TextIO

import orjson

_ids: ContextVar[MappingProxyType[str, str]] = ContextVar("ids", default=MappingProxyType({}))

_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; anything else came by ``extra``."""
_SECRET: Final = re.compile(
    r"passw|secret|token|authorization|api_?key|cookie|credential", re.IGNORECASE
)
_URL_LOGIN: Final = re.compile(r"(?<=://)[^/\s@]+@")
_MASK: Final = "***"
_SHORTEST: Final = 4
"""Shorter secrets are words that logs are full of."""
_hidden: Final[set[str]] = set()


@contextmanager
def bound(**ids: str) -> Generator[None, None, None]:
    """Add these fields to everything that is logged inside."""
    token = _ids.set(MappingProxyType({**_ids.get(), **ids}))
    try:
        yield
    finally:
        _ids.reset(token)


def configure(
    service: str,
    level: str = "INFO",
    *,
    stream: TextIO | None = None,
    form: Literal["auto", "json", "text"] = "auto",
) -> None:
    """Send all logs of this process to ``stream`` (standard error when None).

    Args:
        service: Field ``service`` of every line, e.g. ``management`` or an engine's id.
        level: The least severe level that is shown.
        stream: Where to write.
        form: ``auto`` writes text to a terminal and JSON to anything else.
    """
    out = stream or sys.stderr
    handler = logging.StreamHandler(out)
    text = form == "text" or (form == "auto" and out.isatty())
    handler.setFormatter(TextLines(service) if text else JsonLines(service))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return the ids in force and what came by ``extra``, secrets masked."""
    found = {**_ids.get(), **{k: v for k, v in vars(record).items() if k not in _OWN}}
    return {name: _masked(name, value) for name, value in found.items()}


class JsonLines(logging.Formatter):
    """One JSON object per record."""

    def __init__(self, service: str) -> None:
        """Name ``service`` in every line."""
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": clean(record.getMessage()),
            **fields(record),
        }
        if record.exc_info:
            line["error"] = clean(self.formatException(record.exc_info))
        return orjson.dumps(line, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()


class TextLines(logging.Formatter):
    """One readable line per record, and the traceback when there is one."""

    def __init__(self, service: str) -> None:
        """Name ``service`` in every line."""
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text."""
        at = datetime.fromtimestamp(record.created, UTC).astimezone()
        line = f"{at:%H:%M:%S} {record.levelname.lower():7} {self._service}: "
        line += clean(record.getMessage())
        line += "".join(f" {name}={value}" for name, value in fields(record).items())
        if record.exc_info:
            line += "\n" + clean(self.formatException(record.exc_info))
        return line


def hide(secret: str) -> None:
    """Show ``***`` in place of this text in all that is logged from now on."""
    if len(secret) >= _SHORTEST:
        _hidden.add(secret)


def clean(text: str) -> str:
    """Return text without the logins that stand in URLs."""
    for secret in _hidden:
        text = text.replace(secret, _MASK)
    return _URL_LOGIN.sub(f"{_MASK}@", text) if "@" in text else text


def _masked(name: str, value: Any) -> Any:
    if _SECRET.search(name):
        return _MASK
    return clean(value) if isinstance(value, str) else value
