"""The gateway beside its hot path: clients that wait, clients that follow, many stored sessions."""

import asyncio
import contextlib
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from apps.local.redis_server import free_port
from apps.restful.api import body, convert, schemas
from apps.restful.service.orders import KnownOrder, Orders
from apps.restful.service.shapes import Shapes
from apps.restful.service.submit import WORKFLOW
from apps.sessions.store import NewSession, SessionStore
from bench import drive
from bench.errors import BenchError
from bench.lean_http import Connection, post
from bench.measure import Section, Target, p50, p99
from bench.sessions import Say
from bench.stack import Stack, rewritten
from bench.world import a_gateway, a_world
from blueengine import ledger
from blueengine.kit.redis_address import RedisAddress
from blueengine.kit.redis_link import Link
from blueengine.ledger import keys
from blueengine.wire.access import Scope
from blueengine.wire.plan import Channel, Node, Plan, StartData

CLIENTS: Final = 1000
FEW: Final = 100
MANY: Final = 100_000
QUICK_MANY: Final = 20_000
READS: Final = 2000
AT_ONCE: Final = 500
ABSENT: Final = "bench-absent"
"""An engine nobody runs, so that its sessions wait."""
GROWTH: Final = Target(1.5, 1.2)
WITHIN: Final = 120.0


def request() -> bytes:
    """Return a workflow of 2.3 KB as JSON."""
    engines = [
        {
            "id": "echo-a",
            "name": f"node-{at}",
            "inputs": [{"name": "Control", "type": "JSON", "linkTo": f"channel-{at}"}],
            "outputs": [{"name": "Result", "type": "JSON", "linkTo": f"channel-{at + 1}"}],
        }
        for at in range(8)
    ]
    value = {
        "dataChannels": [{"name": f"channel-{at}", "type": "JSON"} for at in range(9)],
        "engines": engines,
        "startData": [{"channelName": "channel-0", "payload": {"text": "x" * 390}}],
        "labels": {"team": "imaging"},
        "waitTimeSecond": 10,
    }
    return json.dumps(value).encode()


async def run(stack: Stack, *, quick: bool, say: Say) -> Section:
    """Measure everything of the door once, and reading in rounds."""
    section = Section("door")
    _validation(section)
    await _with_keys(stack, section, quick=quick, say=say)
    say("door: clients that wait, clients that follow")
    await _held(stack, section)
    say("door: reading among many sessions")
    await _reading(stack, section, QUICK_MANY if quick else MANY, rounds=3 if quick else 5)
    section.notes.append(
        f"{CLIENTS} clients at once on one worker; memory is what its RSS grew by, sockets' buffers"
        " in the kernel not counted"
    )
    return section


# ---- validation ----------------------------------------------------------------------------------


def _validation(section: Section) -> None:
    raw = request()

    def parse() -> object:
        return body.parse(raw)

    def whole() -> object:
        value = body.parse(raw)
        bare, payloads = convert.apart("startData", value)
        asked = body.validate(schemas.WorkflowRequest, bare)
        order = convert.workflow(asked, Shapes().add(b"", convert.shape(asked)))
        return KnownOrder(order).check(payloads, {}, 0)

    orders = Orders()
    asked = body.validate(schemas.WorkflowRequest, body.parse(raw))
    order = convert.workflow(asked, Shapes().add(b"", convert.shape(asked)))

    def again() -> object:
        """Do what a gateway does for a request it has seen before, the payloads being others."""
        bare, payloads = convert.apart("startData", body.parse(raw))
        key = orders.key(WORKFLOW, bare)
        known = orders.find(key) or orders.add(key, order)
        return known.check(payloads, {}, 0)

    size = f"{len(raw) / 1000:.1f} KB"
    section.add(f"POST {size}: strict JSON", _micros(parse), "µs")
    section.add(f"POST {size}: JSON, model, graph", _micros(whole), "µs")
    section.add(f"POST {size}: of a request seen before", _micros(again), "µs")
    section.notes.append("POST: CPU time of checking a request, not of the exchange")


def _micros(work: Callable[[], object], *, rounds: int = 7, times: int = 300) -> list[float]:
    taken = []
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(times):
            work()
        taken.append((time.process_time() - began) / times * 1e6)
    return taken


# ---- keys ----------------------------------------------------------------------------------------


async def _with_keys(stack: Stack, section: Section, *, quick: bool, say: Say) -> None:
    """Measure sessions at a gateway that needs keys and writes an audit log, beside the open one."""
    rounds, count, pings, seconds = (3, 100, 300, 1.0) if quick else (7, 300, 1000, 3.0)
    port = free_port()
    name = "gateway with keys"
    await stack.launch(
        name,
        ["-m", "apps.restful.main"],
        RESTFUL_PORT=str(port),
        RESTFUL_AUTH="on",
        RESTFUL_AUDIT_LOG=str(stack.root / "audit.log"),
    )
    closed = replace(stack, port=port)
    await stack.until(name, closed.gateway_answers)
    link = Link(RedisAddress.from_url(stack.url), scripts=ledger.load(*keys.SCRIPTS))
    await link.open()
    try:
        scopes = {Scope.SUBMIT, Scope.READ}
        _, key = await keys.KeyStore(link, os.urandom).create(tenant="bench", scopes=scopes)
    finally:
        await link.close()
    found: defaultdict[str, list[float]] = defaultdict(list)
    requests = {"1 engine": drive.one_engine(), "chain of 3": drive.chain()}
    async with drive.peers(stack, celery=False) as (redis, _):
        for number in range(-1, rounds):
            if number >= 0:
                say(f"door: keys, round {number + 1} of {rounds}")
            found["PING"].append(p50(await drive.ping(redis, pings)))
            for what, request in requests.items():
                for door, where, sent in (
                    ("open", stack, request),
                    ("keys", closed, _signed(request, key)),
                ):
                    taken = await drive.latency(where, sent, count)
                    load = await drive.throughput(where, sent, seconds)
                    found[f"{what} {door} p50"].append(p50(taken))
                    found[f"{what} {door} p99"].append(p99(taken))
                    found[f"{what} {door} rate"].append(load.rate)
            if number < 0:
                found.clear()  # the first one was to warm up
    await stack.stop(name)
    for what in requests:
        mine, theirs = f"{what} keys", f"{what} open"
        section.add(f"{what}, keys on: p50", [1e3 * t for t in found[f"{mine} p50"]], "ms")
        section.add(f"{what}, keys on: p99", [1e3 * t for t in found[f"{mine} p99"]], "ms")
        rate = f"{what}, keys on: {drive.IN_FLIGHT} in flight"
        section.add(rate, found[f"{mine} rate"], "sessions/s")
        section.ratio(f"{what}: p50, keys on ÷ off", found[f"{mine} p50"], found[f"{theirs} p50"])
        section.ratio(
            f"{what}: sessions/s, keys on ÷ off", found[f"{mine} rate"], found[f"{theirs} rate"]
        )
    section.ratio(
        "1 engine p50, keys on ÷ PING", found["1 engine keys p50"], found["PING"], Target(19, 13)
    )


def _signed(request: bytes, key: str) -> bytes:
    """Return a request with an API key."""
    return request.replace(b"\r\n", f"\r\nAuthorization: Bearer {key}\r\n".encode(), 1)


# ---- clients that are held -----------------------------------------------------------------------


def _rss(pid: int) -> float:
    """Return a process's resident memory in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return float(line.split()[1])
    raise BenchError(f"process {pid} is gone")


def _waiting(stack: Stack, wait: float) -> bytes:
    value = {
        "engineId": ABSENT,
        "inputs": {"Control": {"type": "JSON", "payload": 1}},
        "outputs": {"Result": {"type": "JSON", "interested": True}},
        "waitTimeSecond": wait,
    }
    return post("/api/v1/process-single-engine", json.dumps(value).encode())


async def _held(stack: Stack, section: Section) -> None:
    pid = stack.children["gateway"].pid
    async with asyncio.timeout(WITHIN):
        await _warm(stack)
        idle = _rss(pid)
        connections = [await Connection.connect(stack.port) for _ in range(CLIENTS)]
        waiting = [asyncio.ensure_future(c.send(_waiting(stack, 60))) for c in connections]
        await _until_held(stack, CLIENTS)
        waited = _rss(pid)
        section.add("a waiting client: memory", [(waited - idle) / CLIENTS], "KiB")
        sessions = await _ids(stack)
        followers = [await _follow(stack, session) for session in sessions]
        await _until_held(stack, 2 * CLIENTS)
        section.add("an event stream: memory", [(_rss(pid) - waited) / CLIENTS], "KiB")
        began = time.perf_counter()
        await asyncio.gather(*[_stop(stack, some) for some in _split(sessions, 8)])
        answers = await asyncio.gather(*waiting)
        if {status for status, _ in answers} != {200}:
            raise BenchError("a client that waited was not answered")
        ends = await asyncio.gather(*[reader.read() for reader, _ in followers])
        if not all(b"canceled" in end for end in ends):
            raise BenchError("a stream did not tell the end")
        section.add(
            f"{CLIENTS} sessions stopped, all waiting and following told",
            [time.perf_counter() - began],
            "s",
        )
        for connection in connections:
            connection.close()
        for _, writer in followers:
            writer.close()


async def _warm(stack: Stack) -> None:
    """Have the gateway load what it loads at its first requests."""
    connection = await Connection.connect(stack.port)
    _, answer = await connection.send(_waiting(stack, 0))
    session = json.loads(answer)["data"]["sessionId"]
    reader, writer = await _follow(stack, session)
    await connection.send(post(f"/api/v1/sessions/{session}/stop", b""))
    await reader.read()
    writer.close()
    connection.close()


async def _until_held(stack: Stack, count: int) -> None:
    connection = await Connection.connect(stack.port)
    while True:
        _, answer = await connection.send(_get("/api/v1/stats"))
        if json.loads(answer)["data"]["waitingRequests"] >= count:
            break
        await asyncio.sleep(0.05)
    connection.close()


async def _ids(stack: Stack) -> list[str]:
    """Return the sessions that wait for the absent engine."""
    connection = await Connection.connect(stack.port)
    found: list[str] = []
    cursor = ""
    while True:
        path = f"/api/v1/sessions?status=pending&limit=500&cursor={cursor}"
        _, answer = await connection.send(_get(path))
        page = json.loads(answer)["data"]
        found += [row["sessionId"] for row in page["sessions"]]
        cursor = page["cursor"]
        if not cursor:
            connection.close()
            return found


async def _follow(stack: Stack, session: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.port)
    writer.write(
        f"GET /api/v1/sessions/{session}/events HTTP/1.1\r\nHost: localhost\r\n"
        "Connection: close\r\n\r\n".encode()
    )
    return reader, writer


async def _stop(stack: Stack, sessions: Sequence[str]) -> None:
    connection = await Connection.connect(stack.port)
    for session in sessions:
        await connection.send(post(f"/api/v1/sessions/{session}/stop", b""))
    connection.close()


def _split(items: Sequence[str], parts: int) -> list[Sequence[str]]:
    return [items[at::parts] for at in range(parts)]


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


# ---- reading among many --------------------------------------------------------------------------


async def _reading(stack: Stack, section: Section, many: int, *, rounds: int) -> None:
    """Read sessions by turns where few and where very many are stored."""
    worlds = {FEW: "few-stored", many: "many-stored"}
    taken: defaultdict[int, list[list[float]]] = defaultdict(list)
    async with contextlib.AsyncExitStack() as opened:
        stored = {}
        for count, name in worlds.items():
            world = await opened.enter_async_context(a_world(stack, name))
            await opened.enter_async_context(a_gateway(stack, world))
            stored[count] = world.port, await _store_ended(world.store, count)
            await rewritten(world.link)
        for port, sessions in stored.values():
            await _read(port, sessions)  # the first reads find a cold gateway
        for _ in range(rounds):
            for count, (port, sessions) in stored.items():
                taken[count].append(await _read(port, sessions))
    for count, rows in taken.items():
        section.add(f"GET session among {count:,}: p50", [p50(row) * 1000 for row in rows], "ms")
        section.add(f"GET session among {count:,}: p99", [p99(row) * 1000 for row in rows], "ms")
    for what, of, target in (("p50", p50, None), ("p99", p99, GROWTH)):
        section.ratio(
            f"GET session: {what} among {many:,} ÷ among {FEW}",
            [of(row) for row in taken[many]],
            [of(row) for row in taken[FEW]],
            target,
        )


async def _store_ended(store: SessionStore, count: int) -> list[str]:
    """Store sessions that have ended."""
    sessions = [f"session-process-workflow-0-1700000000.0-bench{n:021d}" for n in range(count)]
    for at in range(0, len(sessions), AT_ONCE):
        some = sessions[at : at + AT_ONCE]
        await asyncio.gather(*[store.submit(_ended(s), specs_version=-1, gateway="") for s in some])
        await asyncio.gather(*[store.stop(session, "for the benchmark") for session in some])
    return sessions


def _ended(session: str) -> NewSession:
    plan = Plan(
        nodes={
            f"node-{at}": Node(ABSENT, {"Control": f"c{at}"}, {"Result": f"c{at + 1}"})
            for at in range(3)
        },
        channels={f"c{at}": Channel("JSON", at == 3) for at in range(4)},
    )
    return NewSession(
        session=session, plan=plan, kind="process-workflow", rank=0, start_data=StartData(())
    )


async def _read(port: int, sessions: Sequence[str]) -> list[float]:
    """Read sessions all over the list, one after the other; seconds each."""
    connection = await Connection.connect(port)
    taken = []
    for number in range(READS):
        path = f"/api/v1/sessions/{sessions[number * 7919 % len(sessions)]}"
        began = time.perf_counter()
        status, _ = await connection.send(_get(path))
        taken.append(time.perf_counter() - began)
        if status != 200:
            raise BenchError(f"GET {path} answered {status}")
    connection.close()
    return taken
