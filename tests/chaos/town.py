"""The platform as real processes, each behind a network of its own, kept running by a supervisor."""

import asyncio
import contextlib
import functools
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from apps.sessions.outbox import Outbox
from apps.sessions.store import SessionStore
from blueengine import ledger
from blueengine.kit.redis_address import RedisAddress
from blueengine.kit.redis_link import Link
from blueengine.ledger.keys import KeyStore
from blueengine.settings.kafka import KafkaSettings
from blueengine.settings.system import SystemSettings
from blueengine.wire.access import Scope
from tests.chaos.faults import Fault
from tests.chaos.listening import RECEIVERS, Ear, Heard
from tests.chaos.sessions import GENERATION, engines
from tests.kit.engines.process import EngineProcess
from tests.kit.fault_proxy import FaultProxy
from tests.kit.kafka import RealKafka
from tests.kit.servers import RealRedis
from tests.kit.wait import until

RESTART_SECONDS: Final = 0.3
LOOK_SECONDS: Final = 0.05
GATEWAYS: Final = 2
MANAGERS: Final = 2
READY_SECONDS: Final = 120.0
END_SECONDS: Final = 30.0
DRAIN_SECONDS: Final = 300.0
"""An engine that is told to end lets its sessions end first, however long their clients feed them."""
WEBHOOK_SECONDS: Final = 2.0
"""How long the receiver of a webhook may take."""
START_SECONDS: Final = 20.0
"""How long an engine may take to say that it is ready for a session."""
TENANTS: Final = {"north": (0, 0), "south": (2, 1)}
"""Tenant -> how many of its sessions may run and wait at a time; 0: any number."""
KAFKA_START_SECONDS: Final = 240.0
GONE: Final = 75
"""Exit code of an engine that the platform gave up."""


@dataclass
class Place:
    """One process that must run, with its proxy to Redis; what runs there may change."""

    name: str
    proxy: FaultProxy
    begin: Callable[["Place"], subprocess.Popen[bytes]]
    process: subprocess.Popen[bytes] | None = None
    engine: EngineProcess | None = None
    busy: bool = False
    """A fault is at work here."""
    told: set[int] = field(default_factory=set)
    """Pids that were told to end, or were killed."""

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        self.process = self.begin(self)

    def send(self, number: signal.Signals) -> None:
        if self.running:
            if number in {signal.SIGKILL, signal.SIGTERM}:
                self.told.add(self.pid)
            assert self.process
            self.process.send_signal(number)


class Town:
    """Everything that runs."""

    def __init__(
        self,
        folder: Path,
        redis: RealRedis,
        *,
        heartbeat_timeout: float,
        seed: int,
        kafka: RealKafka | None = None,
        kafka_proxy: FaultProxy | None = None,
        generation: int = GENERATION,
    ) -> None:
        self.folder = folder
        self._generation = generation
        self.redis = redis
        self.kafka = kafka
        self.keys: dict[str, str] = {}
        """Tenant -> its API key."""
        self.ears = [
            Ear(f"{seed} {number}", patience=WEBHOOK_SECONDS) for number in range(RECEIVERS)
        ]
        self._kafka_proxy = kafka_proxy
        self._busy: set[str] = set()
        """Servers at which a fault is at work."""
        self.timeout = heartbeat_timeout
        self.places: dict[str, list[Place]] = {"engine": [], "gateway": [], "management": []}
        self.urls: list[str] = []
        self.hurt: set[str] = set()
        """Instances that were killed, paused or cut off."""
        self.findings: list[str] = []
        """What no process should have done."""
        self.ended: list[EngineProcess] = []
        self.counts: dict[str, int] = {}
        self.say: Callable[[str], None] = lambda _text: None
        self._stack = contextlib.AsyncExitStack()
        self._closing = False
        self._faults: set[asyncio.Task[None]] = set()
        self._log_numbers = 0

    @property
    def blobs(self) -> Path:
        return self.folder / "blobs"

    @property
    def engines(self) -> list[EngineProcess]:
        """Return the instances that are meant to run now."""
        return [place.engine for place in self.places["engine"] if place.engine]

    @property
    def kafka_settings(self) -> KafkaSettings | None:
        """Return where Kafka is, without the proxy."""
        if self.kafka is None:
            return None
        return SystemSettings(kafka_brokers=self.kafka.inside).kafka

    # -- life -------------------------------------------------------------------------------------

    async def open(self) -> None:
        for name in ("blobs", "marks", "logs", "tmp"):
            (self.folder / name).mkdir()
        for ear in self.ears:
            await self._stack.enter_async_context(ear.receiver)
        await self._settle_tenants()
        for number in range(GATEWAYS):
            port = _free_port()
            self.urls.append(f"http://127.0.0.1:{port}")
            self._add("gateway", f"gateway-{number}", functools.partial(self._service, port=port))
        for number in range(MANAGERS):
            self._add("management", f"management-{number}", self._service)
        for engine, count in engines(self._generation).items():
            for number in range(count):
                self._add("engine", f"{engine}-{number}", self._engine)
        for place in self.all():
            place.start()
        await self.attending()
        keeper = asyncio.create_task(self._keep(), name="supervisor")
        self._stack.push_async_callback(_end_task, keeper)

    async def _settle_tenants(self) -> None:
        async with a_link(self.redis) as link:
            secrets: dict[str, str] = {}
            for tenant, (running, pending) in TENANTS.items():
                store = KeyStore(link, os.urandom)
                _, key = await store.create(tenant=tenant, scopes={Scope.SUBMIT, Scope.READ})
                self.keys[tenant] = key
                if running or pending:
                    await SessionStore(link).limit_tenant(
                        tenant, max_running=running, max_pending=pending
                    )
                (secret,) = await Outbox(link).signing_secrets(tenant)
                secrets[tenant] = secret.value
            for ear in self.ears:
                ear.secrets = secrets

    def _add(
        self, target: str, name: str, begin: Callable[[Place], subprocess.Popen[bytes]]
    ) -> None:
        proxy = self._stack.enter_context(FaultProxy(self.redis.port))
        self.places[target].append(Place(name, proxy, begin))

    def all(self) -> list[Place]:
        return [place for places in self.places.values() for place in places]

    async def attending(self) -> None:
        """Wait until every engine is in attendance."""

        def all_there() -> bool:
            with contextlib.suppress(OSError):  # Redis is busy
                return all(
                    self.redis.call("EXISTS", f"be:i:{engine.instance}") == ":1"
                    for engine in self.engines
                )
            return False

        await until(all_there, READY_SECONDS, what="every engine attends")

    def _environment(self, place: Place) -> dict[str, str]:
        return {
            "REDIS_URL": f"redis://127.0.0.1:{place.proxy.port}/0",
            "HEARTBEAT_SECONDS": f"{self.timeout / 10:g}",
            "HEARTBEAT_TIMEOUT": f"{self.timeout:g}",
            # a broker that starts on a busy machine takes its time
            "PATIENCE_SECONDS": "240" if self.kafka else "60",
            "KAFKA_BROKERS": self.kafka.bootstrap if self.kafka else "",
        }

    def _service(self, place: Place, port: int = 0) -> subprocess.Popen[bytes]:
        kind = "restful" if port else "management"
        settings = {
            "BLOB_DIR": str(self.blobs),
            "RESTFUL_PORT": str(port),
            "RESTFUL_STOP_GRACE": "20",
            "RESTFUL_START_TIMEOUT": "60" if self._generation == 1 else f"{START_SECONDS:g}",
            "RESTFUL_REDIS_PATIENCE": "5",
            "RESTFUL_AUTH": "on",
            "RESTFUL_AUDIT_LOG": str(self.folder / "logs" / f"{place.name}.audit"),
            "OUTSIDE_ALLOW": "loopback",
            "WEBHOOK_TIMEOUT_SECONDS": f"{WEBHOOK_SECONDS:g}",
            "INBOXES_SECONDS": "10",
            "SWEEP_SECONDS": "2",
            "WAKE_CLAIM_SECONDS": "2",
            "JANITOR_SECONDS": "0.5",
            "ORPHAN_SECONDS": "2",
            "ORPHAN_AGE_SECONDS": "60",
        }
        with (self.folder / "logs" / place.name).open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", f"apps.{kind}.main"],
                env={**os.environ, **self._environment(place), **settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _engine(self, place: Place) -> subprocess.Popen[bytes]:
        if place.engine:
            self.ended.append(place.engine)
        name, _, number = place.name.partition("-")
        # one temp folder for all, as on a real machine: what a killed one leaves, the next removes
        more = {"STORM_MARKS": str(self.folder / "marks"), "TMPDIR": str(self.folder / "tmp")}
        # some are neighbours, the others reach them as one on another host does
        more["LOCAL_CHANNELS"] = "1" if number == "0" else "0"
        if name == "p":
            more["STORM_REFUSES"] = "1"
        elif name == "s":
            more["STORM_SILENT"] = "1"
        place.engine = EngineProcess(
            "storm_join" if name == "j" else "storm",
            self.folder / "engines",
            self.redis.url,
            id=name,
            blob_dir=self.blobs,
            settings={
                "MAX_WORKER": 2 if name in "acs" else 1,
                "CONCURRENCY": 2 if name in "cs" else 4,
                "STOP_GRACE_SECONDS": 1 if name in "cs" else 5,
            },
            environment={**self._environment(place), **more},
        ).start()
        assert place.engine.process
        return place.engine.process

    async def _keep(self) -> None:
        """Start again whatever has ended."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for place in self.all():
                if not place.running and not self._closing:
                    self._look_at_end(place)
                    await asyncio.sleep(RESTART_SECONDS)
                    place.start()

    def _look_at_end(self, place: Place) -> None:
        assert place.process
        code = place.process.poll()
        if place.process.pid in place.told and code in {0, -signal.SIGKILL, -signal.SIGTERM}:
            return
        if place.engine and code == GONE and place.engine.instance in self.hurt:
            return
        if code == 1 and "no Redis at" in self._last_words(place):
            return  # it was started while Redis was away, and is started again
        hurt = place.engine and place.engine.instance in self.hurt
        if code == 1 and hurt and "was killed by SIGKILL" in self._last_words(place):
            return  # a worker was killed before it had begun: the engine never attended
        name = place.engine.instance if place.engine else place.name
        self.findings.append(f"{name} ended with {code}: {self._last_words(place)}")

    def _last_words(self, place: Place) -> str:
        path = self.folder / "logs" / place.name
        text = place.engine.output() if place.engine else path.read_text(errors="replace")
        return text[-1500:]

    async def close(self) -> None:
        """End everything in order; what does not end well is a finding."""
        await self.heal()
        self._closing = True
        try:
            for target in ("engine", "gateway", "management"):
                for place in self.places[target]:
                    place.send(signal.SIGTERM)
                for place in self.places[target]:
                    await self._ended(place)
            if left := list((self.folder / "tmp").iterdir()):
                self.findings.append(f"left in the temp folder: {left}")
        finally:
            for place in self.all():
                if place.running:
                    assert place.process
                    place.process.kill()
                    place.process.wait()
            await self._stack.aclose()

    async def _ended(self, place: Place) -> None:
        assert place.process
        with contextlib.suppress(TimeoutError):
            await until(lambda: not place.running, END_SECONDS)
        starting = -signal.SIGTERM  # a service that was started a moment ago has no handler yet
        if place.process.poll() not in ({0} if place.engine else {0, starting}):
            self.findings.append(
                f"{place.name} was told to end: {place.process.poll()}: {self._last_words(place)}"
            )

    async def heal(self) -> None:
        """Wait until every fault is over."""
        while self._faults:
            await asyncio.wait(self._faults)

    def heard(self) -> dict[str, list[Heard]]:
        """Return what receivers were told, by path, in order; a path is of one webhook."""
        by_path: dict[str, list[Heard]] = {}
        for ear in self.ears:
            for heard in ear.heard:
                by_path.setdefault(heard.received.path, []).append(heard)
        return by_path

    # -- faults -----------------------------------------------------------------------------------

    def hit(self, fault: Fault) -> None:
        """Let something go wrong; it goes on beside the caller."""
        hits: dict[str, Callable[[Fault], Coroutine[Any, Any, None]]] = {
            "redis": self._hit_redis,
            "kafka": self._hit_kafka,
            "receiver": self._hit_receiver,
        }
        work = hits.get(fault.target, self._hit_place)(fault)
        task = asyncio.create_task(work, name=str(fault))
        self._faults.add(task)
        task.add_done_callback(self._on_over)

    def _on_over(self, fault: asyncio.Task[None]) -> None:
        self._faults.discard(fault)
        if not fault.cancelled() and (problem := fault.exception()):
            self.findings.append(f"{fault.get_name()}: {problem!r}")

    def _count(self, fault: Fault) -> None:
        name = f"{fault.target} {fault.kind}"
        if fault.kind in {"pause", "cut", "freeze"} and fault.target == "engine":
            name += " past the deadline" if fault.seconds > self.timeout else " shortly"
        self.counts[name] = self.counts.get(name, 0) + 1
        self.say(str(fault))

    async def _hit_redis(self, fault: Fault) -> None:
        if "redis" in self._busy:
            return  # two at a time are one
        self._busy.add("redis")
        try:
            self._count(fault)
            if fault.kind == "pause":
                self.redis.pause()
                await asyncio.sleep(fault.seconds)
                return
            hard = fault.kind in {"kill", "away"}
            await asyncio.to_thread(self.redis.kill if hard else self.redis.halt)
            await asyncio.sleep(fault.seconds)
            await asyncio.to_thread(self.redis.start)
        finally:
            self.redis.resume()
            self._busy.discard("redis")

    async def _hit_kafka(self, fault: Fault) -> None:
        assert self.kafka
        assert self._kafka_proxy
        if "kafka" in self._busy:
            return  # two at a time are one
        self._busy.add("kafka")
        (broker,), proxy = self.kafka.brokers, self._kafka_proxy
        try:
            self._count(fault)
            match fault.kind:
                case "pause":
                    broker.pause()
                    await asyncio.sleep(fault.seconds)
                case "cut":
                    proxy.refuse()
                    await asyncio.sleep(fault.seconds)
                case "freeze":
                    proxy.freeze()
                    await asyncio.sleep(fault.seconds)
                case "drop":
                    proxy.reset()
                case _:
                    hard = fault.kind != "term"
                    await asyncio.to_thread(broker.kill if hard else broker.halt)
                    await asyncio.sleep(fault.seconds)
                    broker.start()
                    await asyncio.to_thread(self.kafka.wait_ready, seconds=KAFKA_START_SECONDS)
        finally:
            broker.resume()
            proxy.heal()
            self._busy.discard("kafka")

    async def _hit_receiver(self, fault: Fault) -> None:
        free = [ear for ear in self.ears if not ear.busy]
        if not free:
            return
        ear = free[fault.which % len(free)]
        ear.busy = True
        self._count(fault)
        try:
            await ear.suffer(fault.kind, fault.seconds)
        finally:
            ear.busy = False

    async def _hit_place(self, fault: Fault) -> None:
        free = [p for p in self.places[fault.target] if not p.busy and p.running]
        if not free:
            return
        place = free[fault.which % len(free)]
        place.busy = True
        try:
            self._count(fault)
            # what is far below the deadline must not cost a session
            if place.engine and (
                fault.kind in {"kill", "worker"} or fault.seconds > 0.5 * self.timeout
            ):
                self.hurt.add(place.engine.instance)
            await self._do(fault, place)
        finally:
            place.proxy.heal()
            place.send(signal.SIGCONT)
            place.busy = False

    async def _do(self, fault: Fault, place: Place) -> None:
        match fault.kind:
            case "kill":
                place.send(signal.SIGKILL)
            case "term":
                place.send(signal.SIGTERM)
                await until(lambda: not place.running, DRAIN_SECONDS, what=f"{place.name} drains")
            case "worker":
                if place.engine and (workers := place.engine.workers()):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(random.Random(fault.which).choice(workers), signal.SIGKILL)
            case "pause":
                place.send(signal.SIGSTOP)
                await asyncio.sleep(fault.seconds)
            case "cut":
                place.proxy.refuse()
                await asyncio.sleep(fault.seconds)
            case "freeze":
                place.proxy.freeze()
                await asyncio.sleep(fault.seconds)
            case _:  # drop
                place.proxy.reset()


@contextlib.asynccontextmanager
async def a_town(
    folder: Path,
    *,
    heartbeat_timeout: float,
    seed: int,
    kafka: bool = False,
    generation: int = GENERATION,
) -> AsyncIterator[Town]:
    """Run a platform; at the end of the context it is ended in order, and what is left is found."""
    # every write is on the disk before its reply: a killed Redis must not forget what it said
    with RealRedis(options={"appendfsync": "always"}) as redis, contextlib.ExitStack() as stack:
        proxy = broker = None
        if kafka:
            proxy = stack.enter_context(FaultProxy())
            port = proxy.port
            broker = RealKafka(advertise=lambda _: port)
            stack.callback(broker.stop)
            await asyncio.to_thread(broker.start, seconds=KAFKA_START_SECONDS)
            proxy.target = broker.brokers[0].port
        town = Town(
            folder,
            redis,
            heartbeat_timeout=heartbeat_timeout,
            seed=seed,
            kafka=broker,
            kafka_proxy=proxy,
            generation=generation,
        )
        try:
            await town.open()
            yield town
        finally:
            await town.close()


@contextlib.asynccontextmanager
async def a_link(redis: RealRedis) -> AsyncIterator[Link]:
    """Open a link that knows every script, past all proxies."""
    link = Link(RedisAddress.from_url(redis.url), scripts=ledger.load(), patience=READY_SECONDS)
    await link.open()
    try:
        yield link
    finally:
        await link.close()


async def _end_task(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
