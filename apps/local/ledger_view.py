"""What the autoscaler needs of the ledger, over one link."""

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Final

import msgspec

from apps.local.autoscaler import Attendance, Load
from apps.local.catalogue import LocalEngine
from apps.sessions.store import SCRIPTS as STORE_SCRIPTS
from apps.sessions.store import SessionStore
from blueengine.errors import StoreReplyError
from blueengine.kit.redis_link import Link
from blueengine.ledger.instance import InstanceLedger
from blueengine.wire import names

SCRIPTS: Final = (*STORE_SCRIPTS, "leave")
"""The scripts the link must know."""

TROUBLE: Final = "trouble"
"""Field of an engine's record: why it cannot be started just now."""


class LedgerView:
    """The autoscaler's port on a real ledger."""

    def __init__(self, link: Link) -> None:
        """Work over ``link``, which must know ``SCRIPTS``."""
        self._link = link
        self._store = SessionStore(link)

    async def announce(self, engines: Iterable[LocalEngine]) -> None:
        """Make engines known that never ran, so that they can be listed and checked against."""
        for engine in engines:
            spec = engine.settings.spec
            new = await self._link.send(
                "HSETNX", names.engine(engine.id), "spec", msgspec.json.encode(spec)
            )
            replies = [
                self._link.send("HSETNX", names.engine(engine.id), "concurrency", spec.concurrency),
                self._link.send("HDEL", names.engine(engine.id), TROUBLE),
                self._link.send("SADD", names.ENGINES, engine.id),
            ]
            if new:
                replies.append(self._link.send("INCR", names.SPECS))
            await asyncio.gather(*replies)

    async def load(self, engine: str) -> Load:
        """Return the engine's load now: two round trips."""
        asked = (
            self._link.send("SCARD", names.demand(engine)),
            self._link.send("SMEMBERS", names.instances(engine)),
            self._link.send("TIME"),
        )
        demand, ids, time = await asyncio.gather(*asked)
        now_ms = int(time[0]) * 1000 + int(time[1]) // 1000
        found = await asyncio.gather(*[self._attendance(id_.decode(), now_ms) for id_ in ids])
        return Load(demand=demand, attendances=tuple(seen for seen in found if seen))

    async def drain_if_idle(self, instance: str) -> bool:
        """Keep sessions off an instance that holds none; False when it holds one."""
        return await self._store.drain_if_idle(instance)

    async def gone(self, instance: str, reason: str) -> None:
        """Say that an instance's process has ended; nothing happens if it left by itself."""
        await InstanceLedger(self._link, instance, heartbeat_timeout=0).leave(reason)

    async def trouble(self, engine: str, reason: str) -> None:
        """Keep why the engine cannot be started; empty: it can."""
        if reason:
            await self._link.send("HSET", names.engine(engine), TROUBLE, reason)
        else:
            await self._link.send("HDEL", names.engine(engine), TROUBLE)

    async def _attendance(self, instance: str, now_ms: int) -> Attendance | None:
        record = self._link.send("HMGET", names.instance(instance), "state", "since")
        held = self._link.send("SCARD", names.held(instance))
        stream = self._link.send("XINFO", "STREAM", names.commands(instance))
        active_ms = 0
        with contextlib.suppress(StoreReplyError):  # there is no stream before the first command
            flat = await stream
            facts = dict(zip(flat[::2], flat[1::2], strict=True))
            active_ms = int(facts[b"last-generated-id"].partition(b"-")[0])
        (state, since), used = await record, await held
        if state is None:
            return None
        active_ms = max(active_ms, int(since) // 1000)
        return Attendance(
            id=instance,
            draining=state == b"draining",
            held=used,
            idle_seconds=max(0, now_ms - active_ms) / 1000,
        )
