"""A large file through a channel of two engines: what each process takes above its idle memory.

Through a folder that both share, with messages over Redis and over Kafka; and through a bucket (moto's
server, which is not counted).
"""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bench.errors import BenchError
from bench.measure import Section, Target
from bench.memory import Peaks, everybody
from bench.sessions import Say
from bench.stack import Stack
from blueengine.client import AsyncClient
from tests.kit.kafka import RealKafka, why_not
from tests.kit.s3 import S3Server

ENGINE: Final = Path(__file__).parent / "steps" / "files.py"
ENGINES: Final = ("giver", "taker")
SIZE, QUICK_SIZE, SMALL_SIZE, WARM_SIZE = 1_000_000_000, 256 << 20, 64 << 20, 1 << 20
PREFIX: Final = "bench-files"
LIMIT_SECONDS: Final = 300
TARGET: Final = Target(100, 64)
WORKFLOW: Final = {
    "dataChannels": [
        {"name": "Order", "type": "JSON"},
        {"name": "Files", "type": "File"},
        {"name": "Answer", "type": "JSON", "interested": True},
    ],
    "engines": [
        {
            "id": "giver",
            "inputs": [{"name": "Control", "type": "JSON", "linkTo": "Order"}],
            "outputs": [{"name": "File", "type": "File", "linkTo": "Files"}],
        },
        {
            "id": "taker",
            "inputs": [{"name": "File", "type": "File", "linkTo": "Files"}],
            "outputs": [{"name": "Result", "type": "JSON", "linkTo": "Answer"}],
        },
    ],
    "startData": [],
}


async def run(stack: Stack, *, quick: bool, say: Say) -> Section:
    """Measure over Redis, through a bucket, and over Kafka where it can be run."""
    section = Section("files")
    size, rounds = (QUICK_SIZE, 1) if quick else (SIZE, 2)
    say("files: over Redis")
    _report(section, f"{size / 1e6:.0f} MB over Redis", await _rounds(stack, size, rounds))
    say("files: through a bucket")
    await _through_a_bucket(stack, section, (SMALL_SIZE, size), rounds)
    if missing := why_not():
        section.notes.append(f"over Kafka: not measured: {missing}")
        return section
    say("files: over Kafka")
    kafka = RealKafka()
    await asyncio.to_thread(kafka.start)
    stack.channels = {"KAFKA_BROKERS": kafka.bootstrap, "KAFKA_TOPIC_PREFIX": PREFIX}
    try:
        _report(section, f"{size / 1e6:.0f} MB over Kafka", await _rounds(stack, size, rounds))
    finally:
        stack.channels = {}
        await asyncio.to_thread(kafka.stop)
    return section


async def _through_a_bucket(
    stack: Stack, section: Section, sizes: Sequence[int], rounds: int
) -> None:
    """Measure with BLOB_URL, patient with a server that puts pieces together slowly.

    Each size has engines of its own, for what one leaves is idle to the next.
    """
    server = S3Server()
    await asyncio.to_thread(server.start)
    try:
        for size in sizes:
            bucket = await asyncio.to_thread(server.environment)
            stack.channels = {**bucket, "PATIENCE_SECONDS": str(LIMIT_SECONDS)}
            what = f"{size / 1e6:.0f} MB through a bucket"
            _report(section, what, await _rounds(stack, size, rounds))
    finally:
        stack.channels = {}
        await asyncio.to_thread(server.stop)


Round = tuple[float, dict[str, float]]
"""Megabytes a second, and what each process had at most above its idle memory."""


async def _rounds(stack: Stack, size: int, rounds: int) -> list[Round]:
    found: list[Round] = []
    try:
        for name in ENGINES:
            await stack.launch(name, [str(ENGINE)], BENCH_ENGINE=name)
        for name in ENGINES:
            await stack.until(name, stack.attends)
        async with AsyncClient(f"http://127.0.0.1:{stack.port}") as client:
            await _pass_on(client, WARM_SIZE)
            for _ in range(rounds):
                ours = {name: pid for name, pid in stack.programs.items() if name != "client"}
                memory, began = Peaks(everybody(ours)), time.perf_counter()
                await _pass_on(client, size)
                rate = size / (time.perf_counter() - began) / 1e6
                found.append((rate, memory.above()))
        stack.check()
    finally:
        await stack.stop(*(name for name in ENGINES if name in stack.children))
    return found


def _report(section: Section, what: str, found: list[Round]) -> None:
    highest = [max(above.values()) for _, above in found]
    section.add(f"{what}, highest peak above idle", highest, "MB", TARGET)
    section.add(f"{what}, written, passed on and read", [rate for rate, _ in found], "MB/s")
    risen = sorted(found[-1][1].items(), key=lambda item: -item[1])
    section.notes.append(f"{what}: {', '.join(f'{name} {above:.1f}' for name, above in risen)}")


async def _pass_on(client: AsyncClient, size: int) -> None:
    session = await client.submit(WORKFLOW, {"Order": {"size": size}})
    outcome = await session.wait(timeout=LIMIT_SECONDS)
    answer: list[Any] = outcome.results.get("Answer", [])
    if outcome.status != "finished" or answer != [{"size": size, "whole": True}]:
        raise BenchError(f"a file did not arrive: {outcome.status} {answer} {outcome.process}")
