"""Clients that put load on the platform and on Celery."""

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from redis.asyncio import Redis

from bench import cpu
from bench.errors import BenchError
from bench.lean_http import Connection, post
from bench.peers.bare_stage import Frames
from bench.stack import Stack
from blueengine.kit.framing import framed

PAYLOAD: Final = {"text": "x" * 189}
"""200 bytes as JSON."""
CHAIN: Final = ("echo-a", "echo-b", "echo-c")
INLINE: Final = tuple(f"inline-{name}" for name in CHAIN)
"""The same with steps that run inline."""
IN_FLIGHT: Final = 64
WAIT_SECONDS: Final = 30


def one_engine(engine: str = CHAIN[0]) -> bytes:
    """Return the request of a session of one engine."""
    body = {
        "engineId": engine,
        "inputs": {"Control": {"type": "JSON", "payload": PAYLOAD}},
        "outputs": {"Result": {"type": "JSON", "interested": True}},
        "waitTimeSecond": WAIT_SECONDS,
    }
    return post("/api/v1/process-single-engine", msgspec.json.encode(body))


def chain(
    engines: Sequence[str] = CHAIN,
    *,
    payload: Any = None,
    kind: str = "JSON",
    ports: tuple[str, str] = ("Control", "Result"),
    wait: float = WAIT_SECONDS,
) -> bytes:
    """Return the request of a workflow of engines in a row.

    The first engine reads its start data from Control and the last writes JSON to Result; between
    them messages of ``kind`` go from the second of ``ports`` to the first.
    """
    channels = [{"name": "c0", "type": "JSON"}]
    graph = []
    for number, engine in enumerate(engines):
        first, last = number == 0, number == len(engines) - 1
        reads, reads_kind = ("Control", "JSON") if first else (ports[0], kind)
        writes, writes_kind = ("Result", "JSON") if last else (ports[1], kind)
        channels.append({"name": f"c{number + 1}", "type": writes_kind})
        graph.append(
            {
                "id": engine,
                "inputs": [{"name": reads, "type": reads_kind, "linkTo": f"c{number}"}],
                "outputs": [{"name": writes, "type": writes_kind, "linkTo": f"c{number + 1}"}],
            }
        )
    channels[-1]["interested"] = True  # type: ignore[assignment]  # the others hold texts alone
    body = {
        "dataChannels": channels,
        "engines": graph,
        "startData": [{"channelName": "c0", "payload": PAYLOAD if payload is None else payload}],
        "waitTimeSecond": wait,
    }
    return post("/api/v1/process-workflow", msgspec.json.encode(body))


def check(status: int, body: bytes) -> None:
    """See that a session has finished.

    Raises:
        BenchError: It has not.
    """
    if status != 200 or b'"finished"' not in body:
        raise BenchError(f"a session did not finish: {status} {body[:2000].decode()}")


async def latency(stack: Stack, request: bytes, count: int) -> list[float]:
    """Return the seconds each of ``count`` sessions took, one in flight on one connection."""
    connection = await Connection.connect(stack.port)
    taken = []
    try:
        for _ in range(count):
            started = time.perf_counter()
            status, body = await connection.send(request)
            taken.append(time.perf_counter() - started)
            check(status, body)
    finally:
        connection.close()
    return taken


@dataclass(frozen=True)
class Load:
    """What happened while many sessions were in flight."""

    rate: float
    """Sessions a second."""
    cpu: Mapping[str, float]
    """Microseconds of CPU per session and program."""
    busy: float
    """CPUs that were busy with it."""


async def throughput(stack: Stack, request: bytes, seconds: float) -> Load:
    """Keep ``IN_FLIGHT`` sessions under way, each on a connection of its own."""
    connections = [await Connection.connect(stack.port) for _ in range(IN_FLIGHT)]
    done = 0
    until = time.perf_counter() + seconds

    async def lane(connection: Connection) -> None:
        nonlocal done
        while time.perf_counter() < until:
            check(*await connection.send(request))
            done += 1

    try:
        before, started = cpu.used(stack.programs), time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for connection in connections:
                group.create_task(lane(connection))
        took = time.perf_counter() - started
        each = cpu.per_session(before, cpu.used(stack.programs), done)
    except* BenchError as errors:
        raise errors.exceptions[0] from None
    finally:
        for connection in connections:
            connection.close()
    rate = done / took
    return Load(rate, each, sum(each.values()) * rate / 1e6)


async def ping(redis: "Redis", count: int) -> list[float]:
    """Return the seconds each PING of redis-py took, one in flight."""
    taken = []
    task = asyncio.current_task()
    for _ in range(count):
        started = time.perf_counter()
        await redis.ping()
        taken.append(time.perf_counter() - started)
        if task and task.cancelling():  # redis-py may take a cancellation for itself (wait_for)
            raise asyncio.CancelledError
    return taken


class Celery:
    """Celery's client, a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Speak to ``process``."""
        self._process = process

    async def latency(self, length: int, count: int) -> list[float]:
        """Return the seconds each of ``count`` chains of this length took, one in flight."""
        answer = await self._ask({"length": length, "count": count})
        seconds: list[float] = answer["seconds"]
        return seconds

    async def throughput(self, length: int, seconds: float) -> float:
        """Return how many chains a second end with ``IN_FLIGHT`` under way."""
        answer = await self._ask({"length": length, "seconds": seconds, "in_flight": IN_FLIGHT})
        return float(answer["rate"])

    async def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({**order, "payload": PAYLOAD}).encode() + b"\n")
        line = await self._process.stdout.readline()
        if not line:
            raise BenchError("Celery's client ended")
        answer: dict[str, Any] = json.loads(line)
        return answer


@dataclass(frozen=True)
class BareChain:
    """A chain of bare processes."""

    first: asyncio.WriteTransport
    """To its first stage."""
    back: asyncio.Queue[bytes]
    """What its last stage wrote."""

    async def latency(self, count: int, pause: float) -> list[float]:
        """Return the seconds that each of ``count`` messages took through it, with a pause before each.

        Raises:
            BenchError: The last stage writes nothing.
        """
        message, taken = framed(msgspec.json.encode(PAYLOAD)), []
        try:
            async with asyncio.timeout(WAIT_SECONDS + count * pause):
                for _ in range(count):
                    await asyncio.sleep(pause)
                    started = time.perf_counter()
                    self.first.write(message)
                    await self.back.get()
                    taken.append(time.perf_counter() - started)
        except TimeoutError:
            raise BenchError("nothing comes through the chain of bare processes") from None
        return taken


@asynccontextmanager
async def bare_chain(stack: Stack, length: int) -> AsyncIterator[BareChain]:
    """Start a chain of this many bare processes."""
    loop = asyncio.get_running_loop()
    back: asyncio.Queue[bytes] = asyncio.Queue()
    with tempfile.TemporaryDirectory(dir=stack.root) as folder:
        async with AsyncExitStack() as opened:
            following = f"{folder}/end"
            server = await loop.create_unix_server(lambda: Frames(back.put_nowait), following)
            opened.callback(server.close)
            for number in reversed(range(length)):
                own = f"{folder}/{number}"
                process = await stack.pipe("bench.peers.bare_stage", own, following)
                opened.push_async_callback(stack.end, process)
                assert process.stdout is not None
                if await process.stdout.readline() != b"ready\n":
                    raise BenchError("a stage of the bare chain did not start")
                following = own
            first, _ = await loop.create_unix_connection(asyncio.Protocol, following)
            opened.callback(first.close)
            yield BareChain(first, back)


@asynccontextmanager
async def peers(stack: Stack, *, celery: bool) -> AsyncIterator[tuple["Redis", Celery | None]]:
    """Open redis-py's connection to Redis, and Celery's client."""
    async with AsyncExitStack() as opened:
        redis = Redis.from_url(stack.url)
        opened.push_async_callback(redis.aclose)
        peer = None
        if celery:
            process = await stack.pipe("bench.peers.celery_client", CELERY_URL=stack.celery_url)
            opened.push_async_callback(stack.end, process)
            peer = Celery(process)
        yield redis, peer
