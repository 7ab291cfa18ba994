"""Where Redis is. Apart from the link, so that a process without Redis need not load that."""

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from blueengine.errors import SettingsError

_FORMS: Final = (
    "the Redis URL must look like redis://host:6379/0, rediss://host:6379/0 (TLS),"
    " unix:///path or redis+sentinel://host:26379,host:26379/primary/0"
)
_SENTINEL_PORT: Final = 26379


@dataclass(frozen=True, kw_only=True)
class RedisAddress:
    """Where Redis is and how to log in. Passwords never show in a repr or a log."""

    host: str = "127.0.0.1"
    port: int = 6379
    db: int = 0
    username: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    tls_ca: str = ""
    """File with the certificates to trust, in place of the system's."""
    tls_cert: str = ""
    """File with a certificate of our own, where the server asks for one."""
    tls_key: str = ""
    """File with its key, unless that is in the same file."""
    unix_path: str = ""
    sentinels: tuple[tuple[str, int], ...] = ()
    """(host, port) of each Sentinel; they say where the primary is, and host and port do not count."""
    primary: str = ""
    """The name by which the Sentinels know it."""
    sentinel_password: str = field(default="", repr=False)

    @classmethod
    def from_url(cls, url: str) -> "RedisAddress":
        """Return the address in ``redis://``, ``rediss://``, ``unix://`` or ``redis+sentinel://`` form.

        Raises:
            SettingsError: The URL is none of these.
        """
        try:
            parts = urlsplit(url)
        except ValueError:  # e.g. half an IPv6 address
            raise SettingsError(_FORMS) from None
        scheme, _, through = parts.scheme.partition("+")
        if through == "sentinel":
            return _through_sentinels(parts, tls=scheme == "rediss")
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        if parts.scheme == "unix" and parts.path:
            return cls(unix_path=parts.path, username=user, password=password)
        if parts.scheme not in {"redis", "rediss"} or not parts.hostname:
            raise SettingsError(_FORMS)
        try:
            port, db = parts.port or 6379, int(parts.path.strip("/") or 0)
        except ValueError:
            raise SettingsError(_FORMS) from None
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
        if self.sentinels:
            hosts = ",".join(f"{host}:{port}" for host, port in self.sentinels)
            return f"{self.primary}/{self.db} by the Sentinels {hosts}"
        return self.unix_path or f"{self.host}:{self.port}/{self.db}"


def sentinels_from_text(text: str) -> tuple[tuple[str, int], ...]:
    """Return the Sentinels in ``host:port,host:port``; the port may be left out.

    Raises:
        SettingsError: There is none in it, or one is malformed.
    """
    found = []
    for word in text.split(","):
        try:
            parts = urlsplit(f"//{word.strip()}")
            host, port = parts.hostname, parts.port or _SENTINEL_PORT
        except ValueError:
            host, port = None, 0
        if not host:
            raise SettingsError(f"{text!r} must name Sentinels like host:26379,host:26379")
        found.append((host, port))
    return tuple(found)


def _through_sentinels(parts: SplitResult, *, tls: bool) -> RedisAddress:
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    primary, _, db = parts.path.strip("/").partition("/")
    if parts.scheme not in {"redis+sentinel", "rediss+sentinel"} or not primary:
        raise SettingsError(_FORMS)
    try:
        number = int(db or 0)
    except ValueError:
        raise SettingsError(_FORMS) from None
    return RedisAddress(
        db=number,
        username=unquote(user),
        password=unquote(password),
        tls=tls,
        sentinels=sentinels_from_text(hosts),
        primary=unquote(primary),
    )
