"""The platform as ``blueengine up`` and a user start it, and Celery beside it."""

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from apps.local import redis_server
from apps.local.processes import Child, Program, all_of, describe_exit, start
from bench.errors import BenchError
from blueengine import ledger
from blueengine.kit.redis_address import RedisAddress
from blueengine.kit.redis_link import Link
from blueengine.wire import names

ENGINE: Final = Path(__file__).parent / "echo" / "engine.py"
READY_SECONDS: Final = 30.0
GRACE_SECONDS: Final = 5.0
REWRITE_SECONDS: Final = 120.0
CELERY_DB: Final = 1
LINE_BYTES: Final = 64 << 20
"""The longest line a piped program may write."""

Process = asyncio.subprocess.Process


@dataclass
class Stack:
    """What runs."""

    root: Path
    redis: redis_server.RedisServer
    port: int
    """Of the gateway."""
    link: Link
    """For what the benchmarks ask Redis themselves."""
    scripts: Mapping[str, str]
    """Names of the ledger's scripts by digest, as they were when the platform started."""
    children: dict[str, Child] = field(default_factory=dict)
    channels: Mapping[str, str] = field(default_factory=dict)
    """Where Kafka is, for engines started from now on; nothing: data goes over Redis."""

    @property
    def url(self) -> str:
        """Where Redis is."""
        return self.redis.url

    @property
    def celery_url(self) -> str:
        """Celery's part of the same Redis."""
        return f"{self.redis.url.removesuffix('/0')}/{CELERY_DB}"

    @property
    def environment(self) -> dict[str, str]:
        """What services and engines are told."""
        return {
            "REDIS_URL": self.redis.near_url,
            "BLOB_DIR": str(self.root / "blobs"),
            "RESTFUL_HOST": "127.0.0.1",
            "RESTFUL_PORT": str(self.port),
            "KAFKA_BROKERS": "",
            **self.channels,
        }

    @property
    def programs(self) -> dict[str, int]:
        """Process ids by name; ``client`` is this process."""
        pids = {name: child.pid for name, child in self.children.items()}
        return {"client": os.getpid(), "redis": self.redis.pid, **pids}

    async def launch(self, name: str, argv: Sequence[str], **environment: str) -> Child:
        """Start a program; it is stopped with the stack."""
        program = Program(
            name=name,
            argv=[sys.executable, *argv],
            environment={**self.environment, **environment},
        )
        child = self.children[name] = await start(program, logs=self.root / "logs")
        return child

    async def start_engines(self, engines: Sequence[str]) -> None:
        """Start one process of each engine and wait until all attend."""
        for name in engines:
            await self.launch(name, [str(ENGINE)], BENCH_ENGINE=name)
        for name in engines:
            await self.until(name, self.attends)

    async def stop(self, *which: str) -> None:
        """Stop these programs; all when none is named. Engines go before services."""
        chosen = list(which) or [*reversed(self.children)]
        await all_of([self.children.pop(name).stop(grace=GRACE_SECONDS) for name in chosen])

    async def until(self, name: str, ready: Callable[[str], Awaitable[bool]]) -> None:
        """Wait until a program is ready.

        Raises:
            BenchError: It ended, or is not ready in time.
        """
        child = self.children[name]
        try:
            async with asyncio.timeout(READY_SECONDS):
                while not await ready(name):
                    if child.exit_code is not None:
                        code = describe_exit(await child.wait())
                        raise BenchError("\n".join([f"{name} {code}:", *child.tail]))
                    await asyncio.sleep(0.02)
        except TimeoutError:
            text = "\n".join([f"{name} is not ready in time:", *child.tail])
            raise BenchError(text) from None

    async def pipe(self, module: str, *arguments: str, **environment: str) -> Process:
        """Start a module that is spoken to over stdin and stdout; ``end`` it."""
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *arguments,
            env={**os.environ, **self.environment, **environment},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES,
            start_new_session=True,  # Ctrl-C is for the benchmark to act on
        )

    async def end(self, process: Process) -> None:
        """End what ``pipe`` started: first by closing its stdin, which ends it in order."""
        if process.stdin:
            process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 1.0)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    def check(self) -> None:
        """See that everything still runs.

        Raises:
            BenchError: Something ended.
        """
        for name, child in self.children.items():
            if child.exit_code is not None:
                what = f"{name} {describe_exit(child.exit_code)}:"
                raise BenchError("\n".join([what, *child.tail]))

    async def attends(self, engine: str) -> bool:
        """Whether an instance of an engine attends."""
        return bool(await self.link.send("SCARD", names.instances(engine)))

    async def gateway_answers(self, _name: str) -> bool:
        """Whether the gateway says that it is ready."""
        return await is_ready(self.port)


async def rewritten(link: Link) -> None:
    """Wait until Redis is done with its append-only file.

    A process of its own writes what it holds anew whenever it has doubled, and takes CPU for it as long.

    Raises:
        TimeoutError: It is at it for too long.
    """
    async with asyncio.timeout(REWRITE_SECONDS):
        while b"aof_rewrite_in_progress:1" in await link.send("INFO", "persistence"):  # noqa: ASYNC110 - Redis tells nobody when it is done
            await asyncio.sleep(0.05)


async def is_ready(port: int) -> bool:
    """Whether a gateway says that it is ready."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    status = await reader.readline()
    writer.close()
    return b" 200 " in status


@contextlib.asynccontextmanager
async def running(engines: Sequence[str]) -> AsyncIterator[Stack]:
    """Start Redis, gateway, management and these engines; all is stopped and removed at the end."""
    root = Path(tempfile.mkdtemp(prefix="blueengine-bench-"))
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        redis = await redis_server.run(root / "redis", logs=root / "logs", notice=tell)
        stack.push_async_callback(redis.stop)
        link = Link(RedisAddress.from_url(redis.url))
        await link.open()
        stack.push_async_callback(link.close)
        scripts = {script.sha: script.name for script in ledger.load().values()}
        parts = Stack(root, redis, redis_server.free_port(), link, scripts)
        stack.push_async_callback(parts.stop)
        await parts.launch("management", ["-m", "apps.management.main"])
        await parts.launch("gateway", ["-m", "apps.restful.main"])
        await parts.start_engines(engines)
        await parts.until("gateway", parts.gateway_answers)
        yield parts


@contextlib.asynccontextmanager
async def celery_beside(stack: Stack) -> AsyncIterator[bool]:
    """Start a Celery worker on the same Redis; False when Celery is not installed."""
    if find_spec("celery") is None:
        yield False
        return
    worker = ["-m", "celery", "--quiet", "-A", "bench.peers.celery_app", "worker"]
    options = ["--pool=prefork", "--concurrency=2", "--loglevel=WARNING"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    await stack.launch("celery", [*worker, *options, *quiet], CELERY_URL=stack.celery_url)
    try:
        yield True
    finally:
        await stack.stop("celery")


def tell(text: str) -> None:
    """Write a line for whoever watches."""
    sys.stderr.write(f"{text}\n")
