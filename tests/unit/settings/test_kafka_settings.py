"""Kafka's settings: off by default, and one clear line for each fault."""

import pytest

from blueengine.errors import SettingsError
from blueengine.settings.kafka import KafkaSettings
from blueengine.settings.system import SystemSettings


def load(**given: str) -> KafkaSettings | None:
    environment = {f"KAFKA_{name}".upper(): value for name, value in given.items()}
    return SystemSettings.load(environment, config_variable="BLUEEDGE_COMM_CONFIG").kafka


def test_without_brokers_data_goes_over_redis() -> None:
    assert load() is None
    assert load(password="unused") is None


def test_brokers_are_named_with_commas_between() -> None:
    kafka = load(brokers=" kafka-1:9092, kafka-2:9093,", retention_seconds="120")
    assert kafka
    assert kafka.addresses == ["kafka-1:9092", "kafka-2:9093"]
    assert str(kafka) == "kafka-1:9092,kafka-2:9093"
    assert kafka.retention_seconds == 120


def test_the_password_is_never_shown() -> None:
    kafka = load(brokers="k:1", sasl_mechanism="PLAIN", username="ada", password="secret")
    assert kafka
    assert kafka.password == "secret"
    assert "secret" not in f"{kafka!r}{kafka}"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"brokers": "kafka"}, "KAFKA_BROKERS is 'kafka'; it must look like kafka-1:9092"),
        ({"brokers": ","}, "KAFKA_BROKERS is ','"),
        ({"topic_prefix": "a b"}, "KAFKA_TOPIC_PREFIX is 'a b'"),
        ({"replication": "-1"}, "KAFKA_REPLICATION is -1"),
        ({"retention_seconds": "1"}, "KAFKA_RETENTION_SECONDS is 1; it must be 60 or more"),
        ({"compression": "rar"}, "KAFKA_COMPRESSION is 'rar'; it must be one of none, gzip"),
        ({"max_message_bytes": "1000"}, "KAFKA_MAX_MESSAGE_BYTES is 1000"),
        ({"ca_file": "ca.pem"}, "need KAFKA_TLS: true"),
        ({"tls": "true", "key_file": "key.pem"}, "KAFKA_KEY_FILE needs KAFKA_CERT_FILE"),
        ({"sasl_mechanism": "GSSAPI"}, "it must be one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"),
        ({"sasl_mechanism": "PLAIN", "username": "ada"}, "must be given together"),
    ],
)
def test_a_fault_is_one_line(given: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load(**{"brokers": "k:1", **given})
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
