"""Who may watch which channels."""

from collections.abc import Sequence

from apps.restful.service.errors import UnknownError
from apps.restful.service.parts import Parts
from apps.restful.service.read import check_id, unknown
from apps.restful.service.taps import Watcher


async def watcher(parts: Parts, session: str, channels: Sequence[str]) -> Watcher | None:
    """Return a view of these channels, or None when there is none to watch.

    Raises:
        UnknownError: No such session, or it has no such channel.
    """
    if not channels:
        return None
    check_id(session)
    target = await parts.live.target(session)
    if target is None:
        raise unknown(session)
    for channel in channels:
        if channel not in target.channels:
            known = ", ".join(target.channels)
            msg = f"the session has no channel {channel[:80]!r} to tap; it has: {known}"
            raise UnknownError.because(msg, loc="/query/tap", kind="unknown-channel")
    return parts.taps.watch(target, tuple(dict.fromkeys(channels)))
