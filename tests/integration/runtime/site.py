"""A small platform for these tests: one Redis, engine processes, and the services' store.

``Site`` may be shared by the tests of a module; ``Platform`` is one test's view of it, and does
what management would do (match, reap, due) whenever a test waits for a session.
"""

import contextlib
import hashlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from apps.sessions.store import NewSession, SessionRecord, SessionStore
from blueengine import ledger
from blueengine.kit.redis_address import RedisAddress
from blueengine.kit.redis_link import Link
from blueengine.transport.blobs import BlobFolder, BlobStore, start_ref
from blueengine.transport.blobs_s3 import BlobBucket
from blueengine.wire import names
from blueengine.wire.envelope import Stored
from blueengine.wire.lifecycle import TERMINAL
from blueengine.wire.plan import Channel, Feed, Node, Plan, StartData
from tests.kit.builders import a_session_id
from tests.kit.engines.process import EngineProcess
from tests.kit.inboxes import Inboxes, inboxes
from tests.kit.oracle import leftovers
from tests.kit.servers import RealRedis
from tests.kit.wait import until, wait_until

Ports = Mapping[str, str]


def a_graph(
    nodes: Mapping[str, tuple[str, Ports, Ports]],
    *,
    stored: Sequence[str] = ("Out",),
    fed: Sequence[str] = ("In",),
    types: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Plan:
    """Return a plan: ``{node: (engine, {input: channel}, {output: channel})}``."""
    used = {c for _, reads, writes in nodes.values() for c in (*reads.values(), *writes.values())}
    return Plan(
        nodes={n: Node(engine, dict(r), dict(w)) for n, (engine, r, w) in nodes.items()},
        channels={c: Channel((types or {}).get(c, "JSON"), c in stored) for c in sorted(used)},
        fed=tuple(fed),
        labels=dict(labels or {}),
    )


def a_chain(*engines: str, labels: Mapping[str, str] | None = None) -> Plan:
    """Return ``In`` -> engines in order -> ``Out``."""
    between = [f"Ch{number}" for number in range(1, len(engines))]
    reads, writes = ["In", *between], [*between, "Out"]
    return a_graph(
        {
            f"n{at}": (engine, {"Control": source}, {"Results": target})
            for at, (engine, source, target) in enumerate(
                zip(engines, reads, writes, strict=True), 1
            )
        },
        labels=labels,
    )


@dataclass
class Site:
    """One Redis server and the engine processes on it."""

    redis: RealRedis
    folder: Path
    channels: Mapping[str, str] = field(default_factory=dict)
    """Settings of the engines: where Kafka is, or nothing."""
    bucket: BlobBucket | None = None
    """Where blobs are, if not in a folder."""
    engines: list[EngineProcess] = field(default_factory=list)

    @property
    def blobs(self) -> Path:
        return self.folder / "blobs"

    @property
    def store(self) -> BlobStore:
        return self.bucket or BlobFolder(self.blobs)

    def blob_names(self) -> list[str]:
        """Return the references of all that is in the blob store."""
        if self.bucket:
            return [*self.bucket.below("sessions"), *self.bucket.below("files")]
        files = [path for path in self.blobs.rglob("*") if path.is_file()]
        return [str(path.relative_to(self.blobs)) for path in files]

    def launch(
        self,
        kind: str,
        engine: str = "",
        *,
        environment: Mapping[str, str] | None = None,
        **more: Any,
    ) -> EngineProcess:
        """Start an engine process without waiting for it."""
        process = EngineProcess(
            kind,
            self.folder,
            self.redis.url,
            id=engine,
            blob_dir=None if self.bucket else self.blobs,
            environment={**self.channels, **(environment or {})},
            **more,
        )
        self.engines.append(process.start())
        return process

    def attends(self, process: EngineProcess) -> bool:
        assert process.gone is None, process.output()
        return self.redis.call("EXISTS", names.instance(process.instance)) == ":1"

    def close(self) -> None:
        for engine in self.engines:
            engine.kill()


@contextlib.contextmanager
def a_site(
    folder: Path,
    engines: Iterable[str | tuple[str, str]] = (),
    *,
    channels: Mapping[str, str] | None = None,
    bucket: BlobBucket | None = None,
) -> Iterator[Site]:
    """Run a Redis and engines (kinds, or (kind, engine id)); end them in order at the end."""
    with RealRedis() as redis:
        site = Site(redis, folder, channels or {}, bucket)
        site.blobs.mkdir()
        try:
            for engine in engines:
                site.launch(*((engine,) if isinstance(engine, str) else engine))
            for process in site.engines:
                wait_until(lambda process=process: site.attends(process), 40)  # type: ignore[misc]
            yield site
            for process in site.engines:
                if process.gone is None:
                    assert process.end() == 0, process.output()
                    assert not list(process.temp.iterdir()), "the temp folder is not empty"
        finally:
            site.close()


@dataclass
class Platform:
    """What a test sees of a site."""

    site: Site
    link: Link
    store: SessionStore
    inboxes: Inboxes
    heartbeat_timeout: float = 2.0

    async def start(self, kind: str, engine: str = "", **more: Any) -> EngineProcess:
        """Start an engine process and wait until it attends."""
        process = self.site.launch(kind, engine, **more)
        await until(lambda: self.site.attends(process), 40, what=f"{kind} attends")
        return process

    async def submit(
        self,
        plan: Plan,
        *messages: Any,
        feeds: Mapping[str, Sequence[Any]] | None = None,
        session: str = "",
        **more: Any,
    ) -> str:
        """Submit a session; messages are JSON for the channel ``In``, or by channel in feeds.

        Bytes go as they are, a path by reference.
        """
        session = session or a_session_id()
        given = {"In": messages, **(feeds or {})} if messages else dict(feeds or {})
        start = tuple(
            self._feed(session, channel, index, value)
            for channel, values in given.items()
            for index, value in enumerate(values)
        )
        new = NewSession(
            session=session,
            plan=plan,
            kind="process-workflow",
            rank=0,
            start_data=StartData(start),
            labels=plan.labels,
            **more,
        )
        submitted = await self.store.submit(new, specs_version=-1, gateway="")
        assert submitted.word == "created"
        return session

    def _feed(self, session: str, channel: str, index: int, value: Any) -> Feed:
        if isinstance(value, Path):
            ref = start_ref(session, index)
            self.site.store.write(ref, [value.read_bytes()])
            return Feed(channel, b"", b"", ref)
        return Feed(channel, value if isinstance(value, bytes) else orjson.dumps(value))

    async def manage(self) -> None:
        """Do once what management does all the time."""
        for engine in await self.store.engine_ids():
            await self.store.match(engine)
        await self.store.reap(heartbeat_timeout=self.heartbeat_timeout)
        await self.store.due()

    async def status(self, session: str) -> str:
        await self.manage()
        record = await self.store.read(session)
        assert record
        return record.status

    async def ended(self, session: str, seconds: float = 15) -> SessionRecord:
        """Wait until a session has ended and none of its slots is taken."""

        async def over() -> SessionRecord | None:
            record = await self.store.read(session)
            if record and record.status in TERMINAL:
                return record
            await self.manage()
            return None

        try:
            return await until(over, seconds, what=f"{session} ends")
        except TimeoutError as exc:
            told = "\n".join(
                f"{e.instance} {e.gone} {e.output()[-1000:]}" for e in self.site.engines
            )
            raise AssertionError(f"{await self.store.read(session)}\n{told}") from exc

    async def results(self, session: str, channel: str = "Out") -> list[Any]:
        """Return the JSON values stored of a channel."""
        return [orjson.loads(item.payload) for item in await self.stored(session, channel)]

    async def stored(self, session: str, channel: str = "Out") -> list[Stored]:
        return await self.store.results(session, channel, after=0, limit=1_000_000)

    async def finished(self, session: str, channel: str = "Out", seconds: float = 15) -> list[Any]:
        """Wait for a session that must finish; the values stored of a channel."""
        record = await self.ended(session, seconds)
        assert record.status == "finished", record.fault
        return await self.results(session, channel)

    def sum_of(self, item: Stored) -> str:
        """Return the SHA-256 of a stored message's payload."""
        data = item.payload
        if item.blob:
            data = self.site.store.read(item.blob)
        assert len(data) == item.size
        return hashlib.sha256(data).hexdigest()

    async def noted(self, engine: EngineProcess, what: str, *, since: int = 0) -> str:
        """Wait until the engine ``deeds`` noted a line that begins so; return the line."""
        return await until(
            lambda: next((note for note in engine.notes()[since:] if note.startswith(what)), None),
            what=f"{what!r} noted",
        )

    async def nothing_left(self) -> None:
        """Check that only finished sessions and running engines are there."""
        running = [engine for engine in self.site.engines if engine.gone is None]
        left: list[str] = ["not looked"]

        async def tidy() -> bool:
            left[:] = await leftovers(
                self.link,
                attending=[engine.instance for engine in running],
                blobs=None if self.site.bucket else self.site.blobs,
                objects=self.site.blob_names() if self.site.bucket else (),
            )
            return not left

        try:
            await until(tidy, 5)
        except TimeoutError:
            raise AssertionError(f"left behind: {left}") from None
        for engine in running:
            home = next(engine.temp.iterdir())
            left = [
                path
                for path in home.rglob("*")
                # where payloads are kept on their way to a bucket folders may stay, but no file
                if path.is_file() or "blobs" not in path.parts
            ]
            assert not left, f"left in {home}: {left}"


@contextlib.asynccontextmanager
async def a_platform(site: Site) -> AsyncIterator[Platform]:
    """Open one test's view; at its end nothing may be left."""
    link = Link(RedisAddress.from_url(site.redis.url), scripts=ledger.load(), patience=20)
    await link.open()
    try:
        async with inboxes(site.channels, link) as opened:
            platform = Platform(site, link, SessionStore(link), opened)
            yield platform
            await platform.nothing_left()
    finally:
        await link.close()
