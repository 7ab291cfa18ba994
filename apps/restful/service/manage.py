"""Make, list and revoke keys: an administrator those of its tenant, the operator all."""

from collections.abc import Collection

from apps.restful.service.access import Who
from apps.restful.service.errors import ForbiddenError, InvalidError, UnknownError
from apps.restful.service.parts import Parts
from blueengine.wire.access import OPERATOR, KeyRecord, Scope, is_tenant


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
    if not is_tenant(tenant):
        msg = "a tenant is 1 to 63 letters, digits, _ and -, beginning with a letter or digit"
        raise InvalidError.because(msg, loc="/tenant", kind="bad-tenant")
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


def _is_id(key_id: str) -> bool:
    return len(key_id) <= 64 and key_id.isascii() and key_id.isalnum()


def _unknown(key_id: str) -> UnknownError:
    return UnknownError.because(f"there is no key {key_id[:64]!r}")
