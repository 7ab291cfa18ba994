"""API keys in Redis, as the gateway and the command line keep and find them."""

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, Final

from blueengine.ids import Entropy
from blueengine.kit.redis_link import Link
from blueengine.wire import names
from blueengine.wire.access import KeyRecord, Scope, digest, from_fields, new_key

SCRIPTS: Final = ("keep_key", "revoke_key")
"""The scripts a link must know to be used here."""

USED_STEP_US: Final = 60_000_000
"""How exactly the last use of a key is known."""


def view(record: KeyRecord, now: float) -> dict[str, Any]:
    """Return a key as people get it; ``now`` is seconds since the epoch."""
    return {
        "id": record.id,
        "tenant": record.tenant,
        "scopes": sorted(record.scopes),
        "name": record.name,
        "state": record.state(now),
        "createdAt": _when(record.created),
        "expiresAt": _when(record.expires),
        "revokedAt": _when(record.revoked),
        "lastUsedAt": _when(record.used),
        "ratePerSecond": record.rate,
        "maxBody": record.max_body,
    }


def _when(us: int) -> str | None:
    if not us:
        return None
    return datetime.fromtimestamp(us / 1e6, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


class KeyStore:
    """The keys. Every method may be repeated without harm."""

    def __init__(self, link: Link, entropy: Entropy) -> None:
        """Work over ``link``, which must know ``SCRIPTS``."""
        self._link = link
        self._entropy = entropy

    async def create(
        self,
        *,
        tenant: str,
        scopes: Collection[Scope],
        name: str = "",
        expires: int = 0,
        rate: float = 0.0,
        max_body: int = 0,
    ) -> tuple[KeyRecord, str]:
        """Keep a new key; its record, and the key itself, which cannot be had a second time."""
        while True:
            key_id, key = new_key(self._entropy)
            record = KeyRecord(
                id=key_id,
                tenant=tenant,
                scopes=frozenset(scopes),
                name=name,
                digest=digest(key),
                expires=expires,
                rate=rate,
                max_body=max_body,
            )
            words = [word for pair in record.fields().items() for word in pair]
            if await self._link.run("keep_key", key_id, tenant, *words) == b"ok":
                return await self.find(key_id) or record, key

    async def revoke(self, key_id: str, *, tenant: str = "") -> bool:
        """End a key now, everywhere; False when there is no such key (of this tenant)."""
        done: bytes = await self._link.run("revoke_key", key_id, tenant)
        return done == b"ok"

    async def find(self, key_id: str) -> KeyRecord | None:
        """Return a key's record."""
        flat = await self._link.send("HGETALL", names.key(key_id))
        if not flat:
            return None
        pairs = zip(flat[::2], flat[1::2], strict=True)
        return from_fields(key_id, {name.decode(): value.decode() for name, value in pairs})

    async def list(self, *, tenant: str = "", before: int = 0, limit: int = 100) -> list[KeyRecord]:
        """Return keys newest first, created before ``before`` (0: from the newest)."""
        raw = await self._link.send(
            "ZREVRANGEBYSCORE",
            names.tenant_keys(tenant) if tenant else names.KEYS,
            f"({before}" if before else "+inf",
            "-inf",
            "LIMIT",
            0,
            limit,
        )
        found = await asyncio.gather(*[self.find(key_id.decode()) for key_id in raw])
        return [record for record in found if record is not None]

    def note_use(self, record: KeyRecord, now: float) -> None:
        """Keep the time of a use, in seconds; nobody waits for it, and losing it does no harm."""
        now_us = int(now * 1e6)
        if now_us - record.used >= USED_STEP_US:
            noted = self._link.send("HSET", names.key(record.id), "used", now_us)
            noted.add_done_callback(lambda done: done.cancelled() or done.exception())
