"""Watches deadlines: heartbeats that stopped, engines not ready in time, sessions over their limit."""

import asyncio
import logging
from typing import Final

from apps.sessions.store import SessionStore

log = logging.getLogger(__name__)

AT_ONCE: Final = 100
SHORTEST_SLEEP: Final = 0.01


class Reaper:
    """Acts on what is overdue. Any number of reapers may do so at the same time."""

    def __init__(
        self, store: SessionStore, *, heartbeat_timeout: float, tick_seconds: float
    ) -> None:
        """Look at least every ``tick_seconds``: a timer set meanwhile may be the earliest."""
        self._store = store
        self._timeout = heartbeat_timeout
        # the ledger takes a longer gap for our own absence and then gives everybody more time
        self._tick = min(tick_seconds, heartbeat_timeout / 4)

    async def step(self) -> None:
        """Act on everything that is due now, then sleep until the next thing is."""
        await asyncio.sleep(await self.act())

    async def act(self) -> float:
        """Act on what is due now; how long to sleep after it, in seconds."""
        gone = await self._store.reap(heartbeat_timeout=self._timeout, at_most=AT_ONCE)
        for instance in gone:
            log.warning("gave up %s: its heartbeat stopped", instance, extra={"instance": instance})
        acted, next_due = await self._store.due(at_most=AT_ONCE)
        if acted:
            log.info("acted on %d timers", acted)
        if len(gone) >= AT_ONCE or acted >= AT_ONCE:
            return 0.0
        return self._tick if next_due is None else min(self._tick, max(next_due, SHORTEST_SLEEP))
