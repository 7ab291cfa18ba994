"""Inboxes as Kafka topics: how to connect, make, list and remove them.

Used by an instance for its own inbox, and by management for those that dead instances left.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncGenerator, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    KafkaError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)

from blueengine.errors import ChannelError, ChannelsAwayError, SettingsError
from blueengine.kit import aio
from blueengine.settings.kafka import KafkaSettings
from blueengine.wire import names

REQUEST_MS: Final = 10_000
"""A broker silent for so long counts as gone; shorter than any sensible patience."""
BACKOFF_MS: Final = 200
SEGMENT_BYTES: Final = 32 << 20
"""Brokers remove what was read in files of this size."""
INDEX_BYTES: Final = 1 << 20
OVERHEAD_BYTES: Final = 1 << 20
"""Room beside the largest payload; the first header on a way carries the plan of the session."""


async def at_most(ending: Coroutine[Any, Any, None], seconds: float) -> None:
    """Let something end, but wait no longer than this; how it ends does not matter."""
    task = asyncio.get_running_loop().create_task(ending, name="kafka-end")
    task.add_done_callback(aio.take_note)
    await asyncio.wait((task,), timeout=seconds)
    if not task.done():
        await aio.cancel(task)


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


class Topics:
    """Makes, lists and removes inboxes over one connection; from ``topics``."""

    def __init__(self, admin: AIOKafkaAdminClient, settings: KafkaSettings) -> None:
        """Use a client that is connected."""
        self._admin = admin
        self._settings = settings

    async def make(self, instance: str) -> bool:
        """Make an instance's inbox; False when there was one already."""
        topic = names.inbox_topic(self._settings.topic_prefix, instance)
        most = self._settings.max_message_bytes + OVERHEAD_BYTES
        configs = {
            "cleanup.policy": "delete",
            "compression.type": "producer",
            "max.message.bytes": str(most),
            "retention.ms": str(int(self._settings.retention_seconds * 1000)),
            "retention.bytes": "-1",
            "segment.bytes": str(max(SEGMENT_BYTES, most)),
            "segment.index.bytes": str(INDEX_BYTES),
        }
        new = NewTopic(
            topic,
            num_partitions=1,
            replication_factor=self._settings.replication or -1,
            replica_assignments=None if self._settings.replication else {},
            topic_configs=configs,
        )
        response: Any = await self._admin.create_topics([new], timeout_ms=REQUEST_MS)
        for _, code, *words in response.topic_errors:
            error = for_code(code)
            if error is TopicAlreadyExistsError:
                return False
            if code and error.retriable:
                raise error
            if code:
                told = words[0] if words and words[0] else error.__name__
                raise ChannelError(f"Kafka does not make the topic {topic}: {told}")
        return True

    async def remove(self, instances: Iterable[str]) -> None:
        """Remove inboxes; those that are gone already are fine."""
        prefix = self._settings.topic_prefix
        wanted = [names.inbox_topic(prefix, instance) for instance in instances]
        if not wanted:
            return
        response: Any = await self._admin.delete_topics(wanted, timeout_ms=REQUEST_MS)
        for topic, code in response.topic_error_codes:
            error = for_code(code)
            if code and error is not UnknownTopicOrPartitionError:
                raise ChannelError(f"Kafka does not remove the topic {topic}: {error.__name__}")

    async def owners(self) -> list[str]:
        """Return the instances that have an inbox."""
        prefix = self._settings.topic_prefix
        found = [names.instance_of(prefix, topic) for topic in await self._admin.list_topics()]
        return [instance for instance in found if instance is not None]

    async def ping(self) -> None:
        """See that a broker answers."""
        await self._admin.describe_cluster()


@asynccontextmanager
async def topics(settings: KafkaSettings) -> AsyncGenerator[Topics]:
    """Connect for the time of the context.

    Raises:
        ChannelsAwayError: No broker can be reached, or the connection was lost.
        SettingsError: A file for TLS cannot be read.
    """
    admin = AIOKafkaAdminClient(**client_options(settings))
    try:
        await admin.start()
        yield Topics(admin, settings)
    except (KafkaError, OSError, TimeoutError) as exc:
        raise away(settings, last_word.text or repr(exc)) from exc
    finally:
        await admin.close()
