"""Who sends a request: API keys, and which session is whose.

A key costs Redis one look when a gateway first sees it, and one every ``FRESH_SECONDS`` of use;
between them the record in memory decides. A revoked key is dropped when Redis says so (pub/sub),
and after ``FRESH_SECONDS`` should that word be lost. A session's tenant never changes, so it is
remembered without end, within a bound.
"""

import hmac
from dataclasses import dataclass
from typing import Final

from apps.restful.service.errors import ForbiddenError, TooManyError, UnauthorizedError
from apps.restful.service.rate import Bucket
from apps.sessions.store import SessionStore
from blueengine.kit.clock import Clock
from blueengine.ledger.keys import KeyStore
from blueengine.wire.access import OPERATOR, KeyRecord, Scope, digest, id_of

FRESH_SECONDS: Final = 10.0
"""How long a key's record in memory is trusted."""
MOST_KEYS: Final = 10_000
MOST_SESSIONS: Final = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """Who sends a request, and what it may do."""

    key: str
    """Id of its key; empty at a gateway without keys."""
    tenant: str
    """Whose sessions and files it makes and sees; empty: nobody's in particular."""
    scopes: frozenset[Scope]
    sees_all: bool
    """Whether it sees the sessions and files of every tenant."""
    max_body: int = 0
    """Bytes of a request body at most; 0: as the settings say."""

    @property
    def sees(self) -> str:
        """The one tenant it sees; empty: all of them."""
        return "" if self.sees_all else self.tenant

    def may(self, scope: Scope) -> bool:
        """Say whether its scopes hold this one; ``admin`` holds all."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def owns(self, tenant: str) -> bool:
        """Say whether it sees what belongs to a tenant."""
        return self.sees_all or tenant == self.tenant

    def limit(self, most: int) -> int:
        """Return the smaller of a limit of the gateway and its own."""
        return min(most, self.max_body) if self.max_body else most


ANYONE: Final = Who(key="", tenant="", scopes=frozenset(Scope), sees_all=True)
"""Whoever sends a request to a gateway without keys: it may do all."""


class _Known:
    """A key that was looked up."""

    __slots__ = ("bucket", "record", "until", "who")

    def __init__(self, record: KeyRecord, bucket: Bucket | None) -> None:
        self.record = record
        self.bucket = bucket
        self.until = 0.0
        self.who = Who(
            key=record.id,
            tenant=record.tenant,
            scopes=record.scopes,
            sees_all=record.tenant == OPERATOR and Scope.ADMIN in record.scopes,
            max_body=record.max_body,
        )


class Keys:
    """The keys this gateway has seen. Callers: any task of one loop."""

    def __init__(self, store: KeyStore, clock: Clock, *, rate: float = 0.0) -> None:
        """Know none; ``rate`` is for keys that say nothing (requests per second, 0: no limit)."""
        self.store = store
        self._clock = clock
        self._rate = rate
        self._known: dict[str, _Known] = {}
        self._changes = 0

    async def who(self, key: str) -> Who:
        """Return who has this key, and count a request of it.

        Raises:
            UnauthorizedError: It is no valid key.
            TooManyError: It sends more than its rate.
            StoreAwayError: The key cannot be looked up.
        """
        key_id = id_of(key)
        if key_id is None:
            raise _unauthorized("this is no API key; one looks like be_<id>_<secret>")
        now = self._clock.monotonic()
        known = self._known.get(key_id)
        if known is None or known.until < now:
            known = await self._look_up(key_id, known, now)
        if known is None or not hmac.compare_digest(known.record.digest, digest(key)):
            raise _unauthorized("this API key is not known here")
        self._check_state(known.record)
        if known.bucket is not None and (wait := known.bucket.take(now)) > 0:
            raise TooManyError.because(
                f"the API key {key_id} sends more than {known.bucket.rate:g} requests per second",
                kind="rate-limit",
                retry_after=wait,
            )
        return known.who

    async def check(self, who: Who) -> None:
        """See that a key is still valid, for an answer that lasts; it counts as no request.

        Raises:
            UnauthorizedError: It is not.
            StoreAwayError: The key cannot be looked up.
        """
        if not who.key:
            return
        now = self._clock.monotonic()
        known = self._known.get(who.key)
        if known is None or known.until < now:
            known = await self._look_up(who.key, known, now)
        if known is None:
            raise _unauthorized("this API key is not known here")
        self._check_state(known.record)

    def _check_state(self, record: KeyRecord) -> None:
        if record.revoked or record.expires:
            state = record.state(self._clock.unix())
            if state != "active":
                raise _unauthorized(f"the API key {record.id} is {state}; ask for a new one")

    async def _look_up(self, key_id: str, known: _Known | None, now: float) -> _Known | None:
        if known is not None:
            known.until = now + FRESH_SECONDS  # whoever comes meanwhile does not look, too
        try:
            record = await self._read(key_id)
        except BaseException:
            self._known.pop(key_id, None)
            raise
        if record is None:
            self._known.pop(key_id, None)
            return None
        rate = record.rate or self._rate
        bucket = known.bucket if known is not None else None
        if bucket is None or bucket.rate != rate:
            bucket = Bucket(rate, now) if rate else None
        found = _Known(record, bucket)
        found.until = now + FRESH_SECONDS
        self._known.pop(key_id, None)
        if len(self._known) >= MOST_KEYS:
            del self._known[next(iter(self._known))]
        self._known[key_id] = found
        self.store.note_use(record, self._clock.unix())
        return found

    async def _read(self, key_id: str) -> KeyRecord | None:
        while True:
            changes = self._changes
            record = await self.store.find(key_id)
            if changes == self._changes:  # else what changed meanwhile may not be in the record
                return record

    def forget(self, key_id: str) -> None:
        """Look a key up anew at its next use."""
        self._changes += 1
        self._known.pop(key_id, None)

    def forget_all(self) -> None:
        """Look every key up anew: word of a change may have been missed."""
        self._changes += 1
        self._known.clear()


class Owners:
    """Which session is whose. Callers: any task of one loop."""

    def __init__(self, store: SessionStore) -> None:
        """Know none."""
        self._store = store
        self._known: dict[str, str] = {}

    def add(self, session: str, tenant: str) -> None:
        """Remember a session's tenant."""
        if len(self._known) >= MOST_SESSIONS:
            del self._known[next(iter(self._known))]
        self._known[session] = tenant

    async def owns(self, who: Who, session: str) -> bool:
        """Say whether a session is one that ``who`` sees; False when there is none."""
        if who.sees_all:
            return True
        tenant = self._known.get(session)
        if tenant is None:
            tenant = await self._store.tenant_of(session)
            if tenant is None:
                return False
            self.add(session, tenant)
        return tenant == who.tenant


def check_scope(who: Who, scope: Scope) -> None:
    """Refuse what a key has no scope for.

    Raises:
        ForbiddenError: It has not.
    """
    if not who.may(scope):
        has = ", ".join(sorted(who.scopes)) or "none"
        raise ForbiddenError.because(f"this needs a key with the scope {scope}; yours has: {has}")


def _unauthorized(msg: str) -> UnauthorizedError:
    return UnauthorizedError.because(msg)
