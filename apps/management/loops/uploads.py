"""Removes uploads that were begun and never gone on with.

An upload in several requests keeps what has come, so that its client may come back; one that never
does would stay for good. So does what a gateway was writing when it was killed.
"""

import asyncio
import logging

from blueengine.kit.clock import Clock
from blueengine.transport.blobs import BlobStore

log = logging.getLogger(__name__)


class Uploads:
    """Looks through the uploads in the blob store."""

    def __init__(self, blobs: BlobStore, clock: Clock, *, older: float) -> None:
        """Leave alone what something was added to in the last ``older`` seconds."""
        self._blobs = blobs
        self._clock = clock
        self._older = older

    async def found(self) -> list[str]:
        """Return the ids of uploads that were abandoned."""
        before = self._clock.unix() - self._older
        return await asyncio.to_thread(lambda: list(self._blobs.unfinished(before=before)))

    async def remove(self) -> int:
        """Remove them; how many."""
        before = self._clock.unix() - self._older
        count = 0
        for file_id in await self.found():
            count += await asyncio.to_thread(self._blobs.drop_unfinished, file_id, before=before)
        if count:
            log.info("removed %d uploads that were not gone on with", count)
        return count
