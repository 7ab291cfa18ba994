"""What engines wrote about a session: what was, and the next lines as they come."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from apps.restful.service.parts import Parts
from apps.restful.service.read import check_id, unknown
from apps.sessions.store import Line
from blueengine.wire.lifecycle import TERMINAL

_LINE_ID: Final = re.compile(r"\d{1,20}-\d{1,20}")


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Some lines of a session's log."""

    lines: Sequence[Line]
    after: str
    """The last line that was looked at: the next ones follow it."""
    ended: bool
    """The session has ended: no more lines come."""


def is_line_id(text: str) -> bool:
    """Say whether a client can have got this id from here."""
    return _LINE_ID.fullmatch(text) is not None


async def read_logs(
    parts: Parts, session: str, *, node: str, after: str, limit: int, wait: float
) -> Lines:
    """Return lines behind ``after``; when there is none yet, wait for one or the session's end.

    Raises:
        UnknownError: There is no such session.
    """
    check_id(session)
    loop = asyncio.get_running_loop()
    until = loop.time() + min(wait, parts.settings.max_wait)
    status: str | None = None
    try:
        with parts.pokes.listen(session, follows=True) as bell:
            bell.outdated = True
            while True:
                if bell.outdated:
                    bell.outdated = False
                    status = await _status(parts, session, watch=wait > 0)
                ended = status in TERMINAL
                found = await parts.store.logs(session, after=after, limit=limit)
                after = found[-1].id if found else after
                lines = [line for line in found if not node or line.node == node]
                more = len(found) == limit
                if lines or not (more or (not ended and loop.time() < until)):
                    return Lines(lines=lines, after=after, ended=ended and not more)
                if not more:
                    if parts.pokes.closing or not await bell.wait(until - loop.time()):
                        return Lines(lines=(), after=after, ended=ended)
                    bell.outdated = True  # it may have ended
    finally:
        if wait > 0 and status not in {None, *TERMINAL} and not parts.pokes.is_followed(session):
            parts.store.unwatch(session, parts.pokes.gateway)


async def _status(parts: Parts, session: str, *, watch: bool) -> str:
    if watch:
        status = await parts.store.watch(session, parts.pokes.gateway, everything=True)
    else:
        status, _, _ = await parts.store.outcome(session, ())
    if not status:
        raise unknown(session)
    return status
