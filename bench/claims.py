"""What a claim costs, with few and with many sessions waiting and instances attending.

A claim is what happens when a slot becomes free while sessions wait: the part's end gives the slot
back, and one match gives it to the first in the queue. Both are single scripts; nothing else runs.
"""

import asyncio
import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from apps.local import redis_server
from apps.sessions import store
from apps.sessions.store import NewSession, SessionStore
from bench.measure import Section, Target, p50, p99
from blueengine import ledger
from blueengine.kit.redis_address import RedisAddress
from blueengine.kit.redis_link import Link
from blueengine.ledger.instance import SCRIPTS, InstanceLedger
from blueengine.wire import names
from blueengine.wire.plan import Channel, Node, Plan, StartData
from blueengine.wire.report import Outcome, Tally
from blueengine.wire.spec import EngineSpec

ENGINE: Final = "claimed"
AT_ONCE: Final = 500
"""Commands under way while a world is made."""
GROWTH: Final = Target(first=2, then=1.5)
SPEC: Final = EngineSpec(
    id=ENGINE, name=ENGINE, concurrency=1, inputs={"Control": "JSON"}, outputs={"Results": "JSON"}
)
PLAN: Final = Plan(
    nodes={"n": Node(ENGINE, {"Control": "In"}, {"Results": "Out"})},
    channels={"In": Channel("JSON"), "Out": Channel("JSON", stored=True)},
    fed=("In",),
)


@dataclass(frozen=True)
class Size:
    """How much there is."""

    pending: int
    instances: int

    def __str__(self) -> str:
        return f"{self.pending:,} pending, {self.instances:,} instances"


class World:
    """Busy instances, and sessions that wait for them."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._store = SessionStore(link)
        self._numbers = 0

    async def fill(self, size: Size) -> None:
        """Let instances attend, give each a session, and queue so many more."""
        instances = [self._instance(f"i-{n}") for n in range(size.instances)]
        await _in_turns(instances, lambda one: one.attend(SPEC, {"eager": "1"}))
        for _ in range(0, size.instances + size.pending, AT_ONCE):
            left = size.instances + size.pending - self._numbers
            await asyncio.gather(*(self.submit() for _ in range(min(AT_ONCE, left))))

    async def submit(self) -> None:
        """Submit one session."""
        self._numbers += 1
        new = NewSession(
            session=f"session-{self._numbers}",
            plan=PLAN,
            kind="process-workflow",
            rank=0,
            start_data=StartData(()),
        )
        await self._store.submit(new, specs_version=-1, gateway="")

    async def claims(self, count: int) -> list[float]:
        """Let parts end one after the other, and each slot be claimed; seconds each."""
        taken = []
        running = await self._link.send("ZRANGE", names.status("processing"), 0, count - 1)
        for session in [word.decode() for word in running]:
            instance = (await self._link.send("HGET", names.session(session), "n:in")).decode()
            began = time.perf_counter()
            part = (session, 1, "n")
            await self._instance(instance).close(part, Outcome.FINISHED, None, Tally())
            placed = await self._store.match(ENGINE)
            taken.append(time.perf_counter() - began)
            assert placed == 1, f"{placed} sessions were placed"
        return taken

    async def alone(self, count: int) -> list[float]:
        """Submit one after the other; seconds each."""
        taken = []
        for _ in range(count):
            began = time.perf_counter()
            await self.submit()
            taken.append(time.perf_counter() - began)
        return taken

    def _instance(self, name: str) -> InstanceLedger:
        return InstanceLedger(self._link, name, heartbeat_timeout=1e6)


async def run(*, quick: bool, say: Callable[[str], None]) -> Section:
    """Measure claims in a small and in a large world, on a Redis of their own."""
    rounds, count = (2, 5) if quick else (3, 10)
    small = Size(1_000, 10)
    large = Size(20_000, 2_000) if quick else Size(100_000, 10_000)
    found: dict[Size, list[list[float]]] = {small: [], large: []}
    submits: dict[Size, list[float]] = {small: [], large: []}
    async with _worlds(len(found)) as worlds:
        sizes = dict(zip(found, worlds, strict=True))
        for size, world in sizes.items():
            say(f"claims: making {size}")
            await world.fill(size)
        for number in range(rounds):
            say(f"claims: round {number + 1} of {rounds}")
            taken: dict[Size, list[float]] = {size: [] for size in sizes}
            for _ in range(10):  # by turns, so that both have the same machine
                for size, world in sizes.items():
                    taken[size] += await world.claims(count)
            for size, world in sizes.items():
                found[size].append(taken[size])
                submits[size].append(1e6 * p50(await world.alone(100)))
    section = Section("claims")
    for size, taken in found.items():
        section.add(f"{size}: p50", [1e6 * p50(one) for one in taken], "µs")
        section.add(f"{size}: p99", [1e6 * p99(one) for one in taken], "µs")
        section.add(f"{size}: submit, p50", submits[size], "µs")
    section.ratio("claim, large ÷ small", *([p50(one) for one in found[s]] for s in (large, small)), target=GROWTH)  # fmt: skip
    section.ratio("submit, large ÷ small", submits[large], submits[small], target=GROWTH)
    return section


@contextlib.asynccontextmanager
async def _worlds(count: int) -> AsyncIterator[list[World]]:
    """Make so many empty worlds, each a database of one Redis."""
    root = Path(tempfile.mkdtemp(prefix="blueengine-bench-"))
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        server = await redis_server.run(root / "redis", logs=root / "logs", notice=_tell)
        stack.push_async_callback(server.stop)
        worlds = []
        for db in range(count):
            address = replace(RedisAddress.from_url(server.url), db=db)
            link = Link(address, scripts=ledger.load(*SCRIPTS, *store.SCRIPTS))
            await link.open()
            stack.push_async_callback(link.close)
            worlds.append(World(link))
        yield worlds


async def _in_turns(
    instances: list[InstanceLedger], work: Callable[[InstanceLedger], "asyncio.Future[object]"]
) -> None:
    for at in range(0, len(instances), AT_ONCE):
        await asyncio.gather(*(work(one) for one in instances[at : at + AT_ONCE]))


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")
