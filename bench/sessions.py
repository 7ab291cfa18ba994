"""What a session costs: latency with one in flight, throughput with many, beside PING and Celery.

What a further engine costs is held beside PING, and beside what one more stage costs in a chain of bare
processes, which is what this machine takes for that many wake-ups: a PING is one process' loop kept warm.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from statistics import median
from typing import Final

from redis.asyncio import Redis

from bench import cpu, drive
from bench.measure import Section, Target, p50, p99
from bench.stack import Stack, celery_beside

Say = Callable[[str], None]

FSYNC: Final = ("no", "everysec", "always")
CELLS: Final = {
    "1": (drive.one_engine(), "1 engine", 1),
    "3": (drive.chain(), "chain of 3", 3),
    "inline 1": (drive.one_engine(drive.INLINE[0]), "1 engine inline", 1),
    "inline 3": (drive.chain(drive.INLINE), "chain of 3 inline", 3),
}
"""What is measured: the request, its name, and the length of Celery's chain beside it."""
AGAINST_CELERY: Final = {
    1: (Target(1.5, 2.5, at_least=True), Target(2.5, 4, at_least=True)),
    3: (Target(4, 7, at_least=True), Target(8, 12, at_least=True)),
}
"""By length of the chain: how much faster one is, and how many more there are in a second."""
LENGTHS: Final = tuple(AGAINST_CELERY)
TURNS: Final = 5
"""Of each cell in a round: a machine that slows down while it lasts slows all of them."""


@dataclass(frozen=True)
class Size:
    """How long to measure."""

    rounds: int
    pings: int
    sessions: int
    peers: int
    """Round trips of Celery."""
    seconds: float
    """Of each throughput cell."""


FULL: Final = Size(rounds=7, pings=1000, sessions=300, peers=100, seconds=3.0)
QUICK: Final = Size(rounds=3, pings=500, sessions=150, peers=50, seconds=1.5)


async def run(stack: Stack, *, quick: bool, say: Say) -> Section:
    """Measure in rounds; in each every cell and every denominator once."""
    size = QUICK if quick else FULL
    rounds: defaultdict[str, list[float]] = defaultdict(list)
    pooled: defaultdict[str, list[float]] = defaultdict(list)
    loads: defaultdict[str, list[drive.Load]] = defaultdict(list)

    async with (
        celery_beside(stack) as celery,
        drive.peers(stack, celery=celery) as (redis, peer),
        AsyncExitStack() as opened,
    ):
        bare = {n: await opened.enter_async_context(drive.bare_chain(stack, n)) for n in LENGTHS}

        async def latencies() -> None:
            taken: defaultdict[str, list[float]] = defaultdict(list)
            for _ in range(TURNS):
                for name, times in (await _turn(stack, size, redis, bare, peer)).items():
                    taken[name] += times
            for name, times in taken.items():
                rounds[f"p50 {name}"].append(p50(times))
                rounds[f"p99 {name}"].append(p99(times))
                pooled[name] += times

        async def rates() -> None:
            for name, (request, _, _) in CELLS.items():
                load = await drive.throughput(stack, request, size.seconds)
                loads[name].append(load)
                rounds[f"rate {name}"].append(load.rate)
            for length in LENGTHS if peer else ():
                theirs = await peer.throughput(length, size.seconds)
                rounds[f"celery rate {length}"].append(theirs)

        await _warm_up(stack, peer)
        for number in range(size.rounds):
            say(f"sessions: round {number + 1} of {size.rounds}")
            await latencies()
            await rates()
            stack.check()
    return _section(rounds, pooled, loads)


async def _turn(
    stack: Stack,
    size: Size,
    redis: Redis,
    bare: Mapping[int, drive.BareChain],
    peer: drive.Celery | None,
) -> Mapping[str, Sequence[float]]:
    """Return what a share of a round took: every cell and every denominator, one in flight.

    The first of each finds everything cold that had none, and is left out.
    """
    sessions, peers = 1 + size.sessions // TURNS, 1 + size.peers // TURNS
    taken: defaultdict[str, list[float]] = defaultdict(list)
    for name, (request, _, _) in CELLS.items():
        taken["ping"] += await drive.ping(redis, size.pings // TURNS)
        taken[name] = (await drive.latency(stack, request, sessions))[1:]
    rest = p50(taken["1"])  # as long as an engine rests between two sessions
    for length in LENGTHS:
        taken[f"bare {length}"] = (await bare[length].latency(sessions, rest))[1:]
        if peer:
            taken[f"celery {length}"] = (await peer.latency(length, peers))[1:]
    return taken


async def _warm_up(stack: Stack, peer: drive.Celery | None) -> None:
    for request, _, _ in CELLS.values():
        await drive.latency(stack, request, 100)
        await drive.throughput(stack, request, 0.5)
    if peer:
        for length in LENGTHS:
            await peer.latency(length, 10)


def _section(
    rounds: Mapping[str, Sequence[float]],
    pooled: Mapping[str, Sequence[float]],
    loads: Mapping[str, Sequence[drive.Load]],
) -> Section:
    section = Section("sessions")
    ping = rounds["p50 ping"]
    section.add("PING of redis-py, p50", [1e6 * t for t in ping], "µs")
    for name, (_, what, _) in CELLS.items():
        section.add(f"{what}, p50", [1e3 * t for t in rounds[f"p50 {name}"]], "ms")
        section.add(f"{what}, p99 of all rounds", [1e3 * p99(pooled[name])], "ms")
    stage = _each_further(rounds, "bare ")
    section.ratio("each further bare stage ÷ PING", stage, ping)
    for way, words in (("", ""), ("inline ", " inline")):
        each = _each_further(rounds, way)
        section.ratio(f"1 engine{words} p50 ÷ PING", rounds[f"p50 {way}1"], ping, Target(19, 13))
        section.ratio(f"each further engine{words} ÷ PING", each, ping, Target(4, 2))
        section.ratio(f"each further engine{words} ÷ bare stage", each, stage)
    for name, (_, what, _) in CELLS.items():
        section.ratio(
            f"{what} p99 ÷ p50", rounds[f"p99 {name}"], rounds[f"p50 {name}"], Target(3, 2)
        )
    for name, (_, what, _) in CELLS.items():
        section.add(f"{what}, {drive.IN_FLIGHT} in flight", rounds[f"rate {name}"], "sessions/s")
    if "celery rate 1" in rounds:
        _against_celery(section, rounds)
    else:
        section.notes.append("Celery is not installed: nothing to compare with")
    for name, (_, what, _) in CELLS.items():
        section.notes.append(_cpu_note(what, loads[name]))
    return section


def _each_further(rounds: Mapping[str, Sequence[float]], way: str) -> list[float]:
    """Return the seconds that a stage more takes in each round: half of what two more do."""
    one, three = rounds[f"p50 {way}1"], rounds[f"p50 {way}3"]
    return [(b - a) / 2 for a, b in zip(one, three, strict=True)]


def _against_celery(section: Section, rounds: Mapping[str, Sequence[float]]) -> None:
    for length, what in ((1, "1 task"), (3, "chain of 3")):
        theirs, rate = rounds[f"p50 celery {length}"], rounds[f"celery rate {length}"]
        section.add(f"Celery {what}, p50", [1e3 * t for t in theirs], "ms")
        section.add(f"Celery {what}, {drive.IN_FLIGHT} in flight", rate, "/s")
    for name, (_, what, length) in CELLS.items():
        faster, more = AGAINST_CELERY[length]
        theirs, rate = rounds[f"p50 celery {length}"], rounds[f"celery rate {length}"]
        section.ratio(f"{what}: Celery's p50 ÷ ours", theirs, rounds[f"p50 {name}"], faster)
        section.ratio(f"{what}: our sessions/s ÷ Celery's", rounds[f"rate {name}"], rate, more)


def _cpu_note(what: str, loads: Sequence[drive.Load]) -> str:
    names = dict.fromkeys(name for load in loads for name in load.cpu)
    shares = {name: median(load.cpu.get(name, 0.0) for load in loads) for name in names}
    busy = median(load.busy for load in loads)
    shown = cpu.as_text({name: share for name, share in shares.items() if share})
    return f"CPU of a session of {what}, µs: {shown}; {busy:.1f} CPUs busy"


async def durability(stack: Stack, *, quick: bool, say: Say) -> Section:
    """Measure what each setting of appendfsync costs."""
    rounds, count, seconds = (2, 100, 1.0) if quick else (3, 200, 2.0)
    requests = {"1 engine": drive.one_engine(), "chain of 3": drive.chain()}
    found: defaultdict[str, list[float]] = defaultdict(list)
    section = Section("appendfsync")
    try:
        for number in range(rounds):
            say(f"appendfsync: round {number + 1} of {rounds}")
            for policy in FSYNC:
                await stack.link.send("CONFIG", "SET", "appendfsync", policy)
                for what, request in requests.items():
                    taken = await drive.latency(stack, request, count)
                    load = await drive.throughput(stack, request, seconds)
                    found[f"{what} {policy} p50"].append(1e3 * p50(taken))
                    found[f"{what} {policy} rate"].append(load.rate)
    finally:
        await stack.link.send("CONFIG", "SET", "appendfsync", "everysec")
    for what in requests:
        for policy in FSYNC:
            section.add(f"{what}, {policy}: p50", found[f"{what} {policy} p50"], "ms")
            section.add(
                f"{what}, {policy}: {drive.IN_FLIGHT} in flight",
                found[f"{what} {policy} rate"],
                "sessions/s",
            )
    return section
