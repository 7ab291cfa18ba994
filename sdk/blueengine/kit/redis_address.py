"""Where Redis is. Apart from the link, so that a process without Redis need not load that."""

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from blueengine.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class RedisAddress:
    """Where Redis is and how to log in. The password never shows in a repr or a log."""

    host: str = "127.0.0.1"
    port: int = 6379
    db: int = 0
    username: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    unix_path: str = ""

    @classmethod
    def from_url(cls, url: str) -> "RedisAddress":
        """Return the address in ``redis://``, ``rediss://`` or ``unix://`` form.

        Raises:
            SettingsError: The URL is none of these.
        """
        try:
            parts = urlsplit(url)
        except ValueError:  # e.g. half an IPv6 address
            raise SettingsError("the Redis URL must look like redis://host:6379/0") from None
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        if parts.scheme == "unix" and parts.path:
            return cls(unix_path=parts.path, username=user, password=password)
        if parts.scheme not in {"redis", "rediss"} or not parts.hostname:
            raise SettingsError("the Redis URL must look like redis://host:6379/0")
        try:
            port, db = parts.port or 6379, int(parts.path.strip("/") or 0)
        except ValueError:
            raise SettingsError("the Redis URL must look like redis://host:6379/0") from None
        return cls(
            host=parts.hostname,
            port=port,
            db=db,
            username=user,
            password=password,
            tls=parts.scheme == "rediss",
        )

    def __str__(self) -> str:
        """Return the address without its secrets."""
        return self.unix_path or f"{self.host}:{self.port}/{self.db}"
