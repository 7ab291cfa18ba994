"""Turning a process into an engine instance, and ending it in order."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

from blueengine import ids, ledger
from blueengine.errors import BlueEngineError, SettingsError
from blueengine.kit import aio
from blueengine.kit.collector import YOUNG, spare_what_is_loaded
from blueengine.kit.redis_link import Link
from blueengine.kit.turn import Turn
from blueengine.ledger.instance import SCRIPTS, InstanceLedger
from blueengine.runtime.context import Flags
from blueengine.runtime.declare import BlueEngine
from blueengine.runtime.host import Gone, Host
from blueengine.runtime.instance import Instance
from blueengine.runtime.porter import Porter
from blueengine.runtime.scratch import memory, scratch_folder
from blueengine.runtime.spawn import Spawned
from blueengine.settings.system import SystemSettings
from blueengine.transport import neighbours
from blueengine.transport.base import Transport
from blueengine.transport.blob_stores import bucket_of
from blueengine.transport.blobs import BlobFolder
from blueengine.transport.redis_streams import RedisStreams, StreamReader
from blueengine.wire import names

log = logging.getLogger(__name__)

EXIT_GONE: Final = 75
"""The platform gave the instance up; a supervisor should start a new one."""
DRAIN_SECONDS: Final = 300.0
QUIT_SECONDS: Final = 3.0
"""For the terminate functions of the workers."""


def launch(
    engine: BlueEngine,
    settings: SystemSettings,
    target: str,
    flags: Flags,
    workers: Mapping[str, list[Spawned]],
) -> int:
    """Run this process as an instance of ``engine`` until a signal ends it; the exit code.

    Args:
        engine: What it runs.
        settings: Where the platform is.
        target: The file or module that further workers run.
        flags: Those of the engine's workers.
        workers: Workers that were started already, by the names of their steps.
    """
    live = partial(_live, engine, settings, target=target, flags=flags, workers=workers)
    return aio.run(_run(live))


async def _run(live: Callable[[asyncio.Event], Coroutine[Any, Any, int]]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = 0

    def on_signal() -> None:
        nonlocal signals
        signals += 1
        stop.set()
        if signals > 1:
            ending.cancel()

    ending = loop.create_task(live(stop))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    try:
        return await ending
    except asyncio.CancelledError:
        log.warning("ended at the second signal; sessions here are lost")
        return 1


async def _live(
    engine: BlueEngine,
    settings: SystemSettings,
    stop: asyncio.Event,
    *,
    target: str,
    flags: Flags,
    workers: Mapping[str, list[Spawned]],
) -> int:
    name = os.environ.get("BLUEENGINE_INSTANCE_ID") or ids.instance_id(
        engine.settings.id, entropy=os.urandom
    )
    try:
        async with AsyncExitStack() as stack:
            turn = Turn()
            shared, commands = _links(settings, turn, stack)
            transport, inbox = _transport(settings, shared, name, stack)
            folder = stack.enter_context(scratch_folder(name))
            forwarded = stack.enter_context(scratch_folder(name, memory()))
            blobs, porter = _blobs(settings, folder, stack)
            instance = Instance(
                engine=engine,
                id=name,
                link=shared,
                transport=transport,
                ledger=InstanceLedger(shared, name, heartbeat_timeout=settings.heartbeat_timeout),
                blobs=blobs,
                porter=porter,
                flags=flags,
                folder=folder,
                shared=forwarded,
                spool_bytes=settings.spool_bytes,
                turn=turn,
            )
            host = Host(
                instance,
                target,
                commands=StreamReader(commands, names.commands(name)),
                heartbeat_seconds=settings.heartbeat_seconds,
                begun=workers,
            )
            if isinstance(transport, neighbours.Neighbours):
                transport.on_runs = host.take
            if settings.metrics_port:
                await stack.enter_async_context(_metrics(host, instance, settings))
            reason, grace = "the engine failed to start", QUIT_SECONDS
            try:
                if await _warm_up(host, [shared, commands, *inbox], stop):
                    await host.attend(node_name=settings.node_name, zone=settings.zone)
                    log.info("engine %s attends as %s", engine.settings.id, name)
                    reason = "the engine process failed"
                    reason = await _serve(host, stop)
            except BlueEngineError as exc:
                reason = f"the engine process failed: {exc}"
                raise
            except asyncio.CancelledError:
                reason, grace = "the engine was told to end at once", 0.0
                raise
            finally:
                await host.close(reason, grace=grace)
    except Gone:
        log.error("the platform gave this instance up (no heartbeat in time); ending")
        return EXIT_GONE
    except (BlueEngineError, RuntimeError) as exc:
        log.error("%s", exc)
        return 1
    return 0


def _blobs(
    settings: SystemSettings, folder: Path, stack: AsyncExitStack
) -> tuple[BlobFolder | None, Porter | None]:
    """Return where workers find large payloads, and who carries them if that is not the store."""
    if bucket := settings.bucket(os.environ):
        spool = BlobFolder(folder / "blobs")
        porter = Porter(bucket_of(bucket, patience=settings.patience_seconds), spool)
        stack.push_async_callback(asyncio.to_thread, porter.close)
        return spool, porter
    return BlobFolder(Path(settings.blob_dir)) if settings.blob_dir else None, None


def _metrics(
    host: Host, instance: Instance, settings: SystemSettings
) -> AbstractAsyncContextManager[int]:
    try:
        from blueengine.runtime.metrics_port import metrics_port
    except ModuleNotFoundError as exc:
        raise SettingsError("METRICS_PORT needs: pip install 'blueengine[metrics]'") from exc
    return metrics_port(
        instance, settings.metrics_host, settings.metrics_port, lambda: host.attending
    )


async def _warm_up(host: Host, links: Iterable[Link], stop: asyncio.Event) -> bool:
    """Connect and run the init functions; False when the process was told to stop meanwhile."""
    warming = asyncio.create_task(_warm(host, links), name="warm-up")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({warming, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if warming.done():
            await warming
        return not stop.is_set()
    finally:
        await _cancel(warming, stopping)


async def _warm(host: Host, links: Iterable[Link]) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(host.warm_up(), name="init")
            for link in links:
                group.create_task(link.open(), name="connect")
            await asyncio.sleep(0)  # all that others have to do is under way
            spare_what_is_loaded(young=YOUNG)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None  # the first is the reason; the others followed


async def _serve(host: Host, stop: asyncio.Event) -> str:
    """Serve until told to stop, then drain; return why it ended."""
    serving = asyncio.create_task(host.serve(), name="serve")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    draining = None
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            log.info("draining: no new session is taken")
            draining = asyncio.create_task(host.drain(), name="drain")
            done, _ = await asyncio.wait(
                {serving, draining}, timeout=DRAIN_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                return "the engine did not drain in time"
        if serving.done():
            await serving
        if draining is not None:
            await draining
        return "the engine was told to end"
    finally:
        await _cancel(serving, stopping, *([draining] if draining else []))


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _links(settings: SystemSettings, turn: Turn, stack: AsyncExitStack) -> tuple[Link, Link]:
    """Make the shared link and one that blocks on the command stream; they are closed at the end."""
    address, patience = settings.redis, settings.patience_seconds
    scripts = ledger.load(*SCRIPTS)
    shared = Link(address, scripts=scripts, patience=patience, soon=turn.soon)
    commands = Link(address, patience=patience)
    stack.push_async_callback(shared.close)
    stack.push_async_callback(commands.close)
    return shared, commands


def _transport(
    settings: SystemSettings, shared: Link, instance: str, stack: AsyncExitStack
) -> tuple[Transport, list[Link]]:
    """Make the transport: over Kafka when there is one, else over Redis on a link of its own."""
    if settings.kafka:
        try:
            from blueengine.transport.kafka import KafkaTransport
        except ImportError as exc:
            raise SettingsError(
                f"KAFKA_BROKERS is set, but {exc.name} is missing; pip install 'blueengine[kafka]'"
            ) from exc
        kafka = KafkaTransport(settings.kafka, instance, patience=settings.patience_seconds)
        stack.push_async_callback(kafka.close)
        return kafka, []
    inbox = Link(settings.redis, patience=settings.patience_seconds)
    stack.push_async_callback(inbox.close)
    limit = settings.redis_max_message_bytes
    far = RedisStreams(shared, inbox, instance, max_message_bytes=limit)
    if not (settings.local_channels and neighbours.POSSIBLE):
        return far, [inbox]
    # they have this in common, however each of them reaches Redis
    platform = settings.blob_dir or settings.blob_url or str(settings.redis)
    near = neighbours.Neighbours(far, platform, instance, max_message_bytes=limit)
    stack.push_async_callback(near.close)
    return near, [inbox]
