"""A session's history as it happens: what was, then what comes, without a gap."""

import re
from collections.abc import AsyncGenerator
from typing import Final

from apps.restful.service.parts import Parts
from apps.restful.service.read import check_id, unknown
from apps.sessions.store import Entry
from blueengine.wire.lifecycle import TERMINAL

_EVENT_ID: Final = re.compile(r"\d{1,20}-\d{1,20}\.\d{1,9}")


def is_event_id(text: str) -> bool:
    """Say whether a client can have got this id from here."""
    return _EVENT_ID.fullmatch(text) is not None


async def has_more(parts: Parts, session: str, *, after: str) -> bool:
    """Say whether something follows the event ``after``, now or later.

    Raises:
        UnknownError: There is no such session.
    """
    check_id(session)
    status, _, _ = await parts.store.outcome(session, ())
    if not status:
        raise unknown(session)
    return status not in TERMINAL or bool(await parts.store.history(session, after=after))


async def follow(
    parts: Parts, session: str, *, after: str, alive_every: float
) -> AsyncGenerator[Entry | None, None]:
    """Yield the events behind ``after`` up to the last status; None where nothing came for long.

    It ends early when the process is about to stop: the client comes back with the last id.
    """
    status: str | None = None
    try:
        with parts.pokes.listen(session, follows=True) as bell:
            bell.outdated = True
            while not parts.pokes.closing:
                if bell.outdated:
                    bell.outdated = False
                    status = await parts.store.watch(session, parts.pokes.gateway, everything=True)
                entries = await parts.store.history(session, after=after)
                for entry in entries:
                    after = entry.id
                    yield entry
                    if entry.fields["k"] == "session":
                        status = entry.fields["st"]
                        if status in TERMINAL:
                            return
                if entries:
                    continue
                if status is None or status in TERMINAL:
                    return
                if not await bell.wait(alive_every):
                    yield None
                    bell.outdated = True  # it may have been deleted, or ended while Redis was away
    finally:
        if status is not None and status not in TERMINAL and not parts.pokes.is_followed(session):
            parts.store.unwatch(session, parts.pokes.gateway)
