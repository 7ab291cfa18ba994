"""What a session asks of Redis: commands of clients, scripts, and commands inside the scripts."""

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from bench import drive
from bench.measure import Section
from bench.sessions import Say
from bench.stack import Stack
from blueengine.kit.redis_address import RedisAddress

SESSIONS: Final = 200
BACKGROUND: Final = frozenset(
    {"beat", "reap", "due", "PING", "XAUTOCLAIM", "SMEMBERS", "ZCARD", "ZCOUNT", "TIME", "CONFIG"}
    | {"ZRANGEBYSCORE", "XREADGROUP", "INFO", "SCARD", "AUTH", "CLIENT", "MONITOR", "SLOWLOG"}
)
"""What is asked although no session runs: heartbeats, deadlines, sweeps, this benchmark."""
_LINE: Final = re.compile(r'^\+?[\d.]+ \[(\d+) (\S+)\] "([^"]+)"(?: "([^"]*)")?')


@dataclass
class Trips:
    """What was counted."""

    commands: Counter[str] = field(default_factory=Counter)
    """By clients; a script counts under its name."""
    inside: int = 0
    """Commands that scripts gave."""


def count(lines: Iterable[str], scripts: Mapping[str, str]) -> Trips:
    """Count lines of MONITOR; ``scripts`` are names by digest."""
    trips = Trips()
    background = False
    for line in lines:
        found = _LINE.match(line)
        if found is None or found[1] != "0":
            continue
        _, peer, command, argument = found.groups()
        if peer == "lua":
            # MONITOR shows a script's commands right behind the script (or right before it)
            trips.inside += not background
            continue
        name = command.upper()
        if name == "EVALSHA":
            name = scripts.get(argument, argument)
        background = name in BACKGROUND
        if not background:
            trips.commands[name] += 1
    return trips


async def run(stack: Stack, *, say: Say) -> Section:
    """Watch Redis during some sessions, one in flight."""
    section = Section("trips")
    for what, request in (("1 engine", drive.one_engine()), ("chain of 3", drive.chain())):
        say(f"trips: {what}")
        await drive.latency(stack, request, 50)
        async with asyncio.timeout(60):
            lines = await _watched(stack, request)
        trips = count(lines, stack.scripts)
        total = sum(trips.commands.values())
        section.add(f"{what}: commands and scripts sent to Redis", [total / SESSIONS])
        section.add(f"{what}: commands inside the scripts", [trips.inside / SESSIONS])
        each = ", ".join(
            f"{name} {number / SESSIONS:.2f}" for name, number in trips.commands.most_common()
        )
        section.notes.append(f"{what}, one in flight, of each session: {each}")
        section.notes.append(f"{what}, median of the scripts: {await _times(stack, request)}")
    return section


async def _watched(stack: Stack, request: bytes) -> list[str]:
    address = RedisAddress.from_url(stack.url)
    reader, writer = await asyncio.open_connection(address.host, address.port, limit=1 << 22)
    lines: list[str] = []
    try:
        writer.write(f"AUTH {address.password}\r\nMONITOR\r\n".encode())
        for _ in range(2):
            await reader.readline()

        async def collect() -> None:
            while line := await reader.readline():
                lines.append(line.decode(errors="replace"))

        collecting = asyncio.create_task(collect())
        await drive.latency(stack, request, SESSIONS)
        await asyncio.sleep(0.1)
        collecting.cancel()
        await asyncio.wait([collecting])
    finally:
        writer.close()
    return lines


async def _times(stack: Stack, request: bytes) -> str:
    """Return how long Redis was at the scripts, by its slow log (which counts all of their work)."""
    send = stack.link.send
    await send("SLOWLOG", "RESET")
    await send("CONFIG", "SET", "slowlog-max-len", SESSIONS * 200)
    await send("CONFIG", "SET", "slowlog-log-slower-than", 0)
    try:
        await drive.latency(stack, request, SESSIONS)
    finally:
        await send("CONFIG", "SET", "slowlog-log-slower-than", -1)
    taken: defaultdict[str, list[int]] = defaultdict(list)
    for _, _, micros, words, *_ in await send("SLOWLOG", "GET", -1):
        if words[0].upper() == b"EVALSHA":
            name = stack.scripts.get(words[1].decode(), words[1].decode())
            if name not in BACKGROUND:
                taken[name].append(micros)
    await send("SLOWLOG", "RESET")
    return ", ".join(
        f"{name} {median(each):.0f} µs ({len(each) / SESSIONS:.2f} of each session)"
        for name, each in sorted(taken.items(), key=lambda item: -sum(item[1]))
    )
