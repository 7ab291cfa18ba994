"""API keys: what one looks like, and what is kept of it.

A key is ``be_<id>_<secret>``. The id is public: it names the key in lists and in the audit log. The
secret is 256 random bits; of it only a SHA-256 digest is kept, which is enough for a value that
nobody can guess (slow hashes are for passwords). The digest is of the whole key, so a secret
belongs to its id.
"""

import hashlib
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from blueengine.ids import Entropy


class Scope(StrEnum):
    """What a key may do."""

    SUBMIT = "submit"
    """Submit, feed and stop sessions; upload files."""
    READ = "read"
    """Read sessions, results, files, engines and counts."""
    ADMIN = "admin"
    """All of it, and the keys of its tenant."""


OPERATOR: Final = "operator"
"""The tenant of those who run the platform; with ``admin`` it sees every tenant."""

NOBODY: Final = "default"
"""Stands for the tenant of what is done without a key, so it can be nobody's name."""

_ID_SIZE: Final = 12
_TOKEN: Final = re.compile(r"be_([0-9A-Za-z]{12})_[0-9A-Za-z_-]{43}")
_TENANT: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,62}")
_LETTERS: Final = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_URL_SAFE: Final = (_LETTERS + b"-_") * 4


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A key as kept. Times are microseconds since the epoch; 0 means never."""

    id: str
    tenant: str
    scopes: frozenset[Scope]
    name: str = ""
    """For people."""
    digest: str = ""
    """SHA-256 of the key, hexadecimal."""
    created: int = 0
    expires: int = 0
    revoked: int = 0
    used: int = 0
    """Last use, to the minute."""
    rate: float = 0.0
    """Requests per second at one gateway; 0: as the gateway's settings say."""
    max_body: int = 0
    """Bytes of a session request or an upload at most; 0: as the gateway's settings say."""

    def state(self, now: float) -> str:
        """Return ``active``, ``expired`` or ``revoked`` at a time in seconds."""
        if self.revoked:
            return "revoked"
        return "expired" if self.expires and self.expires <= now * 1e6 else "active"

    def fields(self) -> dict[str, str]:
        """Return the fields of its hash in Redis; the id is the key's name."""
        found = {name: str(getattr(self, name)) for name in self.__struct_fields__ if name != "id"}
        return {**found, "scopes": ",".join(sorted(self.scopes))}


def from_fields(key_id: str, fields: Mapping[str, str]) -> KeyRecord:
    """Return the record in a hash; fields and scopes of a later version are not looked at."""
    known = {name: fields[name] for name in KeyRecord.__struct_fields__ if name in fields}
    scopes = [Scope(word) for word in known.get("scopes", "").split(",") if word in set(Scope)]
    return msgspec.convert({**known, "id": key_id, "scopes": scopes}, KeyRecord, strict=False)


def new_key(entropy: Entropy) -> tuple[str, str]:
    """Return the id and the key; the key is not kept anywhere."""
    letters = b""
    while len(letters) < _ID_SIZE:  # bytes that are no letter are left out, so all are as likely
        letters += bytes(byte for byte in entropy(4 * _ID_SIZE) if byte in _LETTERS)
    key_id = letters[:_ID_SIZE].decode()
    # 43 characters of 6 random bits: 258 bits
    secret = entropy(43).translate(_URL_SAFE).decode()
    return key_id, f"be_{key_id}_{secret}"


def id_of(key: str) -> str | None:
    """Return the id in a key, or None when it cannot be one."""
    found = _TOKEN.fullmatch(key)
    return found[1] if found else None


def digest(key: str) -> str:
    """Return what is kept of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def is_tenant(name: str) -> bool:
    """Say whether this may be a tenant's name."""
    return name != NOBODY and _TENANT.fullmatch(name) is not None
