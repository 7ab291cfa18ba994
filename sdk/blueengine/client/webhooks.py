"""Webhooks, from the side of who gets them: asking for one, and telling a real one from a forged.

Signatures are those of Standard Webhooks: HMAC-SHA256 over ``id.timestamp.body``.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from blueengine.client.answers import Answer
from blueengine.client.errors import SignatureError
from blueengine.kit.clock import SystemClock

TOLERANCE: Final = 300.0
"""Seconds that a webhook may be old, or in the future."""

_PREFIX: Final = "whsec_"
_VERSION: Final = "v1,"


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """Where to tell about a session, and when."""

    url: str
    types: Sequence[str] = ("*",)
    """Types of status messages: an engine's own (``finish``, ``error`` …), ``sessionStatusChanged``,
    ``subSessionStatusChanged``; ``*`` takes all."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent along with it, e.g. an Authorization; not shown."""
    result_channel: str = ""
    """Results of this channel are sent along."""

    def body(self) -> dict[str, Any]:
        """Return it as the platform takes it."""
        said: dict[str, Any] = {
            "callbackUrl": self.url,
            "statusTypes": list(self.types),
            "callbackHeader": dict(self.headers),
        }
        return said | ({"resultChan": self.result_channel} if self.result_channel else {})


class WebhookEvent(Answer, frozen=True, kw_only=True):
    """What a webhook says."""

    event_id: str = ""
    """The same when it comes again: each is delivered at least once."""
    session_id: str = ""
    type: str = ""
    status: str = ""
    engine_id: str | None = None
    message: str | None = None
    data: Any = None
    results: dict[str, list[Any]] = {}
    timestamp: Any = None


def verify_webhook(
    body: bytes | str,
    headers: Mapping[str, str],
    secret: str | Sequence[str],
    *,
    tolerance: float = TOLERANCE,
    now: float | None = None,
) -> WebhookEvent:
    """Return what a webhook says, once it is sure that the platform sent it.

    Args:
        body: The request's body exactly as it came: not parsed and written again.
        headers: The request's headers, whatever their case.
        secret: The secret (``whsec_…``), or all that are valid while secrets are changed.
        tolerance: Seconds that it may be old.
        now: Unix time; of this machine when left out.

    Raises:
        SignatureError: It was not signed with any of the secrets, or is too old.
    """
    raw = body.encode() if isinstance(body, str) else body
    given = {name.lower(): value for name, value in headers.items()}
    identity, stamp = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    signatures = given.get("webhook-signature", "")
    if not (identity and stamp and signatures):
        raise SignatureError("webhook-id, webhook-timestamp or webhook-signature is missing")
    if not stamp.isdecimal():
        raise SignatureError("webhook-timestamp is no number")
    age = (SystemClock().unix() if now is None else now) - int(stamp)
    if abs(age) > tolerance:
        raise SignatureError(f"the webhook is {abs(age):.0f} s {'old' if age > 0 else 'early'}")
    signed = f"{identity}.{stamp}.".encode() + raw
    secrets = [secret] if isinstance(secret, str) else list(secret)
    if not _is_signed(signed, signatures, [_key(each) for each in secrets]):
        raise SignatureError("the webhook is not signed with this secret")
    try:
        return msgspec.json.decode(raw, type=WebhookEvent)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise SignatureError(f"the webhook is signed and holds no event: {exc}") from exc


def _is_signed(signed: bytes, signatures: str, keys: Sequence[bytes]) -> bool:
    """Say whether one of the signatures is right; every pair is compared, in constant time."""
    found = False
    for key in keys:
        right = base64.b64encode(hmac.digest(key, signed, hashlib.sha256))
        for signature in signatures.split():
            if signature.startswith(_VERSION):
                given = signature.removeprefix(_VERSION).encode(errors="replace")
                found |= hmac.compare_digest(right, given)
    return found


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise SignatureError("the secret is not one of the platform: whsec_ and base64") from None
    if not key:
        raise SignatureError("the secret is empty")
    return key
