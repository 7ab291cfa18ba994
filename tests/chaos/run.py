"""One run: load and faults for a while, then peace, then the oracle."""

import asyncio
import contextlib
import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson

from apps.sessions.checkup import Checkup
from apps.sessions.outbox import Outbox
from apps.sessions.store import RUNNING, SessionStore
from blueengine.datatypes.image import Image
from blueengine.errors import BlueEngineError
from blueengine.kit.redis_link import Link
from blueengine.transport import kafka_topics
from blueengine.transport.blobs import BlobFolder
from blueengine.wire import names
from tests.chaos.drive import Clients, Sent
from tests.chaos.faults import Fault
from tests.chaos.sessions import GENERATION, Results, complaint
from tests.chaos.telling import complaints, whole_history
from tests.chaos.town import TENANTS, Town, a_link, a_town
from tests.kit.hooks import let_pass
from tests.kit.oracle import leftovers
from tests.kit.wait import until

CALM_SECONDS: Final = 120.0
"""How long sessions may take to end after the last fault."""
HURRY_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 0.1
TOPICS_SECONDS: Final = 90.0


@dataclass
class Report:
    """What a run has shown."""

    seed: int
    seconds: float = 0.0
    faults: dict[str, int] = field(default_factory=dict)
    sessions: dict[str, int] = field(default_factory=dict)
    """``kind status`` -> how many."""
    answers: dict[int, int] = field(default_factory=dict)
    longest: float = 0.0
    """Seconds from submit to the end of the slowest session."""
    attempts: int = 0
    """Of all sessions."""
    pushed: int = 0
    """Messages that clients fed to sessions."""
    events: int = 0
    """Of webhooks."""
    deliveries: int = 0
    """Requests that receivers got: events that came again count again."""
    most_running: int = 0
    """Sessions of the tenant with a quota that ran at the same time."""
    topics: int = -1
    """Inboxes in Kafka at the end; -1: data went over Redis."""
    findings: list[str] = field(default_factory=list)


async def run(
    folder: Path,
    faults: Sequence[Fault],
    *,
    seed: int,
    seconds: float,
    clients: int,
    heartbeat_timeout: float,
    kafka: bool = False,
    generation: int = GENERATION,
    say: Callable[[str], None] = lambda _text: None,
) -> Report:
    """Run the platform in ``folder`` under load and faults; what was found."""
    report = Report(seed)
    began = time.monotonic()
    async with a_town(
        folder,
        heartbeat_timeout=heartbeat_timeout,
        seed=seed,
        kafka=kafka,
        generation=generation,
    ) as town:
        town.say = say
        drive = Clients(
            town.urls,
            seed,
            count=clients,
            keys=town.keys,
            receivers=[ear.receiver.url for ear in town.ears],
            generation=generation,
        )
        driving = asyncio.create_task(drive.run(), name="clients")
        watching = asyncio.create_task(_watch_quota(town, report), name="quota")
        try:
            await _let_it_rain(town, faults, seconds)
            drive.stop()
            await town.heal()
            await town.attending()
            say(f"{seconds:7.2f} peace; {len(drive.open)} sessions are open")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(driving), CALM_SECONDS)
        finally:
            for task in (driving, watching):
                task.cancel()
            await asyncio.wait([driving, watching])
            for task in (driving, watching):
                if not task.cancelled() and (problem := task.exception()):
                    report.findings.append(f"{task.get_name()}: {problem!r}")
        async with a_link(town.redis) as link:
            say(f"{time.monotonic() - began:7.2f} the oracle looks")
            await _all_told(link)
            await _judge(report, town, drive, link)
            report.findings += await _topics(report, town)
            if not report.findings:
                await _forgotten(report, town, link)
        report.faults = dict(sorted(town.counts.items()))
        report.answers = dict(sorted(drive.answers.items()))
    report.findings += [*town.findings, *drive.findings]
    report.seconds = time.monotonic() - began
    return report


async def _let_it_rain(town: Town, faults: Sequence[Fault], seconds: float) -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()
    for fault in faults:
        await asyncio.sleep(start + fault.at - loop.time())
        town.hit(fault)
    await asyncio.sleep(start + seconds - loop.time())


async def _watch_quota(town: Town, report: Report) -> None:
    """Count again and again how many sessions of a tenant with a quota run."""
    (tenant, most), *_ = [(name, limit) for name, (limit, _) in TENANTS.items() if limit]
    keys = [names.tenant_status(tenant, status) for status in RUNNING]
    count = "local n = 0 for _, k in ipairs(KEYS) do n = n + redis.call('ZCARD', k) end return n"
    async with a_link(town.redis) as link:
        while True:
            with contextlib.suppress(BlueEngineError):  # Redis is away for long
                running = int(await link.send("EVAL", count, len(keys), *keys))
                report.most_running = max(report.most_running, running)
                if running > most:
                    report.findings.append(f"{running} sessions of {tenant} ran at the same time")
            await asyncio.sleep(LOOK_SECONDS)


async def _all_told(link: Link) -> None:
    """Wait until nothing waits for any webhook; what is tried again much later is tried now."""
    outbox = Outbox(link)

    async def told() -> bool:
        if await link.send("ZCARD", names.HOOK_RECEIVERS) == 0:
            return True
        await let_pass(outbox, HURRY_SECONDS)
        await asyncio.sleep(1.0)
        return False

    with contextlib.suppress(TimeoutError):
        await until(told, CALM_SECONDS)


async def _topics(report: Report, town: Town) -> list[str]:
    """Return what is wrong with the inboxes in Kafka: those of the dead are gone, no other is."""
    if (settings := town.kafka_settings) is None:
        return []
    attending = {engine.instance for engine in town.engines}
    found: set[str] = set()

    async def exact() -> bool:
        async with kafka_topics.topics(settings) as topics:
            found.clear()
            found.update(await topics.owners())
        return found == attending

    with contextlib.suppress(TimeoutError):
        await until(exact, TOPICS_SECONDS)
    report.topics = len(found)
    return [f"the inbox of {instance} is wrong" for instance in sorted(found ^ attending)]


async def _judge(report: Report, town: Town, drive: Clients, link: Link) -> None:
    store, blobs = SessionStore(link), BlobFolder(town.blobs)
    counts: Counter[str] = Counter()
    outbox, heard = Outbox(link), town.heard()
    report.deliveries = sum(map(len, heard.values()))
    known = {one.session for one in drive.sent}
    for one in drive.sent:
        if not one.session:
            report.findings.append(f"{one.key} was never acknowledged")
            continue
        record = await store.read(one.session)
        if record is None:
            report.findings.append(
                f"{one.session} ({one.wanted.kind}) was acknowledged and is gone"
            )
            continue
        counts[f"{one.wanted.kind} {record.status}"] += 1
        report.attempts += record.attempt
        report.longest = max(report.longest, one.ended - one.submitted)
        results = await _results(store, blobs, one)
        why = complaint(one.wanted, record, results, hurt=frozenset(town.hurt))
        if not why and one.status != record.status:
            why = f"is {record.status}; the client was told {one.statuses}"
        if not why and one.shown is not None:
            why = one.shown.complaint(results["Out"], whole=record.status == "finished")
        history = await whole_history(store, one.session)
        came = [heard.pop(f"/in{one.path(at)}", []) for at in range(len(one.wanted.hooks))]
        report.events += sum(len({each.received.id for each in each_one}) for each_one in came)
        report.pushed += one.pushed
        told_wrong = await complaints(
            outbox, one.session, one.wanted.hooks, came, history=history, results=results
        )
        why = "; ".join([*filter(None, [why]), *told_wrong])
        if why:
            told = await _story(store, link, town, one.session)
            report.findings.append(f"{one.session} ({one.wanted.kind}) {why}\n{told}")
    report.sessions = dict(sorted(counts.items()))
    report.findings += [f"a receiver was told of {path}, which nobody asked for" for path in heard]
    # a submit whose answer was lost is found by its key: no session is there twice
    stored = {word.decode() for word in await link.send("ZRANGE", names.SESSIONS, 0, -1)}
    report.findings += [f"{session} is there, and nobody sent it" for session in stored - known]
    left: list[str] = []

    async def tidy() -> bool:
        attending = [engine.instance for engine in town.engines]
        left[:] = await leftovers(link, attending=attending)
        return not left

    with contextlib.suppress(TimeoutError):
        await until(tidy, 30)
    report.findings += left
    look = Checkup(link)
    report.findings += [f"doctor: {finding}" async for finding in look.run()]


async def _results(store: SessionStore, blobs: BlobFolder, one: Sent) -> Results:
    results: Results = {}
    for channel in one.wanted.results:
        items = await store.results(one.session, channel, after=0, limit=1_000_000)
        results[channel] = values = []
        for item in items:
            data = blobs.existing(item.blob).read_bytes() if item.blob else item.payload
            if item.type == "Image":
                values.append(hashlib.sha256(Image(data).array.tobytes()).hexdigest())
            elif item.blob or item.type != "JSON":
                values.append(hashlib.sha256(data).hexdigest())
            else:
                values.append(orjson.loads(item.payload))
    return results


async def _story(store: SessionStore, link: Link, town: Town, session: str) -> str:
    """Return what is known of a session: its history, its record, and what engines logged of it."""
    lines = [
        f"  {entry.at} attempt {entry.attempt} {entry.fields}"
        for entry in (await store.history(session))[-40:]
    ]
    fields = await link.send("HGETALL", names.session(session))
    pairs = zip(fields[::2], fields[1::2], strict=True)
    lines += [f"  {n.decode()}: {v[:300]!r}" for n, v in pairs if n not in {b"plan", b"input"}]
    for engine in [*town.ended, *town.engines]:
        mentions = [line for line in engine.output().splitlines() if session in line]
        lines += [f"  {engine.instance}: {line}" for line in mentions[-10:]]
    return "\n".join(lines)


async def _forgotten(report: Report, town: Town, link: Link) -> None:
    """Let every session expire: nothing of it may stay."""
    ids = await link.send("ZRANGE", names.EXPIRY, 0, -1)
    for session in ids:
        await link.send("ZADD", names.EXPIRY, "XX", 0, session)
    await until(lambda: _is_empty(link), 60, what="management forgets every session")
    allowed = {names.ORDER, names.SPECS, names.ENGINES, names.DEADLINES, names.WAKE, "be:watch"}
    allowed |= {names.KEYS, names.TENANTS, names.HOOK_TOTALS}
    allowed |= {kind(name) for name in TENANTS for kind in (names.tenant, names.tenant_keys)}
    for engine in town.engines:
        kinds = (names.instance, names.commands, names.inbox)
        allowed |= {kind(engine.instance) for kind in kinds}
        allowed |= {kind(engine.id) for kind in (names.engine, names.instances, names.free)}
    keys = {key.decode() for key in await link.send("KEYS", "*")}
    # Idempotency-Keys are kept for a day, leases for their period
    for_a_while = (
        "be:idem:",
        "be:lease:",
        "be:hook:d:",
        "be:hook:by:",
        "be:hook:secrets:",
        "be:key:",
    )
    offers = tuple(names.free_at(engine.id, "") for engine in town.engines)
    left = {key for key in keys - allowed if not key.startswith((*for_a_while, *offers))}
    report.findings += [f"key {key} is left of forgotten sessions" for key in sorted(left)]
    for folder in town.blobs.glob("sessions/*"):
        os.utime(folder, (0, 0))  # long ago, or management would leave it alone
    with contextlib.suppress(TimeoutError):
        await until(lambda: not any(town.blobs.glob("sessions/*")), 30)
    files = [str(p.relative_to(town.blobs)) for p in town.blobs.rglob("*") if p.is_file()]
    folders = [str(p.relative_to(town.blobs)) for p in town.blobs.glob("sessions/*")]
    report.findings += [f"blob {name} is left of forgotten sessions" for name in files + folders]


async def _is_empty(link: Link) -> bool:
    count: int = await link.send("ZCARD", names.SESSIONS)
    return count == 0
