"""Clients of librdkafka (confluent-kafka): what each is given, and how to wait for them.

librdkafka connects, finds leaders and tries again in threads of its own. What it complains of
meanwhile it tells whoever polls the client; that is kept for the error of whoever gives up waiting.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from confluent_kafka import KafkaError, KafkaException

from blueengine.errors import ChannelsAwayError, SettingsError
from blueengine.kit import aio
from blueengine.settings.kafka import KafkaSettings

T = TypeVar("T")
C = TypeVar("C")

REQUEST_SECONDS: Final = 10.0
"""A broker silent for so long counts as gone; shorter than any sensible patience."""
OVERHEAD_BYTES: Final = 1 << 20
"""Room beside the largest payload; the first header on a way carries the plan of the session."""
UNKNOWN_SECONDS: Final = 5.0
"""A topic that brokers do not know for so long is gone; a new one is known to all in less."""
TURN_SECONDS: Final = 0.25
"""How long a thread waits for a client at most before it looks whether it should end."""


class Complaints:
    """Keeps what a client last complained of. Callers: any thread."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.text = ""

    def __call__(self, error: KafkaError) -> None:
        """Keep a complaint; that all brokers are down says less than why the last one is."""
        if not self.text or error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - its name
            self.text = error.str().replace("ssl.ca.location", "KAFKA_CA_FILE")


def away(settings: KafkaSettings, why: object = "") -> ChannelsAwayError:
    """Return the error that says that Kafka is away, with the reason as far as it is known."""
    return ChannelsAwayError(f"Kafka at {settings} is away" + (f": {why}" if why else ""))


def error_of(exc: KafkaException) -> KafkaError:
    """Return what an exception carries."""
    error: KafkaError = exc.args[0]
    return error


def make(
    kind: Callable[[dict[str, Any]], C],
    settings: KafkaSettings,
    complaints: Complaints,
    options: dict[str, Any],
) -> C:
    """Make a client of a kind.

    Raises:
        SettingsError: A file for TLS cannot be used.
    """
    milliseconds = int(REQUEST_SECONDS * 1000)
    login = bool(settings.sasl_mechanism)
    given: dict[str, Any] = {
        "bootstrap.servers": ",".join(settings.addresses),
        "security.protocol": ("SASL_" if login else "") + ("SSL" if settings.tls else "PLAINTEXT"),
        "socket.timeout.ms": milliseconds,
        "socket.connection.setup.timeout.ms": milliseconds,
        "socket.nagle.disable": True,
        "topic.metadata.refresh.fast.interval.ms": 100,
        "reconnect.backoff.ms": 100,
        "reconnect.backoff.max.ms": 1000,
        "error_cb": complaints,
        "log_level": 0,  # it would write to standard error
    }
    if login:
        given["sasl.mechanism"] = settings.sasl_mechanism
        given["sasl.username"] = settings.username
        given["sasl.password"] = settings.password
    if settings.ca_file:
        given["ssl.ca.location"] = settings.ca_file
    if settings.cert_file:
        given["ssl.certificate.location"] = settings.cert_file
        given["ssl.key.location"] = settings.key_file or settings.cert_file
    try:
        return kind(given | options)
    except KafkaException as exc:
        raise SettingsError(
            f"the files for TLS to Kafka cannot be used: {error_of(exc).str()}"
        ) from exc


async def answer(future: "Future[T]") -> T:
    """Wait for what a client promised.

    Who stops waiting does not cancel it, and nothing complains when the loop is closed before it is
    kept: ``asyncio.wrap_future`` would do both.
    """
    loop = asyncio.get_running_loop()
    told: asyncio.Future[T] = loop.create_future()
    future.add_done_callback(lambda done: aio.call_soon(loop, _tell, told, done))
    return await told


async def in_thread(do: Callable[[], T]) -> T:
    """Do what blocks, in a thread that no end of the process waits for."""
    future: Future[T] = Future()
    threading.Thread(target=_do, args=(do, future), name="kafka-ask", daemon=True).start()
    return await answer(future)


def _do(do: Callable[[], T], future: "Future[T]") -> None:
    try:
        future.set_result(do())
    except BaseException as exc:  # noqa: BLE001 - whoever waits is told
        future.set_exception(exc)


def _tell(told: "asyncio.Future[T]", done: "Future[T]") -> None:
    if told.done():
        return
    if exc := done.exception():
        told.set_exception(exc)
    else:
        told.set_result(done.result())
