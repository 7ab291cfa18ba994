"""Messages a second through source → 3 stages → sink, beside the same path on bare Redis Streams."""

import asyncio
import json
import secrets
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from bench import cpu, drive
from bench.errors import BenchError
from bench.lean_http import Connection
from bench.measure import Section, Target
from bench.sessions import Say
from bench.stack import Process, Stack, rewritten

ENGINES: Final = ("source", *drive.CHAIN, "sink")
INLINE: Final = ("inline-source", *drive.INLINE, "inline-sink")
LIMIT_SECONDS: Final = 55


@dataclass(frozen=True)
class Kind:
    """Messages of one kind."""

    name: str
    size: int
    count: int
    quick: int
    """Count when time is short."""
    target: Target


KINDS: Final = (
    Kind("json", 1 << 10, 20_000, 8_000, Target(0.4, 0.7, at_least=True)),
    Kind("frames", 1 << 20, 300, 120, Target(2, 2.5, at_least=True)),
)


async def run(stack: Stack, *, quick: bool, say: Say) -> Section:
    """Measure both kinds, ours and the plain path in turn, with and without an append-only file."""
    section = Section("streaming")
    rounds = 2 if quick else 5
    ends = [ENGINES[0], ENGINES[-1], INLINE[0], INLINE[-1]]
    await stack.start_engines(ends)
    try:
        for aof in ("yes", "no"):
            await _append_only(stack, aof)
            found: defaultdict[str, list[float]] = defaultdict(list)
            costs: dict[str, Mapping[str, float]] = {}
            for number in range(rounds):
                say(f"streaming, appendonly {aof}: round {number + 1} of {rounds}")
                for kind in KINDS:
                    count = kind.quick if quick else kind.count
                    for way, engines in (("ours", ENGINES), ("inline", INLINE)):
                        before = cpu.used(stack.programs)
                        ours = await platform(stack, kind, count, engines)
                        found[f"{kind.name} {way}"].append(ours)
                        after = cpu.used(stack.programs)
                        costs[f"{kind.name} {way}"] = cpu.per_session(before, after, count)
                    plain = await plain_chain(stack, kind, count)
                    found[f"{kind.name} plain"].append(plain)
                    stack.check()
            _report(section, found, aof)
            section.notes += [
                f"{what}, appendonly {aof}: CPU of a message, µs: {cpu.as_text(cost)}"
                for what, cost in costs.items()
            ]
    finally:
        await _append_only(stack, "yes")
        await stack.stop(*ends)
    return section


async def _append_only(stack: Stack, word: str) -> None:
    """Switch the append-only file and wait until Redis has done what that needs."""
    await stack.link.send("CONFIG", "SET", "appendonly", word)
    await rewritten(stack.link)


def _report(section: Section, found: Mapping[str, list[float]], aof: str) -> None:
    durable = "appendfsync everysec" if aof == "yes" else "no append-only file"
    for kind in KINDS:
        unit, scale = ("MB/s", kind.size / 1e6) if kind.size >= 1 << 20 else ("messages/s", 1.0)
        what = "1 MiB frames" if kind.size >= 1 << 20 else "1 KiB JSON"
        ours, plain = found[f"{kind.name} ours"], found[f"{kind.name} plain"]
        section.add(f"{what}, {durable}", [rate * scale for rate in ours], unit)
        section.add(f"{what}, plain Redis, {durable}", [rate * scale for rate in plain], unit)
        section.ratio(f"{what} ÷ plain Redis, {durable}", ours, plain, kind.target)
        inline = found[f"{kind.name} inline"]
        section.ratio(f"{what} inline ÷ plain Redis, {durable}", inline, plain, kind.target)


async def platform(stack: Stack, kind: Kind, count: int, engines: Sequence[str] = ENGINES) -> float:
    """Run one session of five engines; messages a second, from the first made to the last counted."""
    ports = ("Control", "Result") if kind.name == "json" else ("Frames", "Frames")
    request = drive.chain(
        engines,
        payload={"kind": kind.name, "count": count, "size": kind.size},
        kind="JSON" if kind.name == "json" else "Bytes",
        ports=ports,
        wait=LIMIT_SECONDS,
    )
    connection = await Connection.connect(stack.port)
    try:
        status, body = await connection.send(request)
    finally:
        connection.close()
    drive.check(status, body)
    results = msgspec.json.decode(body)["data"]["results"]
    return rate(results[f"c{len(engines)}"][0], count)


async def plain_chain(stack: Stack, kind: Kind, count: int) -> float:
    """Run the plain path; messages a second, from the first made to the last counted."""
    roles = ["source", "stage", "stage", "stage", "sink"]
    prefix = f"bench:{secrets.token_hex(4)}"
    keys = [f"{prefix}:{number}" for number in range(len(roles) + 1)]
    processes = [
        await stack.pipe(
            "bench.peers.plain_chain", role, keys[at], keys[at + 1], str(count), str(kind.size)
        )
        for at, role in enumerate(roles)
    ]
    try:
        return rate(await tally_of(processes[0], processes[-1], settle=0.5), count)
    finally:
        await asyncio.gather(*(stack.end(process) for process in processes))
        await stack.link.send("DEL", *keys)


async def tally_of(
    first: Process, last: Process, *, settle: float, on_begin: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Have the first of some piped programs begin; what the last prints in the end.

    Args:
        first: Prints a line when it is ready, and waits to be told.
        last: Prints its tally as JSON.
        settle: Seconds until the others wait in their reads.
        on_begin: Called when the first is about to be told.

    Raises:
        BenchError: It ended without one.
    """
    assert first.stdin is not None
    assert first.stdout is not None
    assert last.stdout is not None
    async with asyncio.timeout(LIMIT_SECONDS):
        await first.stdout.readline()
        await asyncio.sleep(settle)
        on_begin()
        first.stdin.write(b"go\n")
        line = await last.stdout.readline()
    if not line:
        raise BenchError("the bare path ended early")
    tally: dict[str, Any] = json.loads(line)
    return tally


def rate(tally: Mapping[str, Any], count: int) -> float:
    """Return messages a second of a sink's tally, which must hold them all."""
    if tally["count"] != count:
        raise BenchError(f"{tally['count']} of {count} messages arrived")
    nanoseconds: int = tally["ns"]
    return count / nanoseconds * 1e9
