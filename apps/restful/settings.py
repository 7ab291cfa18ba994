"""Settings of the gateway.

Each field below is read from the YAML file that ``BLUEEDGE_CFG`` names, under ``RESTFUL:``, and
from an environment variable ``RESTFUL_<NAME>``, which wins. What all processes share (Redis, the
blob folder) is in ``blueengine.settings.system``.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Self

from apps.sessions import vault
from apps.sessions.store import PACK, SPREAD
from blueengine.errors import SettingsError
from blueengine.settings import secrets
from blueengine.settings.system import SystemSettings, convert, read_yaml

CONFIG_VARIABLE: Final = "BLUEEDGE_CFG"
AUTH_VARIABLE: Final = "BLUEENGINE_AUTH"
_MIB: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class RestfulSettings:
    """How the gateway listens and what it accepts. Times are seconds, sizes bytes."""

    system: SystemSettings
    host: str = "127.0.0.1"
    """Beyond a loopback address every request needs an API key."""
    auth: str = "auto"
    """``on`` | ``off`` | ``auto`` (on beyond loopback); ``BLUEENGINE_AUTH`` sets it, too."""
    serve_anyone_without_keys: bool = False
    """Listen beyond loopback with ``auth`` off: who reaches the port may do everything."""
    rate: float = 0.0
    """Requests per second of a key that has no rate of its own, at each gateway; 0: no limit."""
    secret_key: str = field(default="", repr=False)
    """What seals secrets of webhooks in Redis: ``BLUEENGINE_SECRET_KEY``, or the mounted file of that
    name. Management must have the same."""
    audit_log: str = ""
    """File for the audit log; empty: standard error. Written only where keys are needed."""
    port: int = 8080
    """0: any free port."""
    blob_dir: str = ""
    """The folder of large payloads and uploads, where the system settings name none."""
    max_body: int = 16 * _MIB
    """Of a session request."""
    max_upload: int = 16 * 1024 * _MIB
    max_pending: int = 1_000_000
    """Sessions that wait, in all; one more that would have to wait is answered 429. 0: no limit."""
    max_pending_engine: int = 0
    """The same, of those that need one engine."""
    placement_policy: str = SPREAD
    """Which instance a session is given that says nothing: ``spread``: the one with the most free slots;
    ``pack``: the one with the fewest, so that others come to be idle and can be scaled in."""
    placement_near: str = ""
    """``host`` | ``zone``: rather one where an engine of the session is already; empty: any."""
    max_wait: float = 60.0
    """Longest time a request is held by ``waitTimeSecond``; a longer one is cut to this."""
    fetch_timeout: float = 60.0
    """How long start data by URL may take to arrive."""
    redis_patience: float = 5.0
    """How long a request waits for Redis to come back before it is answered 503."""
    start_timeout: float = 30.0
    """How long engines have to become ready for a session."""
    stop_grace: float = 10.0
    """How long engines have to stop before they are taken as stopped."""
    ttl: float = 86_400.0
    """How long an ended session is kept unless it says so itself."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.auth not in {"on", "off", "auto"}:
            raise SettingsError(f"RESTFUL_AUTH is {self.auth!r}; it must be on, off or auto")
        if (
            self.auth == "off"
            and not _is_loopback(self.host)
            and not self.serve_anyone_without_keys
        ):
            raise SettingsError(
                f"RESTFUL_HOST {self.host!r} is not a loopback address and RESTFUL_AUTH is off: "
                "anybody who reaches the port could run engines and read everything. Turn keys on "
                "(RESTFUL_AUTH=on), or say RESTFUL_SERVE_ANYONE_WITHOUT_KEYS=true"
            )
        if self.placement_policy not in {SPREAD, PACK}:
            raise SettingsError(
                f"RESTFUL_PLACEMENT_POLICY is {self.placement_policy!r}; it must be spread or pack"
            )
        if self.placement_near not in {"", "host", "zone"}:
            raise SettingsError(
                f"RESTFUL_PLACEMENT_NEAR is {self.placement_near!r}; it must be host, zone or empty"
            )
        if not 0 <= self.port <= 65535:
            raise SettingsError("RESTFUL_PORT must be between 0 and 65535")
        for name in (
            "max_body",
            "max_upload",
            "fetch_timeout",
            "redis_patience",
            "start_timeout",
            "stop_grace",
            "ttl",
        ):
            if getattr(self, name) <= 0:
                raise SettingsError(f"RESTFUL_{name.upper()} must be greater than 0")
        for name in ("max_wait", "rate", "max_pending", "max_pending_engine"):
            if getattr(self, name) < 0:
                raise SettingsError(f"RESTFUL_{name.upper()} must not be less than 0")

    @property
    def keys_needed(self) -> bool:
        """Whether a request needs an API key."""
        return self.auth == "on" or (self.auth == "auto" and not _is_loopback(self.host))

    @property
    def blobs(self) -> Path:
        """The blob folder."""
        return Path(self.blob_dir or self.system.blob_dir or ".blueengine/blobs")

    @classmethod
    def load(cls, environment: Mapping[str, str]) -> Self:
        """Return the settings in force.

        Raises:
            SettingsError: A file cannot be read, or a value is wrong.
        """
        system = SystemSettings.load(environment, config_variable=CONFIG_VARIABLE)
        file = environment.get(CONFIG_VARIABLE, "")
        section: Any = (read_yaml(Path(file)).get("RESTFUL") or {}) if file else {}
        if not isinstance(section, dict):
            raise SettingsError(f"{file}: RESTFUL must hold names and values")
        known = [one for one in fields(cls) if one.name not in {"system", "secret_key"}]
        unknown = set(section) - {one.name.upper() for one in known}
        if unknown:
            raise SettingsError(f"{file}: unknown RESTFUL.{min(map(str, unknown))}")
        values: dict[str, Any] = {}
        for one in known:
            name = one.name.upper()
            source, raw = f"{file}: RESTFUL.{name}", section.get(name)
            if f"RESTFUL_{name}" in environment:
                source = f"the environment variable RESTFUL_{name}"
                raw = environment[f"RESTFUL_{name}"]
            if raw is not None:
                values[one.name] = convert(raw, type(one.default), source)
        if "auth" not in values and AUTH_VARIABLE in environment:
            values["auth"] = environment[AUTH_VARIABLE]
        # YAML takes a bare `on` for a truth value
        if values.get("auth") in {"True", "False"}:
            values["auth"] = "on" if values["auth"] == "True" else "off"
        values["secret_key"] = secrets.find(vault.VARIABLE, environment, default="")
        return replace(cls(system=system), **values)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
