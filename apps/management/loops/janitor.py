"""Deletes ended sessions whose time to be kept is over: first their blobs, then the record.

In this order, because the record is what leads to the blobs: whoever dies in between has left
something that the next round finds.
"""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from apps.sessions.store import SessionStore
from blueengine.transport.blobs import BlobStore, session_prefix

log = logging.getLogger(__name__)

AT_ONCE: Final = 100
THREADS: Final = 16
"""Sessions whose blobs are removed side by side: a bucket takes its time to answer."""


class Janitor:
    """Tidies up in batches."""

    def __init__(self, store: SessionStore, blobs: BlobStore | None, *, every: float) -> None:
        """Look every so many seconds; without ``blobs`` only records are deleted."""
        self._store = store
        self._blobs = blobs
        self._every = every

    async def step(self) -> None:
        """Delete what is over, then sleep."""
        forgotten = 0
        while batch := await self.batch():
            forgotten += batch
            if batch < AT_ONCE:
                break
        if forgotten:
            log.info("forgot %d sessions", forgotten)
        await asyncio.sleep(self._every)

    async def batch(self) -> int:
        """Delete one batch; how many sessions were forgotten (those another replica took not)."""
        now = await self._store.now_us()
        expired = await self._store.expired(now_us=now, at_most=AT_ONCE)
        if self._blobs and expired:
            await asyncio.to_thread(self._remove_blobs, self._blobs, expired)
        gone = [await self._store.forget(session) for session in expired]
        return sum(gone)

    @staticmethod
    def _remove_blobs(blobs: BlobStore, sessions: list[str]) -> None:
        with ThreadPoolExecutor(THREADS) as threads:
            for _ in threads.map(blobs.remove_below, map(session_prefix, sessions)):
                pass  # what one of them raises is raised here
