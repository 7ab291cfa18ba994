"""Where the platform is: the same record for engines and services.

Each field is read from the YAML file that ``BLUEEDGE_COMM_CONFIG`` (engines) or ``BLUEEDGE_CFG``
(services) names, under ``SYSTEM:``, and from an environment variable of the same name, which wins.
"""

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Self

from blueengine.errors import SettingsError
from blueengine.kit.redis_address import RedisAddress, sentinels_from_text
from blueengine.settings.blobs import BucketSettings
from blueengine.settings.kafka import SMALLEST_LIMIT, KafkaSettings

_PLACE: Final = re.compile(r"[A-Za-z0-9_.-]{0,253}")
"""Names of places are parts of Redis keys."""


REDIS_LARGEST: Final = 512 << 20
"""What Redis takes as one value as it comes (``proto-max-bulk-len``)."""


@dataclass(frozen=True, kw_only=True)
class SystemSettings:
    """Settings every process of one platform shares. Times are seconds."""

    redis_url: str = ""
    """``redis://[user:password@]host:port/db``, ``rediss://…`` (TLS), ``unix://path`` or
    ``redis+sentinel://[user:password@]host:port,host:port/primary/db``; wins over the seven below."""
    redis_address: str = "127.0.0.1"
    redis_port: int = 6379
    redis_username: str = ""
    redis_password: str = ""
    redis_tls: bool = False
    redis_sentinels: str = ""
    """``host:port,host:port``: ask these where the primary is."""
    redis_sentinel_primary: str = "mymaster"
    """The name by which the Sentinels know it."""
    redis_sentinel_password: str = ""
    redis_tls_ca: str = ""
    """File with the certificates to trust; the system's when empty."""
    redis_tls_cert: str = ""
    """File with a certificate of our own, where Redis asks for one, and of its key below."""
    redis_tls_key: str = ""
    redis_max_message_bytes: int = 8 << 20
    """A larger message between engines is an error of its writer, where data goes over Redis."""
    local_channels: bool = True
    """Where data goes over Redis: engines of one user on one host hand it to each other directly."""
    blob_dir: str = ""
    """Folder shared by gateway and engines for payloads too large for messages; empty: none."""
    spool_bytes: int = 1 << 30
    """How much one session may keep on the disk of an engine, where one branch of its graph must run far
    ahead of another."""
    blob_url: str = ""
    """``s3://bucket/prefix``: such payloads go to a bucket instead of a folder."""
    blob_endpoint: str = ""
    """``https://host:port`` of what speaks S3; empty: AWS."""
    blob_region: str = ""
    blob_ca_file: str = ""
    """PEM with the authorities to trust there; empty: the system's."""
    heartbeat_seconds: float = 1.0
    heartbeat_timeout: float = 4.0
    """An instance silent for so long is given up."""
    patience_seconds: float = 30.0
    """How long to wait for Redis to come back before work in flight fails."""
    outside_allow: str = ""
    """Addresses of the own network that webhooks and start data by URL may lead to: networks, host
    names, ``loopback``, ``private``; with commas or spaces between."""
    node_name: str = ""
    """The machine an engine runs on, for sessions that are to stay on one; empty: its host name."""
    zone: str = ""
    """The zone that machine is in, for sessions that are to stay in one."""
    log_level: str = "INFO"
    metrics_port: int = 0
    """Where an engine answers /metrics, /healthz and /readyz; 0: nowhere."""
    metrics_host: str = "127.0.0.1"
    kafka_brokers: str = ""
    """``host:port`` of brokers, with commas between: data between engines goes over Kafka then."""
    kafka_topic_prefix: str = "blueengine"
    kafka_replication: int = 0
    """Copies of each message; 0: what the brokers say."""
    kafka_retention_seconds: float = 3600.0
    """How long brokers keep what nobody reads; a reader away for longer loses its sessions."""
    kafka_compression: str = "none"
    kafka_max_message_bytes: int = 8 << 20
    """A larger message is an error of its writer."""
    kafka_tls: bool = False
    kafka_ca_file: str = ""
    """PEM with the authorities to trust; empty: the system's."""
    kafka_cert_file: str = ""
    kafka_key_file: str = ""
    """PEM files of a client certificate, if brokers ask for one."""
    kafka_sasl_mechanism: str = ""
    kafka_username: str = ""
    kafka_password: str = field(default="", repr=False)

    @property
    def kafka(self) -> KafkaSettings | None:
        """Where Kafka is; None when data goes over Redis."""
        if not self.kafka_brokers:
            return None
        prefix = "kafka_"
        return KafkaSettings(
            **{
                one.name.removeprefix(prefix): getattr(self, one.name)
                for one in fields(self)
                if one.name.startswith(prefix)
            }
        )

    def bucket(self, environment: Mapping[str, str]) -> BucketSettings | None:
        """Return where the bucket for blobs is, with its credentials; None when there is none.

        Raises:
            SettingsError: Something of it is wrong.
        """
        if not self.blob_url:
            return None
        if self.blob_dir:
            raise SettingsError("BLOB_URL and BLOB_DIR name two blob stores; set one of them")
        return BucketSettings.parse(
            self.blob_url,
            endpoint=self.blob_endpoint,
            region=self.blob_region,
            ca_file=self.blob_ca_file,
            environment=environment,
        )

    @property
    def redis(self) -> RedisAddress:
        """Where Redis is."""
        if self.redis_url:
            address = RedisAddress.from_url(self.redis_url)
        else:
            sentinels = self.redis_sentinels
            address = RedisAddress(
                host=self.redis_address,
                port=self.redis_port,
                username=self.redis_username,
                password=self.redis_password,
                tls=self.redis_tls,
                sentinels=sentinels_from_text(sentinels) if sentinels else (),
                primary=self.redis_sentinel_primary if sentinels else "",
            )
        return replace(
            address,
            tls_ca=self.redis_tls_ca,
            tls_cert=self.redis_tls_cert,
            tls_key=self.redis_tls_key,
            sentinel_password=self.redis_sentinel_password,
        )

    @classmethod
    def load(cls, environment: Mapping[str, str], *, config_variable: str) -> Self:
        """Return the settings in force.

        Args:
            environment: Usually ``os.environ``.
            config_variable: ``BLUEEDGE_COMM_CONFIG`` or ``BLUEEDGE_CFG``.

        Raises:
            SettingsError: The file cannot be read, or a value is not of its kind.
        """
        file = environment.get(config_variable, "")
        from_file = read_yaml(Path(file)).get("SYSTEM") or {} if file else {}
        if not isinstance(from_file, dict):
            raise SettingsError(f"{file}: SYSTEM must hold names and values")
        values: dict[str, Any] = {}
        for one in fields(cls):
            name = one.name.upper()
            source, raw = f"{file}: SYSTEM.{name}", from_file.get(name)
            if name in environment:
                source, raw = f"the environment variable {name}", environment[name]
            if raw is not None:
                values[one.name] = convert(raw, type(one.default), source)
        settings = cls(**values)
        settings._check(environment)
        return settings

    def _check(self, environment: Mapping[str, str]) -> None:
        for name in ("heartbeat_seconds", "heartbeat_timeout", "patience_seconds"):
            if not 0 < (value := getattr(self, name)) < math.inf:
                raise SettingsError(f"{name.upper()} is {value:g}; it must be greater than 0")
        if self.spool_bytes < 0:
            raise SettingsError("SPOOL_BYTES must not be less than 0")
        if not SMALLEST_LIMIT <= self.redis_max_message_bytes <= REDIS_LARGEST:
            raise SettingsError(
                f"REDIS_MAX_MESSAGE_BYTES is {self.redis_max_message_bytes};"
                f" it must be {SMALLEST_LIMIT} to {REDIS_LARGEST}"
            )
        if not 0 < self.redis_port < 65536:
            raise SettingsError(f"REDIS_PORT is {self.redis_port}; it must be 1 to 65535")
        if self.log_level.upper() not in logging.getLevelNamesMapping():
            raise SettingsError(
                f"LOG_LEVEL is {self.log_level!r}; it must be DEBUG, INFO, WARNING or ERROR"
            )
        if self.heartbeat_timeout < 2 * self.heartbeat_seconds:
            raise SettingsError("HEARTBEAT_TIMEOUT must be at least twice HEARTBEAT_SECONDS")
        _ = self.redis, self.kafka, self.bucket(environment)  # a wrong address is found now
        self._check_places()
        for name in ("redis_tls_ca", "redis_tls_cert", "redis_tls_key"):
            path = getattr(self, name)
            if path and not Path(path).is_file():
                raise SettingsError(f"{name.upper()} is {path!r}, which is no file")

    def _check_places(self) -> None:
        for name in ("node_name", "zone"):
            if not _PLACE.fullmatch(value := getattr(self, name)):
                raise SettingsError(
                    f"{name.upper()} is {value!r}; it must be letters, digits, '_', '.' and '-' only"
                )


def convert(raw: Any, kind: type, source: str) -> Any:
    """Return ``raw`` as ``kind`` (str, int, float or bool).

    Raises:
        SettingsError: It is none.
    """
    try:
        if kind is bool:
            word = str(raw).strip().lower()
            if word not in {"true", "false", "1", "0", "yes", "no"}:
                raise ValueError(word)  # noqa: TRY301 - same answer as any other wrong value
            return word in {"true", "1", "yes"}
        wrong = (dict, list, bool) if kind is not str else (dict, list)
        if isinstance(raw, wrong) or (kind is int and isinstance(raw, float) and raw % 1):
            raise TypeError(raw)  # noqa: TRY301 - same answer as any other wrong value
        return kind(raw)
    except (TypeError, ValueError):
        raise SettingsError(f"{source} is {raw!r}, which is no {kind.__name__}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises:
        SettingsError: It is missing, unreadable or no mapping.
    """
    import yaml  # most processes read one file, those that are configured by code none

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path} does not exist") from None
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"{path} cannot be read: {exc}") from exc
    except yaml.YAMLError as exc:
        where = getattr(exc, "problem_mark", None)
        line = f" (line {where.line + 1})" if where else ""
        raise SettingsError(f"{path} is no valid YAML{line}") from exc
    if not isinstance(content, dict):
        raise SettingsError(f"{path} must hold names and values")
    return content
