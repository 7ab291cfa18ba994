"""What management can be told by its environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from apps.sessions import vault
from blueengine.errors import SettingsError
from blueengine.settings import secrets
from blueengine.settings.system import SystemSettings, convert


@dataclass(frozen=True, kw_only=True)
class ManagementSettings:
    """Settings of one replica. Each is read from the environment variable in capitals; seconds."""

    system: SystemSettings
    secret_key: str = field(default="", repr=False)
    """What opens secrets of webhooks in Redis: ``BLUEENGINE_SECRET_KEY``, or the mounted file of that
    name; the same as the gateways'."""
    wake_block_seconds: float = 5.0
    """How long one blocking read of the wake stream lasts; no wake-up waits for it."""
    wake_claim_seconds: float = 5.0
    """A wake-up that a replica took and did not answer for so long is taken over."""
    sweep_seconds: float = 5.0
    """How often engines are looked over for wake-ups that got lost."""
    tick_seconds: float = 0.25
    """How often deadlines and timers are looked at, at least."""
    inboxes_seconds: float = 60.0
    """How often Kafka inboxes of instances that are gone are looked for."""
    janitor_seconds: float = 10.0
    """How often sessions whose time is over are deleted."""
    webhook_timeout_seconds: float = 15.0
    """How long the receiver of a webhook may take to answer."""

    orphan_seconds: float = 600.0
    """How often blobs that are of no session are looked for."""
    orphan_age_seconds: float = 3600.0
    """Those that are younger are left alone: their session may be about to be submitted."""

    upload_age_seconds: float = 86_400.0
    """An upload in several requests that nothing was added to for so long is removed; looked for as
    often as blobs of no session."""

    @classmethod
    def load(cls, environment: Mapping[str, str]) -> Self:
        """Return the settings in force.

        Raises:
            SettingsError: A value is wrong.
        """
        system = SystemSettings.load(environment, config_variable="BLUEEDGE_CFG")
        values: dict[str, Any] = {}
        for one in fields(cls):
            name = one.name.upper()
            if one.name in {"system", "secret_key"} or name not in environment:
                continue
            seconds = convert(environment[name], float, f"the environment variable {name}")
            if not isinstance(seconds, float) or seconds <= 0:
                raise SettingsError(f"the environment variable {name} must be greater than 0")
            values[one.name] = seconds
        secret_key = secrets.find(vault.VARIABLE, environment, default="")
        return cls(system=system, secret_key=secret_key, **values)
