"""How long it takes until work goes on after something was killed, and until a stop is obeyed.

Everything is killed with ``kill -9`` while it is in use. What a supervisor starts again (gateway,
management, Redis) is started as ``blueengine up`` does it: its delay and the start are part of the time.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from apps.local.processes import Kept, Program
from bench import drive
from bench.errors import BenchError
from bench.lean_http import Connection, post
from bench.measure import Section, Target
from bench.sessions import Say
from bench.stack import Stack
from blueengine.wire import names
from tests.kit.kafka import RealKafka, why_not

ENGINE: Final = Path(__file__).parent / "busy" / "engine.py"
ID: Final = "busy"
WITHIN: Final = 60.0
STOP: Final = Target(1, 0.3)
DEATH: Final = Target(10, 5)
JVM: Final = ("-Xms256m", "-Xmx256m", "-XX:+UseSerialGC")

Found = defaultdict[str, list[float]]
T = TypeVar("T")


async def run(stack: Stack, *, quick: bool, say: Say) -> Section:
    """Kill one after the other, in rounds."""
    rounds = 3 if quick else 10
    found: Found = defaultdict(list)
    section = Section("recovery")
    notes = stack.root / "notes"
    await _start_busy(stack, notes, "busy-1", "busy-2")
    services = {
        "gateway": ["-m", "apps.restful.main"],
        "management": ["-m", "apps.management.main"],
    }
    async with contextlib.AsyncExitStack() as kept_up:
        kept = {
            name: await kept_up.enter_async_context(_kept(stack, name, argv))
            for name, argv in services.items()
        }
        for number in range(rounds):
            say(f"recovery: round {number + 1} of {rounds}")
            for _ in range(5):
                found["stop"].append(await _stop(stack, notes))
            found["worker"].append(await _worker_killed(stack, notes))
            found["engine"].append(await _engine_killed(stack, notes, attempts=1))
            found["engine, retry"].append(await _engine_killed(stack, notes, attempts=2))
            found["management"].append(await _management_killed(stack, kept["management"]))
            found["gateway"].append(await _killed(stack, kept["gateway"]))
            found["redis"].append(await _redis_killed(stack))
    await stack.stop("busy-1", "busy-2")
    await _brokers(stack, section, found, rounds=rounds, say=say)
    _report(section, found)
    return section


def _report(section: Section, found: Found) -> None:
    for key, words, target in (
        ("stop", "stop → stop_func called, busy engine", STOP),
        ("engine", "engine killed → session ended (failed)", DEATH),
        ("engine, retry", "engine killed → session finished elsewhere", None),
        ("worker", "worker killed → session finished in a new attempt", None),
        ("management", "management killed → a session that waits is placed and ends", None),
        ("gateway", "gateway killed → the next session finished", None),
        ("redis", "Redis killed → the next session finished", None),
        ("broker", "Kafka broker killed → the next chain of 3 finished", None),
    ):
        if taken := found.get(key):
            section.add(f"{words}, p50", taken, "s", target)
            section.add(f"{words}, max", [max(taken)], "s", target)


# -- the kinds of kill -----------------------------------------------------------------------------


async def _stop(stack: Stack, notes: Path) -> float:
    session = await _submit(stack, {})
    await _noted(notes, "called", session)
    began = _now()
    await _post(stack, f"/api/v1/sessions/{session}/stop", {})
    took = await _noted(notes, "stopped", session) - began
    await _until_ended(stack, session)
    return took


async def _engine_killed(stack: Stack, notes: Path, *, attempts: int) -> float:
    session = await _submit(stack, {"seconds": 0.5 if attempts > 1 else 3600}, attempts=attempts)
    await _noted(notes, "called", session)
    instance = await _instance(stack, session)
    pid = int(await stack.link.send("HGET", names.instance(instance), "pid"))
    name = next(name for name, child in stack.children.items() if child.pid == pid)
    began = _now()
    os.kill(pid, signal.SIGKILL)
    status = await _until_ended(stack, session)
    took = _now() - began
    _expect(status, "finished" if attempts > 1 else "failed")
    await stack.stop(name)
    await _start_busy(stack, notes, name)
    return took


async def _worker_killed(stack: Stack, notes: Path) -> float:
    session = await _submit(stack, {"seconds": 0.2}, attempts=2)
    await _noted(notes, "called", session)
    instance = await _instance(stack, session)
    pid = int(await stack.link.send("HGET", names.instance(instance), "pid"))
    children = _children(pid)
    began = _now()
    for child in children:
        os.kill(child, signal.SIGKILL)
    _expect(await _until_ended(stack, session), "finished")
    return _now() - began


async def _management_killed(stack: Stack, kept: Kept) -> float:
    """Fill every slot, let one more wait, and free a slot when management is dead."""
    slots = int(await stack.link.send("HGET", names.engine(ID), "concurrency")) * 2
    running = [await _submit(stack, {}) for _ in range(slots)]
    waiting = await _submit(stack, {"seconds": 0})
    _expect(await _status(stack, waiting), "pending")
    began = _now()
    _kill(kept)
    await _post(stack, f"/api/v1/sessions/{running.pop()}/stop", {})
    await _until_ended(stack, waiting)
    took = _now() - began
    for session in running:
        await _post(stack, f"/api/v1/sessions/{session}/stop", {})
    for session in running:
        await _until_ended(stack, session)
    return took


async def _killed(stack: Stack, kept: Kept) -> float:
    began = _now()
    _kill(kept)
    await _until_answered(stack, drive.one_engine())
    return _now() - began


async def _redis_killed(stack: Stack) -> float:
    began = _now()
    os.kill(stack.redis.pid, signal.SIGKILL)
    await _until_answered(stack, drive.one_engine())
    return _now() - began


async def _brokers(stack: Stack, section: Section, found: Found, *, rounds: int, say: Say) -> None:
    if missing := why_not():
        section.notes.append(f"Kafka was not measured: {missing}")
        return
    say("recovery: a broker")
    kafka = RealKafka(jvm=JVM)
    await asyncio.to_thread(kafka.start)
    await stack.stop(*drive.CHAIN)
    stack.channels = {"KAFKA_BROKERS": kafka.bootstrap, "KAFKA_TOPIC_PREFIX": "bench"}
    try:
        await stack.start_engines(drive.CHAIN)
        for _ in range(rounds):
            await _until_answered(stack, drive.chain())
            began = _now()
            await asyncio.to_thread(kafka.restart, hard=True)
            await _until_answered(stack, drive.chain())
            found["broker"].append(_now() - began)
    finally:
        await stack.stop(*(name for name in drive.CHAIN if name in stack.children))
        stack.channels = {}
        await asyncio.to_thread(kafka.stop)
        await stack.start_engines(drive.CHAIN)


# -- helpers ---------------------------------------------------------------------------------------


async def _start_busy(stack: Stack, notes: Path, *which: str) -> None:
    before = int(await stack.link.send("SCARD", names.instances(ID)))
    for name in which:
        await stack.launch(name, [str(ENGINE)], BENCH_NOTES=str(notes))

    async def attend(_: str) -> bool:
        return int(await stack.link.send("SCARD", names.instances(ID))) >= before + len(which)

    await stack.until(which[-1], attend)


@contextlib.asynccontextmanager
async def _kept(stack: Stack, name: str, argv: list[str]) -> AsyncIterator[Kept]:
    """Have a service of the stack started again when it ends, as ``blueengine up`` does."""
    await stack.stop(name)
    program = Program(name=name, argv=[sys.executable, *argv], environment=stack.environment)
    kept = Kept(program, logs=stack.root / "logs", notice=_quiet, healthy_after=0)
    await kept.start()
    try:
        await _within(lambda: stack.gateway_answers(name), "the gateway answers")
        yield kept
    finally:
        await kept.stop(grace=5)
        await stack.launch(name, argv)


def _quiet(_: str) -> None:
    """Say nothing: the benchmark killed it itself."""


def _kill(kept: Kept) -> None:
    if kept.child is None:
        raise BenchError(f"{kept.program.name} does not run")
    os.kill(kept.child.pid, signal.SIGKILL)


async def _submit(stack: Stack, order: dict[str, Any], *, attempts: int = 1) -> str:
    body = {
        "engineId": ID,
        "inputs": {"Control": {"type": "JSON", "payload": order}},
        "outputs": {"Result": {"type": "JSON", "interested": True}},
        "retry": {"maxAttempts": attempts},
    }
    answer = await _post(stack, "/api/v1/process-single-engine", body)
    return str(answer["data"]["sessionId"])


async def _post(stack: Stack, path: str, body: dict[str, Any]) -> Any:
    connection = await Connection.connect(stack.port)
    try:
        status, answer = await connection.send(post(path, json.dumps(body).encode()))
    finally:
        connection.close()
    if status not in {200, 202}:
        raise BenchError(f"{path} was answered {status}: {answer.decode()}")
    return json.loads(answer)


async def _until_answered(stack: Stack, request: bytes) -> None:
    """Send a request again and again until the session it makes has finished."""

    async def finished() -> bool:
        try:
            connection = await Connection.connect(stack.port)
        except OSError:
            return False
        try:
            async with asyncio.timeout(WITHIN):
                status, answer = await connection.send(request)
        except (BenchError, TimeoutError):
            return False
        finally:
            connection.close()
        return status == 200 and json.loads(answer)["data"]["process"]["status"] == "finished"

    await _within(finished, "a session finishes")


async def _status(stack: Stack, session: str) -> str:
    return str((await stack.link.send("HGET", names.session(session), "st") or b"").decode())


async def _instance(stack: Stack, session: str) -> str:
    fields = await stack.link.send("HGETALL", names.session(session))
    record = dict(zip(fields[::2], fields[1::2], strict=True))
    return str(next(v for k, v in record.items() if k.endswith(b":in")).decode())


async def _until_ended(stack: Stack, session: str) -> str:
    async def ended() -> str:
        status = await _status(stack, session)
        return status if status in {"finished", "failed", "canceled"} else ""

    return await _within(ended, f"{session} ends")


async def _noted(notes: Path, what: str, session: str) -> float:
    async def found() -> float:
        return noted(notes, what, session)

    return await _within(found, f"{session} is {what}")


def noted(notes: Path, what: str, session: str) -> float:
    """Return when the engine noted this of a session; 0 when it did not yet."""
    for line in notes.read_text().splitlines() if notes.exists() else ():
        if line.startswith(f"{what} {session} "):
            return float(line.split()[2])
    return 0.0


def _now() -> float:
    return time.time_ns() / 1e9


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def _within(look: Callable[[], Awaitable[T]], what: str) -> T:
    try:
        async with asyncio.timeout(WITHIN):
            while True:
                if seen := await look():
                    return seen
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise BenchError(f"not within {WITHIN:.0f} s: {what}") from None


def _expect(status: str, wanted: str) -> None:
    if status != wanted:
        raise BenchError(f"a session is {status}, and should be {wanted}")
