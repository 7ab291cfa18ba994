"""Clients of aiokafka: what each is given, how to see that one is past help, and how it ends.

What looks after a client's view of the brokers, and what fetches for a consumer, are tasks inside of it
that end for good with the first error they do not expect. uvloop has one for them: a RuntimeError
for who writes in the very moment in which a connection breaks. Nothing public says that such a task
is gone, and who waits for it waits for ever; so every wait here ends with the task, too.
"""

import asyncio
import logging
import ssl
from collections.abc import Coroutine
from typing import Any, Final

from aiokafka.errors import KafkaConnectionError, KafkaError

from blueengine.errors import ChannelsAwayError, SettingsError
from blueengine.kit import aio
from blueengine.settings.kafka import KafkaSettings

REQUEST_MS: Final = 10_000
"""A broker silent for so long counts as gone; shorter than any sensible patience."""
BACKOFF_MS: Final = 200
OVERHEAD_BYTES: Final = 1 << 20
"""Room beside the largest payload; the first header on a way carries the plan of the session."""


BROKEN: Final = (KafkaError, OSError, RuntimeError)
"""What a call raises when the connection breaks; see the module for the last of them."""


async def at_most(ending: Coroutine[Any, Any, None], seconds: float) -> None:
    """Let something end, but wait no longer than this; how it ends does not matter."""
    task = asyncio.get_running_loop().create_task(ending, name="kafka-end")
    task.add_done_callback(aio.take_note)
    await asyncio.wait((task,), timeout=seconds)
    while not task.done():  # what it waits for in turn may take a cancellation for its own
        task.cancel()
        await asyncio.wait((task,), timeout=0.05)


def check(client: Any) -> None:
    """See that a client still looks after its view of the brokers.

    Raises:
        KafkaConnectionError: It does not, and never will again.
    """
    looking = client._sync_task  # noqa: SLF001 - nothing public tells
    if looking is None or looking.done():
        raise KafkaConnectionError("the client has stopped looking for brokers")


async def look(client: Any) -> bool:
    """Have a client ask brokers anew for what it knows of them; whether one answered.

    It takes as long as trying each of them once.

    Raises:
        KafkaConnectionError: It has stopped doing so.
    """
    check(client)
    answer = client.force_metadata_update()
    looking = client._sync_task  # noqa: SLF001 - as above
    await asyncio.wait((answer, looking), return_when=asyncio.FIRST_COMPLETED)
    if not answer.done():
        check(client)
    answered: bool = await answer
    return answered


class LastWord(logging.Handler):
    """Keeps what aiokafka last complained of, and nothing else of its log.

    It tells why it cannot connect only there, again and again for as long as that lasts.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__(logging.WARNING)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a complaint."""
        self.text = record.getMessage()


last_word: Final = LastWord()


def hush() -> None:
    """Have aiokafka's log go to ``last_word`` alone."""
    logger = logging.getLogger("aiokafka")
    if last_word not in logger.handlers:
        logger.addHandler(last_word)
        logger.propagate = False


def away(settings: KafkaSettings, why: object = "") -> ChannelsAwayError:
    """Return the error that says that Kafka is away, with the reason as far as it is known."""
    reason = str(why) or last_word.text
    return ChannelsAwayError(f"Kafka at {settings} is away" + (f": {reason}" if reason else ""))


def client_options(settings: KafkaSettings) -> dict[str, Any]:
    """Return what every client of aiokafka is given.

    Raises:
        SettingsError: A file for TLS cannot be read.
    """
    hush()
    login = bool(settings.sasl_mechanism)
    options: dict[str, Any] = {
        "bootstrap_servers": settings.addresses,
        "request_timeout_ms": REQUEST_MS,
        "retry_backoff_ms": BACKOFF_MS,
        "security_protocol": ("SASL_" if login else "") + ("SSL" if settings.tls else "PLAINTEXT"),
    }
    if login:
        options["sasl_mechanism"] = settings.sasl_mechanism
        options["sasl_plain_username"] = settings.username
        options["sasl_plain_password"] = settings.password
    if settings.tls:
        options["ssl_context"] = _tls(settings)
    return options


def _tls(settings: KafkaSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_file or None)
        if settings.cert_file:
            context.load_cert_chain(settings.cert_file, settings.key_file or None)
    except OSError as exc:  # ssl.SSLError is one, too
        raise SettingsError(f"the files for TLS to Kafka cannot be used: {exc}") from exc
    return context
