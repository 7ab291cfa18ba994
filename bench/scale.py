"""Rates with more of everything: management replicas, pending sessions; and the way up from no engine at all."""

import asyncio
import contextlib
import json
import shutil
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

from apps.local.redis_server import free_port
from apps.sessions.store import SCRIPTS, NewSession, SessionStore
from bench import drive, hooks
from bench.errors import BenchError
from bench.lean_http import Connection, post
from bench.measure import Section, Target
from bench.recovery import ENGINE as BUSY
from bench.recovery import noted
from bench.sessions import Say
from bench.stack import Stack, rewritten
from bench.world import World, a_gateway, a_world, managements
from blueengine import ledger
from blueengine.kit.redis_address import RedisAddress
from blueengine.kit.redis_link import Link
from blueengine.wire import names
from blueengine.wire.plan import Channel, Node, Plan, StartData

NARROW: Final = "narrow"
"""An engine with few slots, so that every session waits for management."""
ABSENT: Final = "absent"
"""An engine nobody runs."""
SLOTS: Final = 8
MANY: Final = 100_000
AT_ONCE: Final = 500
WITHIN: Final = 120.0
FROM_ZERO: Final = Target(1.3, 1.1)


async def run(stack: Stack, *, quick: bool, say: Say) -> Section:
    """Measure all of it, by turns with what it is compared to."""
    section = Section("scale")
    await _replicas(stack, section, rounds=2 if quick else 5, say=say)
    await _pending(stack, section, rounds=3 if quick else 7, say=say)
    await hooks.run(
        stack, section, rounds=2 if quick else 5, events=400 if quick else 1000, say=say
    )
    await _from_zero(stack, section, rounds=3 if quick else 7, say=say)
    return section


# -- management replicas ---------------------------------------------------------------------------


async def _replicas(stack: Stack, section: Section, *, rounds: int, say: Say) -> None:
    """With 64 in flight and 8 slots every session is placed by management."""
    await stack.launch(
        NARROW,
        [str(Path(__file__).parent / "echo" / "engine.py")],
        BENCH_ENGINE=NARROW,
        CONCURRENCY=str(SLOTS),
    )

    async def attends(_: str) -> bool:
        return bool(await stack.link.send("SCARD", names.instances(NARROW)))

    await stack.until(NARROW, attends)
    request = post("/api/v1/process-single-engine", msgspec.json.encode(_body(NARROW, wait=30)))
    found: defaultdict[int, list[float]] = defaultdict(list)
    try:
        await drive.throughput(stack, request, 1.0)
        for number in range(rounds):
            say(f"scale: management replicas, round {number + 1} of {rounds}")
            found[1].append((await drive.throughput(stack, request, 3.0)).rate)
            await stack.launch("management-2", ["-m", "apps.management.main"])
            await stack.until("management-2", _second_watches(stack))
            found[2].append((await drive.throughput(stack, request, 3.0)).rate)
            await stack.stop("management-2")
    finally:
        await stack.stop(NARROW)
    for replicas, rates in found.items():
        words = "1 management replica" if replicas == 1 else f"{replicas} management replicas"
        section.add(f"every session waits, {words}", rates, "sessions/s")
    section.ratio("2 management replicas ÷ 1", found[2], found[1])


def _second_watches(stack: Stack) -> Callable[[str], Awaitable[bool]]:
    async def watches(name: str) -> bool:
        return any("management replica" in line for line in stack.children[name].tail)

    return watches


def _body(engine: str, *, wait: float) -> dict[str, object]:
    return {
        "engineId": engine,
        "inputs": {"Control": {"type": "JSON", "payload": drive.PAYLOAD}},
        "outputs": {"Result": {"type": "JSON", "interested": True}},
        "waitTimeSecond": wait,
    }


# -- pending sessions ------------------------------------------------------------------------------


async def _pending(stack: Stack, section: Section, *, rounds: int, say: Say) -> None:
    """Submit sessions that must wait, by turns where none and where very many wait already."""
    request = post("/api/v1/process-single-engine", json.dumps(_body(ABSENT, wait=0)).encode())
    rates: defaultdict[str, list[float]] = defaultdict(list)
    async with contextlib.AsyncExitStack() as opened:
        few, many = [
            await opened.enter_async_context(a_world(stack, name)) for name in ("few", "many")
        ]
        for world in (few, many):
            await opened.enter_async_context(managements(stack, world, 1))
            await opened.enter_async_context(a_gateway(stack, world))
        say(f"scale: making {MANY:,} pending sessions")
        await _fill(many.store, MANY)
        await rewritten(many.link)
        for number in range(rounds):
            say(f"scale: pending sessions, round {number + 1} of {rounds}")
            for world in (few, many):
                rates[world.name].append(await _submit_rate(world.port, request))
            await _end_all(few)
    section.add("submits, few pending", rates["few"], "sessions/s")
    section.add(f"submits, {MANY:,} pending", rates["many"], "sessions/s")
    section.ratio("submits, many pending ÷ few", rates["many"], rates["few"])


async def _submit_rate(port: int, request: bytes, *, seconds: float = 2.0) -> float:
    connections = [await Connection.connect(port) for _ in range(drive.IN_FLIGHT)]
    done, until = 0, time.perf_counter() + seconds

    async def lane(connection: Connection) -> None:
        nonlocal done
        while time.perf_counter() < until:
            status, body = await connection.send(request)
            if status != 202:
                raise BenchError(f"a submit was answered {status}: {body.decode()}")
            done += 1

    began = time.perf_counter()
    try:
        await asyncio.gather(*map(lane, connections))
    finally:
        for connection in connections:
            connection.close()
    return done / (time.perf_counter() - began)


async def _fill(store: SessionStore, many: int) -> None:
    plan = Plan(
        nodes={"n": Node(ABSENT, {"Control": "In"}, {"Result": "Out"})},
        channels={"In": Channel("JSON"), "Out": Channel("JSON", stored=True)},
        fed=("In",),
    )
    for at in range(0, many, AT_ONCE):
        await asyncio.gather(
            *[
                store.submit(
                    NewSession(
                        session=f"session-pending-0-{n}",
                        plan=plan,
                        kind="process-single-engine",
                        rank=0,
                        start_data=StartData(()),
                    ),
                    specs_version=-1,
                    gateway="",
                )
                for n in range(at, at + AT_ONCE)
            ]
        )


async def _end_all(world: World) -> None:
    while ids := await world.link.send("ZRANGE", names.status("pending"), 0, AT_ONCE - 1):
        sessions = [word.decode() for word in ids]
        await asyncio.gather(*[world.store.stop(one, "the benchmark is over") for one in sessions])
        await asyncio.gather(*[world.store.forget(session) for session in sessions])


# -- from zero -------------------------------------------------------------------------------------


async def _from_zero(stack: Stack, section: Section, *, rounds: int, say: Say) -> None:
    """POST to a platform with no engine running, beside a bare start of the same engine."""
    root, port = stack.root / "zero", free_port()
    folder, notes = root / "busy", root / "notes"
    shutil.copytree(BUSY.parent, folder)
    environment = {"BENCH_NOTES": str(notes)}
    options = ["--port", str(port), "--data", str(root / "data"), "--engines", f"none,{folder}"]
    await stack.launch(
        "up",
        ["-m", "blueengine.cli.main", "up", *options, "--cooldown", "0.5", "--max-instances", "1"],
        **environment,
        REDIS_URL="",
        BLOB_DIR="",
        RESTFUL_PORT="",
    )
    found: defaultdict[str, list[float]] = defaultdict(list)
    try:
        await stack.until("up", lambda _: _answers(port))
        for number in range(rounds):
            say(f"scale: from zero, round {number + 1} of {rounds}")
            found["bare"].append(await _bare_start(stack, notes))
            found["zero"].append(await _first_call(port, notes))
    finally:
        await stack.stop("up")
    section.add(
        "POST → first process_func call, from no instance", [1e3 * t for t in found["zero"]], "ms"
    )
    section.add(
        "bare start of the same engine, to its first call", [1e3 * t for t in found["bare"]], "ms"
    )
    section.ratio("from zero ÷ bare start", found["zero"], found["bare"], FROM_ZERO)


async def _answers(port: int) -> bool:
    with contextlib.suppress(OSError, TimeoutError, BenchError):
        async with asyncio.timeout(2):
            connection = await Connection.connect(port)
            try:
                body = json.dumps({"engines": [{"id": "busy"}]}).encode()
                status, _ = await connection.send(
                    post("/api/v1/process-workflow?dryRun=true", body)
                )
            finally:
                connection.close()
            return status == 200
    return False


async def _first_call(port: int, notes: Path) -> float:
    """POST when nothing runs; the seconds until process_func was called."""
    async with asyncio.timeout(WITHIN):
        while True:
            if not await _instances(port):
                break
            await asyncio.sleep(0.05)
        body = json.dumps(
            {
                "engineId": "busy",
                "inputs": {"Control": {"type": "JSON", "payload": {"seconds": 0}}},
                "waitTimeSecond": 60,
            }
        ).encode()
        connection = await Connection.connect(port)
        began = _now()
        try:
            status, answer = await connection.send(post("/api/v1/process-single-engine", body))
        finally:
            connection.close()
        if status != 200:
            raise BenchError(f"it was answered {status}: {answer.decode()}")
    return noted(notes, "called", json.loads(answer)["data"]["sessionId"]) - began


async def _instances(port: int) -> int:
    """Return how many instances of the engine attend, as the platform tells it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(
            b"GET /api/v1/engines/busy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        answer = await reader.read()
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    if b" 200 " not in head.splitlines()[0]:
        return 0
    return int(json.loads(body)["data"]["instances"])


async def _bare_start(stack: Stack, notes: Path) -> float:
    """Start the engine as one would by hand, with a session waiting for it; seconds until it is called."""
    link = Link(RedisAddress.from_url(stack.url), scripts=ledger.load(*SCRIPTS))
    await link.open()
    body = json.dumps(
        {"engineId": "busy", "inputs": {"Control": {"type": "JSON", "payload": {"seconds": 0}}}}
    ).encode()
    connection = await Connection.connect(stack.port)
    try:
        status, answer = await connection.send(post("/api/v1/process-single-engine", body))
        if status != 202:
            raise BenchError(f"it was answered {status}: {answer.decode()}")
        session = json.loads(answer)["data"]["sessionId"]
        began = _now()
        await stack.launch("bare", [str(BUSY)], BENCH_NOTES=str(notes))
        async with asyncio.timeout(WITHIN):
            while True:
                if await link.send("HGET", names.session(session), "st") == b"finished":
                    break
                await asyncio.sleep(0.005)
        await stack.stop("bare")
        return noted(notes, "called", session) - began
    finally:
        connection.close()
        await link.close()


def _now() -> float:
    return time.time_ns() / 1e9
