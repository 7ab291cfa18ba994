"""Keys and tenants: an administrator sees to those of its tenant, the operator to all."""

import asyncio
from collections.abc import Collection

from apps.restful.service.access import Who
from apps.restful.service.errors import ForbiddenError, InvalidError, UnknownError
from apps.restful.service.parts import Parts
from apps.sessions.store import TenantState
from blueengine.wire.access import NOBODY, OPERATOR, KeyRecord, Scope, is_tenant


async def create_key(
    parts: Parts,
    who: Who,
    *,
    tenant: str,
    scopes: Collection[Scope],
    name: str,
    lasts: float,
    rate: float,
    max_body: int,
) -> tuple[KeyRecord, str]:
    """Keep a new key; its record and the key itself. ``lasts`` is seconds, 0: without end.

    Raises:
        InvalidError: The tenant's name cannot be one.
        ForbiddenError: The tenant is another one's.
    """
    tenant = tenant or who.tenant or OPERATOR
    _check_tenant(tenant, "/tenant")
    if not who.owns(tenant):
        raise ForbiddenError.because("this key makes keys of its own tenant only", loc="/tenant")
    return await parts.keys.store.create(
        tenant=tenant,
        scopes=scopes,
        name=name,
        expires=int((parts.clock.unix() + lasts) * 1e6) if lasts else 0,
        rate=rate,
        max_body=max_body,
    )


async def list_keys(
    parts: Parts, who: Who, *, tenant: str, before: int, limit: int
) -> list[KeyRecord]:
    """Return keys newest first: those of one tenant, or all that ``who`` sees."""
    if tenant and not (is_tenant(tenant) and who.owns(tenant)):
        return []
    return await parts.keys.store.list(tenant=tenant or who.sees, before=before, limit=limit)


async def read_key(parts: Parts, who: Who, key_id: str) -> KeyRecord:
    """Return what is kept of a key.

    Raises:
        UnknownError: There is none.
    """
    record = await parts.keys.store.find(key_id) if _is_id(key_id) else None
    if record is None or not who.owns(record.tenant):
        raise _unknown(key_id)
    return record


async def revoke_key(parts: Parts, who: Who, key_id: str) -> KeyRecord:
    """End a key now; every gateway hears of it.

    Raises:
        UnknownError: There is none.
    """
    if not _is_id(key_id) or not await parts.keys.store.revoke(key_id, tenant=who.sees):
        raise _unknown(key_id)
    parts.keys.forget(key_id)
    return await read_key(parts, who, key_id)


async def list_tenants(parts: Parts) -> list[TenantState]:
    """Return every tenant that was given a key or a limit."""
    states = await asyncio.gather(*map(parts.store.tenant, await parts.store.tenants()))
    return [state for state in states if state is not None]


async def read_tenant(parts: Parts, who: Who, tenant: str) -> TenantState:
    """Return a tenant's limits and load.

    Raises:
        UnknownError: There is none, or it is another one's.
    """
    mine = is_tenant(tenant) and who.owns(tenant)
    state = await parts.store.tenant(tenant) if mine else None
    if state is None:
        raise UnknownError.because(f"there is no tenant {tenant[:64]!r}")
    return state


async def limit_tenant(
    parts: Parts, who: Who, tenant: str, *, max_running: int, max_pending: int
) -> TenantState:
    """Say how many sessions of a tenant may run and wait (0: no limit); its state now.

    Raises:
        InvalidError: The name cannot be a tenant's.
    """
    _check_tenant(tenant, "/path/tenant")
    await parts.store.limit_tenant(tenant, max_running=max_running, max_pending=max_pending)
    return await read_tenant(parts, who, tenant)


def _check_tenant(tenant: str, loc: str) -> None:
    if not is_tenant(tenant):
        msg = (
            "a tenant is 1 to 63 letters, digits, _ and -, beginning with a letter or digit; "
            f"{NOBODY!r} is taken"
        )
        raise InvalidError.because(msg, loc=loc, kind="bad-tenant")


def _is_id(key_id: str) -> bool:
    return len(key_id) <= 64 and key_id.isascii() and key_id.isalnum()


def _unknown(key_id: str) -> UnknownError:
    return UnknownError.because(f"there is no key {key_id[:64]!r}")
