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
    status = await parts.store.watch(session, parts.pokes.gateway, everything=True)
    if status is None:
        raise unknown(session)
    return status not in TERMINAL or bool(await parts.store.history(session, after=after))


async def follow(
    parts: Parts, session: str, *, after: str, alive_every: float
) -> AsyncGenerator[Entry | None, None]:
    """Yield the events behind ``after`` up to the last status; None where nothing came for long.

    It ends early when the process is about to stop: the client comes back with the last id.
    """
    with parts.pokes.listen(session) as bell:
        status = await parts.store.watch(session, parts.pokes.gateway, everything=True)
        while not parts.pokes.closing:
            entries = await parts.store.history(session, after=after)
            for entry in entries:
                after = entry.id
                yield entry
                if entry.fields.get("st") in TERMINAL and entry.fields["k"] == "session":
                    return
            if entries:
                continue
            if status is None or status in TERMINAL:
                return
            if not await bell.wait(alive_every):
                yield None
                status = await parts.store.watch(session, parts.pokes.gateway, everything=True)
