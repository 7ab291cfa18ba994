"""Where Kafka is and how topics are made, as one record."""

import re
from dataclasses import dataclass, field
from typing import Final

from blueengine.errors import SettingsError

COMPRESSIONS: Final = ("none", "gzip", "snappy", "lz4", "zstd")
MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
SMALLEST_LIMIT: Final = 128 * 1024
"""A message that is not passed by reference has up to 64 KiB, and facts beside it."""
_PREFIX: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_ADDRESS: Final = re.compile(r"[^\s,:]+:\d{1,5}|\[[0-9A-Fa-f:]+\]:\d{1,5}")


@dataclass(frozen=True, kw_only=True)
class KafkaSettings:
    """Kafka as all processes of one platform use it."""

    brokers: str
    """``host:port`` of some brokers, with commas between."""
    topic_prefix: str
    """Topics are named ``<prefix>-in-<instance>``; platforms on one Kafka need different ones."""
    replication: int
    """Copies of each message; 0: what the brokers say."""
    retention_seconds: float
    compression: str
    max_message_bytes: int
    tls: bool
    ca_file: str
    cert_file: str
    key_file: str
    sasl_mechanism: str
    username: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        """Check what can be checked without a broker.

        Raises:
            SettingsError: A value is wrong, or does not go with another.
        """
        for fault, why in self._faults():
            if fault:
                raise SettingsError(why)

    def _faults(self) -> list[tuple[bool, str]]:
        wrong = [a for a in self.addresses if not _ADDRESS.fullmatch(a)]
        mechanism = self.sasl_mechanism
        return [
            (
                not self.addresses or bool(wrong),
                f"KAFKA_BROKERS is {self.brokers!r}; it must look like kafka-1:9092,kafka-2:9092",
            ),
            (
                not _PREFIX.fullmatch(self.topic_prefix),
                f"KAFKA_TOPIC_PREFIX is {self.topic_prefix!r}; it must be 1 to 64 letters, digits or '-'",
            ),
            (
                not 0 <= self.replication <= 32767,
                f"KAFKA_REPLICATION is {self.replication}; it must be 0 (the brokers' default) or more",
            ),
            (
                not 60 <= self.retention_seconds <= 10**9,
                f"KAFKA_RETENTION_SECONDS is {self.retention_seconds:g}; it must be 60 or more",
            ),
            (
                self.compression not in COMPRESSIONS,
                f"KAFKA_COMPRESSION is {self.compression!r}; it must be one of {', '.join(COMPRESSIONS)}",
            ),
            (
                not SMALLEST_LIMIT <= self.max_message_bytes < 2**30,
                f"KAFKA_MAX_MESSAGE_BYTES is {self.max_message_bytes}; it must be {SMALLEST_LIMIT} to 2**30",
            ),
            (
                bool(self.ca_file or self.cert_file or self.key_file) and not self.tls,
                "KAFKA_CA_FILE, KAFKA_CERT_FILE and KAFKA_KEY_FILE need KAFKA_TLS: true",
            ),
            (
                bool(self.key_file) and not self.cert_file,
                "KAFKA_KEY_FILE needs KAFKA_CERT_FILE beside it",
            ),
            (
                bool(mechanism) and mechanism not in MECHANISMS,
                f"KAFKA_SASL_MECHANISM is {mechanism!r}; it must be one of {', '.join(MECHANISMS)}",
            ),
            (
                bool(mechanism) != bool(self.username and self.password),
                "KAFKA_SASL_MECHANISM, KAFKA_USERNAME and KAFKA_PASSWORD must be given together",
            ),
        ]

    @property
    def addresses(self) -> list[str]:
        """``host:port`` of each broker that was named."""
        return [word.strip() for word in self.brokers.split(",") if word.strip()]

    def __str__(self) -> str:
        """Where it is, without credentials."""
        return ",".join(self.addresses)
