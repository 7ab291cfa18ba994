"""Data channels over a real Kafka, beside bare clients on the same broker in the same round."""

import asyncio
import secrets
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from bench import drive, streaming
from bench.lean_http import Connection
from bench.measure import Section, Target, p50
from bench.sessions import Say
from bench.stack import Stack
from blueengine.settings.kafka import KafkaSettings
from blueengine.settings.system import SystemSettings
from blueengine.transport.kafka import KafkaTransport
from blueengine.transport.kafka_topics import topics
from tests.kit.kafka import RealKafka, why_not

JVM: Final = ("-Xms512m", "-Xmx512m", "-XX:+UseSerialGC")
PREFIX: Final = "bench"
KINDS: Final = (
    streaming.Kind("json", 1 << 10, 20_000, 8_000, Target(0.7, 0.9, at_least=True)),
    streaming.Kind("frames", 1 << 20, 200, 80, Target(0.7, 0.9, at_least=True)),
)
HOP: Final = Target(1.5, 1.2)
SETTLE_SECONDS: Final = 1.5


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
        found: defaultdict[str, list[float]] = defaultdict(list)
        rounds = 2 if quick else 5
        for number in range(rounds):
            say(f"kafka: round {number + 1} of {rounds}")
            for kind in KINDS:
                count = kind.quick if quick else kind.count
                found[f"{kind.name} ours"].append(await streaming.platform(stack, kind, count))
                inline = await streaming.platform(stack, kind, count, streaming.INLINE)
                found[f"{kind.name} inline"].append(inline)
                for client in ("aiokafka", "confluent"):
                    rate = await bare_chain(stack, settings, client, kind, count)
                    found[f"{kind.name} {client}"].append(rate)
            for way, engines in (("ours", drive.CHAIN), ("inline", drive.INLINE)):
                hop = await added_hop(stack, engines, 100 if quick else 300)
                found[f"hop {way}"].append(hop)
            for client in ("aiokafka", "confluent"):
                hop = await bare_hop(stack, settings, client, 100 if quick else 300)
                found[f"hop {client}"].append(hop)
            await make_inboxes(settings, found)
            stack.check()
        _report(section, found)
    finally:
        await stack.stop(*(name for name in everything if name in stack.children))
        stack.channels = {}
        await asyncio.to_thread(kafka.stop)
        await stack.start_engines(others)
    return section


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
    for whose, words in (
        ("ours", "an engine more in a chain, p50"),
        ("inline", "an engine more in a chain, inline, p50"),
        ("aiokafka", "one hop of bare aiokafka, p50"),
        ("confluent", "one hop of bare confluent-kafka, p50"),
    ):
        section.add(words, [seconds * 1e3 for seconds in found[f"hop {whose}"]], "ms")
    section.ratio("an engine more ÷ aiokafka hop", found["hop ours"], found["hop aiokafka"], HOP)
    inline = found["hop inline"]
    section.ratio("an engine more, inline ÷ aiokafka hop", inline, found["hop aiokafka"], HOP)
    for name in ("make a topic", "open a transport", "close it and remove the topic"):
        section.add(name, [seconds * 1e3 for seconds in found[name]], "ms")


async def bare_chain(
    stack: Stack, settings: KafkaSettings, client: str, kind: streaming.Kind, count: int
) -> float:
    """Run source → 3 stages → sink on bare clients; messages a second."""
    roles = ["source", "stage", "stage", "stage", "sink"]
    names = await _topics(settings, len(roles) - 1)
    ways = zip(["", *names], [*names, ""], strict=True)
    processes = [
        await stack.pipe("bench.peers.kafka_chain", client, role, *way, str(count), str(kind.size))
        for role, way in zip(roles, ways, strict=True)
    ]
    try:
        tally = await streaming.tally_of(processes[0], processes[-1], settle=SETTLE_SECONDS)
    finally:
        await asyncio.gather(*(stack.end(process) for process in processes))
        await _remove(settings, names)
    return streaming.rate(tally, count)


async def bare_hop(stack: Stack, settings: KafkaSettings, client: str, count: int) -> float:
    """Send a message to another process and back, one at a time; seconds of one way, p50."""
    there, back = await _topics(settings, 2)
    arguments = (str(count), "200")
    pong = await stack.pipe("bench.peers.kafka_chain", client, "pong", there, back, *arguments)
    ping = await stack.pipe("bench.peers.kafka_chain", client, "ping", back, there, *arguments)
    try:
        tally = await streaming.tally_of(ping, ping, settle=SETTLE_SECONDS)
    finally:
        await asyncio.gather(stack.end(ping), stack.end(pong))
        await _remove(settings, [there, back])
    return p50(tally["times"]) / 1e9


async def added_hop(stack: Stack, engines: Sequence[str], count: int) -> float:
    """Return what each further engine of a chain adds to a session, p50 in seconds."""
    connection = await Connection.connect(stack.port)
    try:
        times = {}
        for length in (1, 3):
            request = drive.chain(engines[:length])
            taken = []
            for _ in range(count):
                began = time.perf_counter()
                drive.check(*await connection.send(request))
                taken.append(time.perf_counter() - began)
            times[length] = p50(taken)
    finally:
        connection.close()
    return (times[3] - times[1]) / 2


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
