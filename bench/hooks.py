"""Webhook deliveries a second, with one replica of management and with two: that is work it does alone."""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from apps.sessions.outside import receiver_of
from apps.sessions.store import NewSession
from bench.measure import Section
from bench.sessions import Say
from bench.stack import Stack
from bench.world import World, a_world, managements
from blueengine.wire.plan import Channel, Node, Plan, StartData
from blueengine.wire.webhook import SESSION_CHANGED, Webhook

ANSWER_SECONDS: Final = 0.02
"""What a receiver takes for an event."""
WITHIN: Final = 120.0
PLAN: Final = Plan(
    nodes={"n": Node("absent", {"Control": "In"}, {"Result": "Out"})},
    channels={"In": Channel("JSON"), "Out": Channel("JSON")},
    fed=("In",),
)
_ANSWER: Final = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"


@dataclass
class Receivers:
    """Those that are told, each on a port of its own; they count together."""

    events: int
    """So many are to come."""
    urls: list[str] = field(default_factory=list)
    told: int = 0
    all_told: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one event."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.partition(b":")[2])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            )
            await reader.readexactly(length)
            await asyncio.sleep(ANSWER_SECONDS)
            writer.write(_ANSWER)
            await writer.drain()
            self.told += 1
            if self.told >= self.events:
                self.all_told.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # a replica that was stopped while it delivered
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def _listening(count: int, events: int) -> AsyncIterator[Receivers]:
    receivers = Receivers(events)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(count):
            server = await asyncio.start_server(receivers.answer, "127.0.0.1", 0)
            await stack.enter_async_context(server)
            receivers.urls.append(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        yield receivers


async def run(stack: Stack, section: Section, *, rounds: int, events: int, say: Say) -> None:
    """Have sessions that wait told of, to one receiver and to many."""
    found: defaultdict[tuple[int, int], list[float]] = defaultdict(list)
    async with a_world(stack, "hooks", OUTSIDE_ALLOW="loopback") as world:
        for number in range(rounds):
            say(f"scale: webhooks, round {number + 1} of {rounds}")
            for replicas in (1, 2):
                async with managements(stack, world, replicas):
                    for receivers in (1, 16):
                        async with _listening(receivers, events) as ears:
                            rate = await _rate(world, ears, f"{number}-{replicas}")
                        found[receivers, replicas].append(rate)
    for receivers in (1, 16):
        to = "one receiver" if receivers == 1 else f"{receivers} receivers"
        for replicas in (1, 2):
            how = "1 management replica" if replicas == 1 else "2 management replicas"
            rates = found[receivers, replicas]
            section.add(f"webhooks to {to}, {how}", rates, "events/s")
        section.ratio(f"webhooks to {to}, 2 ÷ 1", found[receivers, 2], found[receivers, 1])


async def _rate(world: World, ears: Receivers, name: str) -> float:
    began = time.perf_counter()
    await asyncio.gather(
        *[
            world.store.submit(
                NewSession(
                    session=f"session-hooks-{name}-{len(ears.urls)}-{number}",
                    plan=PLAN,
                    kind="process-workflow",
                    rank=0,
                    start_data=StartData(()),
                    webhooks=_hooks(ears.urls[number % len(ears.urls)]),
                ),
                specs_version=-1,
                gateway="",
            )
            for number in range(ears.events)
        ]
    )
    async with asyncio.timeout(WITHIN):
        await ears.all_told.wait()
    return ears.events / (time.perf_counter() - began)


def _hooks(url: str) -> Sequence[Webhook]:
    return [Webhook(url=url, receiver=receiver_of(url), types=(SESSION_CHANGED,))]
