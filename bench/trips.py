"""What a session asks of Redis: commands of clients, scripts, and commands inside the scripts."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from bench import drive
from bench.measure import Section
from bench.sessions import Say
from bench.stack import Stack
from blueengine.kit.redis_address import RedisAddress

SESSIONS: Final = 200
BACKGROUND: Final = frozenset(
    {"beat", "reap", "due", "PING", "XAUTOCLAIM", "SMEMBERS", "ZCARD", "ZCOUNT", "TIME", "CONFIG"}
    | {"ZRANGEBYSCORE", "XREADGROUP", "INFO", "SCARD", "AUTH", "CLIENT", "MONITOR"}
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
    """Watch Redis during some sessions, one in flight, then with many."""
    section = Section("trips")
    for what, request in (("1 engine", drive.one_engine()), ("chain of 3", drive.chain())):
        say(f"trips: {what}")
        await drive.latency(stack, request, 50)
        await stack.link.send("CONFIG", "RESETSTAT")
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
        section.notes.append(f"{what}, Redis' own time: {await _times(stack, request)}")
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
    """Return what Redis counts of its own time, without MONITOR, which slows it."""
    await stack.link.send("CONFIG", "RESETSTAT")
    await drive.latency(stack, request, SESSIONS)
    stats = parse_stats((await stack.link.send("INFO", "commandstats")).decode())
    shown = {name: stats[name] for name in ("evalsha", "xread", "xtrim") if name in stats}
    return ", ".join(
        f"{name} {micros / SESSIONS:.0f} µs in {calls / SESSIONS:.1f} calls"
        for name, (calls, micros) in shown.items()
    )


def parse_stats(text: str) -> dict[str, tuple[int, int]]:
    """Return (calls, microseconds) by command, from INFO commandstats."""
    found = re.findall(r"^cmdstat_(\S+?):calls=(\d+),usec=(\d+)", text, re.MULTILINE)
    return {name: (int(calls), int(micros)) for name, calls, micros in found}
