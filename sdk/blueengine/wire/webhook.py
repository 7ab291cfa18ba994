"""Webhooks on the line: what is kept of one, and of an event that waits for it.

The scripts write events (``ledger/lua/lib/outbox.lua``), so they are JSON with times as text.
"""

from typing import Final, Literal

import msgspec

from blueengine.wire.access import NOBODY
from blueengine.wire.report import Fault

SESSION_CHANGED: Final = "sessionStatusChanged"
PART_CHANGED: Final = "subSessionStatusChanged"
ALL: Final = "*"
DEFAULT_TENANT: Final = NOBODY


class Webhook(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where to tell of a session, and of what. It holds secrets: it is never shown as it is."""

    url: str
    receiver: str
    """``host:port``: what is bounded together."""
    types: tuple[str, ...]
    headers: dict[str, str] = {}
    """Sent along; often a password."""
    results: str = ""
    """Channel whose results so far go with each event."""
    tenant: str = DEFAULT_TENANT
    version: Literal[1] = 1


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing a webhook is to be told."""

    id: str
    session: str
    attempt: int
    type: str
    at: str
    """Microseconds since the epoch."""
    status: str = ""
    """Of the part for ``subSessionStatusChanged``, else of the session."""
    node: str = ""
    engine: str = ""
    body: str = ""
    """The engine's message (JSON); empty when the platform speaks."""
    large: int = 0
    """Bytes of a message that was too large to be kept."""
    why: str = ""
    """A ``Fault`` (JSON) when something failed or was canceled."""
    results: int = 0
    """How many results there were."""

    @property
    def fault(self) -> Fault | None:
        """Why it failed, if it did."""
        return msgspec.json.decode(self.why, type=Fault) if self.why else None
