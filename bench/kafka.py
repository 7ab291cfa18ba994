"""Data channels over a real Kafka, beside bare clients on the same broker in the same round.

Whoever has one message under way is slower than who has the next one ready: caches are cold, and the
processor has gone to sleep. So what an engine more adds to a session is held beside what a stage more
adds to a chain of bare clients: as many processes and topics, one message under way, and between two of
them as long a pause as a session without the chain takes. A ping-pong without pause is printed, too.

Java compiles what runs often. A broker takes several times the CPU for each of its first thousands of
requests, so it is warmed up first, and sides take turns in going first.
"""

import asyncio
import secrets
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Final, TypeVar

from bench import cpu, drive, streaming
from bench.measure import Section, Target, p50
from bench.sessions import Say
from bench.stack import Stack
from blueengine.settings.kafka import KafkaSettings
from blueengine.settings.system import SystemSettings
from blueengine.transport.kafka import KafkaTransport
from blueengine.transport.kafka_topics import topics
from tests.kit.kafka import RealKafka, why_not

T = TypeVar("T")

JVM: Final = ("-Xms512m", "-Xmx512m", "-XX:+UseSerialGC")
PREFIX: Final = "bench"
KINDS: Final = (
    streaming.Kind("json", 1 << 10, 20_000, 8_000, Target(0.7, 0.9, at_least=True)),
    streaming.Kind("frames", 1 << 20, 200, 80, Target(0.7, 0.9, at_least=True)),
)
HOP: Final = Target(1.5, 1.2)
CHAINS: Final = {"ours": drive.CHAIN, "inline": drive.INLINE}
LENGTHS: Final = (1, 3)
"""Of chains whose difference is what a hop adds."""
SETTLE_SECONDS: Final = 1.5
WARM_ROUNDS: Final = 5
WARM_HOPS: Final = 1500
"""Times there and back in each of them."""


async def run(stack: Stack, *, quick: bool, say: Say) -> Section:
    """Measure streams, one hop and the making of an inbox."""
    section = Section("kafka")
    if missing := why_not():
        section.notes.append(f"not measured: {missing}")
        return section
    say("kafka: starting a broker")
    kafka = RealKafka(jvm=JVM)
    await asyncio.to_thread(kafka.start)
    everything = [*streaming.ENGINES, *streaming.INLINE]
    others = [*drive.CHAIN, *drive.INLINE]
    await stack.stop(*others)
    stack.channels = {"KAFKA_BROKERS": kafka.bootstrap, "KAFKA_TOPIC_PREFIX": PREFIX}
    try:
        await stack.start_engines(everything)
        settings = SystemSettings(kafka_brokers=kafka.bootstrap, kafka_topic_prefix=PREFIX).kafka
        assert settings
        say("kafka: warming up the broker")
        for _ in range(WARM_ROUNDS):
            await bare_round(stack, settings, "confluent", 1, WARM_HOPS)
        broker = kafka.brokers[0].process
        programs = {"kafka": broker.pid} if broker else {}
        found: defaultdict[str, list[float]] = defaultdict(list)
        costs: dict[str, Mapping[str, float]] = {}
        rounds = 2 if quick else 5
        for number in range(rounds):
            say(f"kafka: round {number + 1} of {rounds}")
            for kind in KINDS:
                count = kind.quick if quick else kind.count
                for whose, measure in _in_turn(streams(stack, settings, kind, count), number):
                    name = f"{kind.name} {whose}"
                    rate, costs[name] = await measure(programs)
                    found[name].append(rate)
            for whose, hop in _in_turn(hops(stack, settings, 100 if quick else 300), number):
                found[f"hop {whose}"].append(await hop())
            for client in ("aiokafka", "confluent"):
                hop = await bare_round(stack, settings, client, 1, 100 if quick else 300)
                found[f"ping {client}"].append(hop / 2)
            await make_inboxes(settings, found)
            stack.check()
        _report(section, found)
        section.notes += [
            f"{what}: CPU of a message, µs: {cpu.as_text(cost)}" for what, cost in costs.items()
        ]
    finally:
        await stack.stop(*(name for name in everything if name in stack.children))
        stack.channels = {}
        await asyncio.to_thread(kafka.stop)
        await stack.start_engines(others)
    return section


def _in_turn(sides: Mapping[str, T], number: int) -> list[tuple[str, T]]:
    """Return the sides, another one first in each round."""
    first = number % len(sides)
    return [*sides.items()][first:] + [*sides.items()][:first]


def _report(section: Section, found: dict[str, list[float]]) -> None:
    for kind in KINDS:
        large = kind.size >= 1 << 20
        unit, scale = ("MB/s", kind.size / 1e6) if large else ("messages/s", 1.0)
        what = "1 MiB frames" if large else "1 KiB JSON"
        for whose, words in (
            ("ours", what), ("inline", f"{what}, inline"), ("aiokafka", f"{what}, bare aiokafka"), ("confluent", f"{what}, bare confluent-kafka"),
        ):  # fmt: skip
            section.add(words, [rate * scale for rate in found[f"{kind.name} {whose}"]], unit)
        ours = found[f"{kind.name} ours"]
        section.ratio(f"{what} ÷ aiokafka", ours, found[f"{kind.name} aiokafka"], kind.target)
        section.ratio(f"{what} ÷ confluent-kafka", ours, found[f"{kind.name} confluent"])
        inline = found[f"{kind.name} inline"]
        section.ratio(
            f"{what} inline ÷ aiokafka", inline, found[f"{kind.name} aiokafka"], kind.target
        )
    for name, words in (
        ("hop ours", "an engine more in a chain, p50"),
        ("hop inline", "an engine more in a chain, inline, p50"),
        ("hop aiokafka", "a stage more in a bare aiokafka chain, p50"),
        ("hop confluent", "a stage more in a bare confluent-kafka chain, p50"),
        ("ping aiokafka", "one way of a ping-pong of bare aiokafka, p50"),
        ("ping confluent", "one way of a ping-pong of bare confluent-kafka, p50"),
    ):
        section.add(words, [seconds * 1e3 for seconds in found[name]], "ms")
    for client, target in (("aiokafka", HOP), ("confluent", None)):
        bare = found[f"hop {client}"]
        section.ratio(f"an engine more ÷ a stage more, {client}", found["hop ours"], bare, target)
        words = f"an engine more, inline ÷ a stage more, {client}"
        section.ratio(words, found["hop inline"], bare, target)
    section.ratio(
        "an engine more ÷ a ping-pong's way, aiokafka", found["hop ours"], found["ping aiokafka"]
    )
    for name in ("make a topic", "open a transport", "close it and remove the topic"):
        section.add(name, [seconds * 1e3 for seconds in found[name]], "ms")


Stream = Callable[[Mapping[str, int]], Awaitable[tuple[float, Mapping[str, float]]]]
"""Measures a stream beside the programs it is given; messages a second, and the CPU of each."""


def streams(
    stack: Stack, settings: KafkaSettings, kind: streaming.Kind, count: int
) -> dict[str, Stream]:
    """Return how each side's stream is measured."""
    return {
        "ours": partial(_platform, stack, kind, count, streaming.ENGINES),
        "inline": partial(_platform, stack, kind, count, streaming.INLINE),
        "aiokafka": partial(bare_chain, stack, settings, "aiokafka", kind, count),
        "confluent": partial(bare_chain, stack, settings, "confluent", kind, count),
    }


async def _platform(
    stack: Stack,
    kind: streaming.Kind,
    count: int,
    engines: Sequence[str],
    programs: Mapping[str, int],
) -> tuple[float, Mapping[str, float]]:
    programs = {**stack.programs, **programs}
    before = cpu.used(programs)
    rate = await streaming.platform(stack, kind, count, engines)
    return rate, cpu.per_session(before, cpu.used(programs), count)


async def bare_chain(  # noqa: PLR0917 - the last by whoever calls the partial
    stack: Stack,
    settings: KafkaSettings,
    client: str,
    kind: streaming.Kind,
    count: int,
    programs: Mapping[str, int],
) -> tuple[float, Mapping[str, float]]:
    """Run source → 3 stages → sink on bare clients; messages a second, and their CPU."""
    roles = ["source", "stage", "stage", "stage", "sink"]
    names = await _topics(settings, len(roles) - 1)
    ways = zip(["", *names], [*names, ""], strict=True)
    processes = [
        await stack.pipe("bench.peers.kafka_chain", client, role, *way, str(count), str(kind.size))
        for role, way in zip(roles, ways, strict=True)
    ]
    pids = {
        f"{at} {role}": each.pid
        for at, (role, each) in enumerate(zip(roles, processes, strict=True))
    }
    used: list[Mapping[str, float]] = []
    try:
        tally = await streaming.tally_of(
            processes[0],
            processes[-1],
            settle=SETTLE_SECONDS,
            on_begin=lambda: used.append(cpu.used({**pids, **programs})),
        )
        after = cpu.used({**pids, **programs})
    finally:
        await asyncio.gather(*(stack.end(process) for process in processes))
        await _remove(settings, names)
    return streaming.rate(tally, count), cpu.per_session(used[0], after, count)


def hops(
    stack: Stack, settings: KafkaSettings, count: int
) -> dict[str, Callable[[], Awaitable[float]]]:
    """Return how it is measured what one more in a chain adds, for each side."""
    return {
        **{whose: partial(added_hop, stack, engines, count) for whose, engines in CHAINS.items()},
        **{
            client: partial(bare_added_hop, stack, settings, client, count)
            for client in ("aiokafka", "confluent")
        },
    }


async def bare_added_hop(stack: Stack, settings: KafkaSettings, client: str, count: int) -> float:
    """Return what each further stage of a chain of bare clients adds, p50 in seconds."""
    pause = await _one_session(stack, drive.CHAIN[:1], count)
    first, last = [
        await bare_round(stack, settings, client, stages, count, pause) for stages in LENGTHS
    ]
    return (last - first) / (LENGTHS[1] - LENGTHS[0])


async def bare_round(  # noqa: PLR0917 - as its peer takes them
    stack: Stack,
    settings: KafkaSettings,
    client: str,
    stages: int,
    count: int,
    pause: float = 0.0,
) -> float:
    """Send one message at a time through stages and back, with a pause between two; p50 in seconds."""
    names = await _topics(settings, stages + 1)
    module, arguments = "bench.peers.kafka_chain", (str(count), "200", str(pause))
    others = [
        await stack.pipe(module, client, "stage", *way, *arguments) for way in pairwise(names)
    ]
    ping = await stack.pipe(module, client, "ping", names[-1], names[0], *arguments)
    try:
        tally = await streaming.tally_of(ping, ping, settle=SETTLE_SECONDS)
    finally:
        await asyncio.gather(*(stack.end(process) for process in (ping, *others)))
        await _remove(settings, names)
    return p50(tally["times"]) / 1e9


async def added_hop(stack: Stack, engines: Sequence[str], count: int) -> float:
    """Return what each further engine of a chain adds to a session, p50 in seconds."""
    first, last = [await _one_session(stack, engines[:length], count) for length in LENGTHS]
    return (last - first) / (LENGTHS[1] - LENGTHS[0])


async def _one_session(stack: Stack, engines: Sequence[str], count: int) -> float:
    return p50(await drive.latency(stack, drive.chain(engines), count))


async def make_inboxes(settings: KafkaSettings, found: dict[str, list[float]]) -> None:
    """Measure what Kafka adds to the start and the end of an instance."""
    instance = f"made-{secrets.token_hex(4)}"
    async with topics(settings) as admin:
        began = time.perf_counter()
        await admin.make(instance)
        found["make a topic"].append(time.perf_counter() - began)
        await admin.remove([instance])
    transport = KafkaTransport(settings, f"{instance}-2", patience=30)
    began = time.perf_counter()
    await transport.open()
    found["open a transport"].append(time.perf_counter() - began)
    began = time.perf_counter()
    await transport.close()
    found["close it and remove the topic"].append(time.perf_counter() - began)


async def _topics(settings: KafkaSettings, count: int) -> list[str]:
    run = secrets.token_hex(4)
    instances = [f"{run}-{number}" for number in range(count)]
    async with topics(settings) as admin:
        for instance in instances:
            await admin.make(instance)
    return [f"{settings.topic_prefix}-in-{instance}" for instance in instances]


async def _remove(settings: KafkaSettings, names: Sequence[str]) -> None:
    start = f"{settings.topic_prefix}-in-"
    async with topics(settings) as admin:
        await admin.remove([name.removeprefix(start) for name in names])
