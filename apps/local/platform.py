"""The platform as child processes: what is started in which order, and stopped in which."""

import asyncio
import contextlib
import hashlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from apps.local import ledger_view, redis_server
from apps.local.autoscaler import Autoscaler
from apps.local.catalogue import LocalEngine
from apps.local.data_folder import DataFolder
from apps.local.processes import Child, Kept, Program, all_of, describe_exit, start
from blueengine import ledger
from blueengine.errors import BlueEngineError
from blueengine.kit import aio
from blueengine.kit.redis_link import Link, Subscription
from blueengine.settings.system import SystemSettings
from blueengine.transport.blob_stores import bucket_of
from blueengine.wire import names

READY_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.01
ENGINE_GRACE_SECONDS: Final = 10.0
"""How long engines may finish what they do when the platform is stopped."""
SERVICE_GRACE_SECONDS: Final = 5.0
BUCKET_SECONDS: Final = 5.0
"""How long a bucket may take to answer at the start."""


class PlatformError(BlueEngineError):
    """The platform cannot be started."""

    code = "not-started"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to start."""

    data: DataFolder
    host: str = "127.0.0.1"
    port: int = 8080
    redis_url: str = ""
    """A running Redis to use in place of the embedded one."""
    kafka_brokers: str = ""
    """A running Kafka for data between engines; empty: that goes over Redis, too."""
    blobs: str = ""
    """A bucket for large payloads, ``s3://bucket/prefix``; empty: the data folder."""
    engines: Mapping[str, LocalEngine]
    most: int
    """Instances of each engine at most."""
    cooldown: float
    """Seconds an instance must have been superfluous before it is stopped."""

    @property
    def url(self) -> str:
        """Where the gateway listens."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


class EngineProcesses:
    """Starts engines with the platform's settings in their environment."""

    def __init__(self, options: Options, environment: Mapping[str, str]) -> None:
        """Add ``environment`` to that of each engine."""
        self._logs = options.data.logs
        self._environment = environment

    async def start(self, engine: LocalEngine, instance: str, number: int) -> Child:
        """Start ``engine`` as ``instance``; its log is ``<engine>-<number>.log``."""
        return await start(
            Program(
                name=f"{engine.id}-{number}",
                argv=[sys.executable, str(engine.script)],
                environment={**self._environment, "BLUEENGINE_INSTANCE_ID": instance},
            ),
            logs=self._logs,
        )


@contextlib.asynccontextmanager
async def running(options: Options, *, notice: Callable[[str], None]) -> AsyncIterator[None]:
    """Start the platform; it is ready inside the context, and stopped in order at its end.

    Raises:
        BlueEngineError: Something cannot be started; what was is stopped again.
    """
    check_port(options)
    with options.data.locked(url=options.url):
        async with contextlib.AsyncExitStack() as stack:
            redis_url = options.redis_url or await _embedded_redis(options, stack, notice)
            environment = {
                "REDIS_URL": redis_url,
                "BLOB_DIR": "" if options.blobs else str(options.data.blobs),
                "BLOB_URL": options.blobs,
                # everything here listens on loopback, so receivers of webhooks will, too
                "OUTSIDE_ALLOW": os.environ.get("OUTSIDE_ALLOW", "loopback"),
                "TMPDIR": str(stack.enter_context(options.data.clean_scratch())),
                **_kafka(options),
            }
            await _check_kafka(environment)
            await _check_blobs(environment)
            gateway = await _services(options, environment, stack, notice)
            await _autoscaler(options, environment, stack, notice)
            await _wait_ready(options, gateway)
            yield


def _kafka(options: Options) -> dict[str, str]:
    """Return the settings for Kafka; none of the caller's environment when it is not wanted.

    A platform with a Redis of its own has topics of its own, too: management removes inboxes whose
    instances its Redis does not know.
    """
    if not options.kafka_brokers:
        return {"KAFKA_BROKERS": ""}
    found = {"KAFKA_BROKERS": options.kafka_brokers}
    if not options.redis_url and not os.environ.get("KAFKA_TOPIC_PREFIX"):
        whose = f"{socket.gethostname()} {options.data.root.resolve()}".encode()
        found["KAFKA_TOPIC_PREFIX"] = f"blueengine-{hashlib.sha256(whose).hexdigest()[:8]}"
    return found


async def _check_kafka(environment: Mapping[str, str]) -> None:
    """See that Kafka answers, before anything that needs it is started.

    Raises:
        SettingsError: Its settings contradict each other.
        ChannelsAwayError: It does not.
    """
    known = {**os.environ, **environment}
    settings = SystemSettings.load(known, config_variable="BLUEEDGE_CFG").kafka
    if settings:
        from blueengine.transport import kafka_topics  # noqa: PLC0415 - slow, and seldom used

        async with kafka_topics.topics(settings) as topics:
            await topics.ping()


async def _check_blobs(environment: Mapping[str, str]) -> None:
    """See that the bucket can be written to, before anything that needs it is started.

    Raises:
        SettingsError: Its settings contradict each other.
        BlobsAwayError: It cannot.
    """
    known = {**os.environ, **environment}
    bucket = SystemSettings.load(known, config_variable="BLUEEDGE_CFG").bucket(known)
    if bucket:
        await asyncio.to_thread(bucket_of(bucket, patience=BUCKET_SECONDS).check)


async def _embedded_redis(
    options: Options, stack: contextlib.AsyncExitStack, notice: Callable[[str], None]
) -> str:
    server = await redis_server.run(options.data.redis, logs=options.data.logs, notice=notice)
    stack.push_async_callback(server.stop)
    return server.near_url


async def _services(
    options: Options,
    environment: Mapping[str, str],
    stack: contextlib.AsyncExitStack,
    notice: Callable[[str], None],
) -> Kept:
    """Start gateway and management side by side; the gateway."""
    listen = {"RESTFUL_HOST": options.host, "RESTFUL_PORT": str(options.port)}
    services = [
        Kept(
            Program(
                name=name,
                argv=[sys.executable, "-m", f"apps.{name}.main"],
                environment={**environment, **listen},
            ),
            logs=options.data.logs,
            notice=notice,
        )
        for name in ("restful", "management")
    ]

    async def stop_both() -> None:
        await all_of([service.stop(grace=SERVICE_GRACE_SECONDS) for service in services])

    stack.push_async_callback(stop_both)
    for service in services:
        await service.start()
    return services[0]


async def _autoscaler(
    options: Options,
    environment: Mapping[str, str],
    stack: contextlib.AsyncExitStack,
    notice: Callable[[str], None],
) -> None:
    # where Redis is, with what the environment says of its certificates
    address = SystemSettings.load(
        {**os.environ, **environment}, config_variable="BLUEEDGE_CFG"
    ).redis
    link = Link(address, scripts=ledger.load(*ledger_view.SCRIPTS))
    await link.open()
    stack.push_async_callback(link.close)
    view = ledger_view.LedgerView(link)
    await view.announce(options.engines.values())
    scaler = Autoscaler(
        view,
        EngineProcesses(options, environment),
        options.engines,
        most=options.most,
        cooldown=options.cooldown,
        notice=notice,
    )

    async def drain() -> None:
        await scaler.close(grace=ENGINE_GRACE_SECONDS)

    stack.push_async_callback(drain)
    news = Link(
        address,
        subscription=Subscription(
            [names.SCALE],
            on_message=lambda engine: scaler.wake(engine.decode()),
            on_connect=scaler.wake_all,
        ),
    )
    await news.open()
    stack.push_async_callback(news.close)
    tasks = await stack.enter_async_context(aio.Tasks())
    tasks.start(aio.forever(scaler.step, name="autoscaler"), name="autoscaler")


def check_port(options: Options) -> None:
    """See that nobody listens on the gateway's port.

    Raises:
        PlatformError: Somebody does.
    """
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((options.host, options.port))
        except OSError as exc:
            raise PlatformError(
                f"cannot listen on {options.host}:{options.port} ({exc.strerror}); choose another "
                "port with --port"
            ) from exc


async def _wait_ready(options: Options, gateway: Kept) -> None:
    """Wait until the gateway says that it and what it needs are there."""
    first = gateway.child
    try:
        async with asyncio.timeout(READY_SECONDS):
            while not await _answers(options):
                if first and first.exit_code is not None:
                    code = describe_exit(await first.wait())
                    raise PlatformError(f"the gateway {code}: {first.last_line}")
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        last = first.last_line if first else ""
        raise PlatformError(
            f"the gateway is not ready after {READY_SECONDS:.0f} s: {last}"
        ) from None


async def _answers(options: Options) -> bool:
    """Ask ``/readyz``; a whole HTTP client would take longer to import than the answer takes."""
    try:
        reader, writer = await asyncio.open_connection(options.host, options.port)
    except OSError:
        return False
    try:
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        status = await reader.readline()
    except OSError:
        return False
    else:
        return b" 200 " in status
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
