"""TLS and SASL against a broker that asks for both."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blueengine.errors import ChannelsAwayError, SettingsError
from blueengine.settings.kafka import MECHANISMS, KafkaSettings
from blueengine.settings.system import SystemSettings
from blueengine.transport.kafka import KafkaTransport
from tests.contract.channel.suite import Reader, header
from tests.kit.builders import a_topic_prefix
from tests.kit.fixtures import need_kafka
from tests.kit.kafka import RealKafka

pytestmark = pytest.mark.timeout(200)

MODULES = "org.apache.kafka.common.security"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of its own for 127.0.0.1; ``keystore.pem`` beside it has its key, too."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=kafka",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    both = (folder / "key.pem").read_text() + (folder / "cert.pem").read_text()
    (folder / "keystore.pem").write_text(both)
    return folder / "cert.pem"


@pytest.fixture(scope="module")
def guarded(certificate: Path) -> Iterator[RealKafka]:
    need_kafka()
    users = ["SCRAM-SHA-256=[name=ada,password=secret]", "SCRAM-SHA-512=[name=ada,password=secret]"]
    client = "listener.name.client"
    scram = f"{MODULES}.scram.ScramLoginModule required;"
    options = {
        "sasl.enabled.mechanisms": ",".join(MECHANISMS),
        f"{client}.plain.sasl.jaas.config": f'{MODULES}.plain.PlainLoginModule required user_ada="secret";',
        f"{client}.scram-sha-256.sasl.jaas.config": scram,
        f"{client}.scram-sha-512.sasl.jaas.config": scram,
        f"{client}.ssl.keystore.type": "PEM",
        f"{client}.ssl.keystore.location": str(certificate.with_name("keystore.pem")),
    }
    words = [word for user in users for word in ("--add-scram", user)]
    with RealKafka(options=options, security="SASL_SSL", format_options=words) as server:
        yield server


def settings(server: RealKafka, certificate: Path, **more: Any) -> KafkaSettings:
    given: dict[str, Any] = {
        "kafka_brokers": server.bootstrap,
        "kafka_topic_prefix": a_topic_prefix(),
        "kafka_tls": True,
        "kafka_ca_file": str(certificate),
        "kafka_sasl_mechanism": "PLAIN",
        "kafka_username": "ada",
        "kafka_password": "secret",
    }
    kafka = SystemSettings(**{**given, **more}).kafka
    assert kafka
    return kafka


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("compression", ["none", "zstd"])
async def test_messages_pass_with_the_right_login(
    guarded: RealKafka, certificate: Path, mechanism: str, compression: str
) -> None:
    known = settings(
        guarded, certificate, kafka_sasl_mechanism=mechanism, kafka_compression=compression
    )
    transport = KafkaTransport(known, "guarded", patience=60)
    await transport.open()
    reader = Reader(transport)
    sent = [(header(seq), b"x" * 1000) for seq in range(100)]
    for message in sent:
        _ = transport.send("guarded", *message)
    assert await reader.until(100) == sent
    await reader.close()
    await transport.close()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"kafka_password": "hunter2"}, "uthentication"),
        ({"kafka_sasl_mechanism": "SCRAM-SHA-256", "kafka_password": "hunter2"}, "uthentication"),
        ({"kafka_ca_file": ""}, "KAFKA_CA_FILE"),
    ],
)
async def test_what_is_wrong_with_the_login_is_said_without_the_password(
    guarded: RealKafka, certificate: Path, wrong: dict[str, str], words: str
) -> None:
    transport = KafkaTransport(settings(guarded, certificate, **wrong), "stranger", patience=4)
    with pytest.raises(ChannelsAwayError) as raised:
        await transport.open()
    await transport.close()
    assert words in str(raised.value)
    assert "hunter2" not in str(raised.value)


async def test_a_file_that_is_no_certificate_is_named_at_once(
    guarded: RealKafka, certificate: Path
) -> None:
    missing = settings(guarded, certificate, kafka_ca_file="nowhere.pem")
    transport = KafkaTransport(missing, "stranger", patience=60)
    with pytest.raises(SettingsError, match="files for TLS to Kafka cannot be used"):
        await transport.open()
    await transport.close()
