"""Removes blobs of sessions that are not there.

A gateway writes start data before it submits; if it dies in between, or Redis is away, nobody knows
of them. And an engine that was paused may write for a session that is forgotten by then.
"""

import asyncio
import logging
from collections.abc import Iterator
from itertools import islice
from typing import Final

from apps.sessions.store import SessionStore
from blueengine.kit.clock import Clock
from blueengine.transport.blobs import BlobStore, session_prefix

log = logging.getLogger(__name__)

AT_ONCE: Final = 500


class Orphans:
    """Looks through the blob store."""

    def __init__(
        self, store: SessionStore, blobs: BlobStore, clock: Clock, *, older: float
    ) -> None:
        """Leave alone what is not ``older`` (seconds): its session may be about to be submitted."""
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._older = older

    async def found(self) -> list[str]:
        """Return the sessions that have blobs and are not there."""
        names = self._blobs.sessions(before=self._clock.unix() - self._older)
        orphans: list[str] = []
        while batch := await asyncio.to_thread(_some, names):
            there = await self._store.existing(batch)
            orphans += [session for session in batch if session not in there]
        return orphans

    async def remove(self) -> int:
        """Remove what is nobody's; of how many sessions."""
        orphans = await self.found()
        for session in orphans:
            await asyncio.to_thread(self._blobs.remove_below, session_prefix(session))
        if orphans:
            log.info("removed blobs of %d sessions that are not there", len(orphans))
        return len(orphans)


def _some(names: Iterator[str]) -> list[str]:
    return list(islice(names, AT_ONCE))
