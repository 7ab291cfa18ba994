"""A real Kafka for tests: one broker or several, on free ports, ended and cleaned up without a trace.

Apache's own jars run in KRaft mode on Java 17 or newer. Maven fetches them once into a cache folder
(``kafka.pom.xml`` beside this file says which); where there is no Java, Docker's official image runs
in their place. ``why_not()`` says what is missing when neither is there.

``python -m tests.kit.kafka --brokers 1`` runs a broker in the foreground (``make kafka``).
"""

import argparse
import asyncio
import atexit
import base64
import fcntl
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

from tests.kit import guardian
from tests.kit.wait import wait_until

POM: Final = Path(__file__).with_name("kafka.pom.xml")
OLDEST_JAVA: Final = 17
FETCH_SECONDS: Final = 900
START_SECONDS: Final = 50.0
STOP_SECONDS: Final = 20.0
TRIES: Final = 3
SMALL_JVM: Final = ("-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Starts fast and stays small; a benchmark gives the JVM more."""


class NoKafkaError(Exception):
    """Kafka cannot be run here; the message says what to install."""


# -- what runs it -----------------------------------------------------------------------------------


@cache
def version() -> str:
    """Return the version of Kafka that the tests are written for."""
    found = re.search(r"<kafka.version>(.+?)</kafka.version>", POM.read_text())
    assert found
    return found[1]


@cache
def _java() -> str | None:
    home = os.environ.get("JAVA_HOME", "")
    path = shutil.which("java", path=f"{home}/bin") if home else None
    path = path or shutil.which("java")
    if not path:
        return None
    told = subprocess.run([path, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', told)
    return path if found and int(found[1]) >= OLDEST_JAVA else None


@cache
def _docker() -> str | None:
    path = shutil.which("docker")
    if not path:
        return None
    asked = subprocess.run([path, "info"], capture_output=True, check=False)
    return path if asked.returncode == 0 else None


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base, "blueengine", f"kafka-{version()}")


def why_not() -> str:
    """Return what is missing to run Kafka here; empty when nothing is."""
    if _java() and (_cache_folder().is_dir() or shutil.which("mvn")):
        return ""
    if _docker():
        return ""
    if _java():
        return "Maven is not installed (it fetches Kafka's jars), nor is Docker there to do without"
    return f"neither Java {OLDEST_JAVA} (with Maven) nor Docker is installed"


def jars() -> Path:
    """Return the folder with Kafka's jars, fetched when they are not there yet.

    Raises:
        NoKafkaError: Maven cannot fetch them.
    """
    folder = _cache_folder()
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # somebody else may be fetching them just now
        if not folder.is_dir():
            _fetch(folder)
    return folder


def prepare() -> None:
    """Fetch what is needed to run Kafka, unless it is there."""
    if _java():
        jars()


def _fetch(folder: Path) -> None:
    maven = shutil.which("mvn")
    if not maven:
        raise NoKafkaError(why_not())
    sys.stderr.write(f"fetching Kafka {version()} with Maven, once (a minute or two)\n")
    sys.stderr.flush()
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        out = Path(scratch, "jars")
        goal = [
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            f"-DoutputDirectory={out}",
        ]
        done = subprocess.run(
            [maven, "-B", "-q", "-f", str(POM), *goal],
            capture_output=True,
            text=True,
            timeout=FETCH_SECONDS,
            check=False,
        )
        if done.returncode:
            raise NoKafkaError(f"Maven cannot fetch Kafka:\n{(done.stdout + done.stderr)[-2000:]}")
        out.rename(folder)


class _Java:
    """Brokers as Java processes."""

    def __init__(self) -> None:
        self._java = _java() or "java"
        self._classpath = f"{jars()}/*"

    def format(self, node: "Broker", arguments: Sequence[str]) -> None:
        done = subprocess.run(
            [self._java, *SMALL_JVM, *_QUIET, "-cp", self._classpath, "kafka.tools.StorageTool",
             "format", *arguments, "--config", str(node.config)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def run(self, node: "Broker", jvm: Sequence[str]) -> "subprocess.Popen[bytes]":
        with node.log_file.open("ab") as out:
            return subprocess.Popen(
                [
                    self._java,
                    *jvm,
                    *_QUIET,
                    "-cp",
                    self._classpath,
                    "kafka.Kafka",
                    str(node.config),
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                # Ctrl-C in the terminal is for whoever runs us, and ends the broker in order
                start_new_session=True,
            )

    def signal(self, node: "Broker", number: signal.Signals) -> None:
        assert node.process
        node.process.send_signal(number)

    def kill_command(self, _: "Broker") -> Sequence[str]:
        """Return what else ends a broker: nothing."""
        return ()


class _DockerImage:
    """Brokers as containers of the official image, on the host's network."""

    def __init__(self) -> None:
        self._docker = _docker() or "docker"
        self._image = f"apache/kafka:{version()}"

    def _base(self, node: "Broker", *options: str) -> list[str]:
        folder = str(node.folder)
        user = f"{os.getuid()}:{os.getgid()}"
        return [self._docker, "run", "--rm", "--network", "host", "--user", user,
                "--volume", f"{folder}:{folder}", "--entrypoint", "", *options, self._image]  # fmt: skip

    def format(self, node: "Broker", arguments: Sequence[str]) -> None:
        tool = ["/opt/kafka/bin/kafka-storage.sh", "format", *arguments, "--config", node.config]
        done = subprocess.run(
            [*self._base(node), *map(str, tool)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def run(self, node: "Broker", jvm: Sequence[str]) -> "subprocess.Popen[bytes]":
        options = ["--name", self._name(node), "--env", f"KAFKA_HEAP_OPTS={' '.join(jvm)}"]
        with node.log_file.open("ab") as out:
            return subprocess.Popen(
                [
                    *self._base(node, *options),
                    "/opt/kafka/bin/kafka-server-start.sh",
                    str(node.config),
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def signal(self, node: "Broker", number: signal.Signals) -> None:
        word = ["kill", "--signal", number.name, self._name(node)]
        subprocess.run([self._docker, *word], capture_output=True, check=False)

    def kill_command(self, node: "Broker") -> Sequence[str]:
        """Return what ends a container when the client that started it is gone."""
        return (self._docker, "kill", self._name(node))

    @staticmethod
    def _name(node: "Broker") -> str:
        return f"{node.folder.parent.name}-{node.number}"


_QUIET: Final = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",)


# -- brokers ----------------------------------------------------------------------------------------


class Broker:
    """One broker of a cluster: a process that can be killed, paused and started again."""

    def __init__(self, cluster: "RealKafka", number: int) -> None:
        self.cluster = cluster
        self.number = number
        self.folder = cluster.folder / f"broker-{number}"
        self.folder.mkdir()
        self.config = self.folder / "server.properties"
        self.log_file = self.folder / "log"
        self.port = self.internal_port = self.controller_port = 0
        self.process: subprocess.Popen[bytes] | None = None

    def __str__(self) -> str:
        return f"broker {self.number} on port {self.port}"

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start the process; it may take seconds until it answers."""
        assert not self.running, f"{self} runs already"
        runner = self.cluster.runner
        self.process = runner.run(self, self.cluster.jvm)
        guardian.guard(self.process.pid, self.cluster.folder, kill=runner.kill_command(self))

    def halt(self) -> None:
        """End it in order."""
        self.resume()
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as the kernel would."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        self.cluster.runner.signal(self, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen process go on."""
        if self.running:
            self.cluster.runner.signal(self, signal.SIGCONT)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Freeze it for the block."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def log(self) -> str:
        """Return what it has written to its log."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else "(no log)"

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        if self.running:
            self.cluster.runner.signal(self, how)
        try:
            self.process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.cluster.runner.signal(self, signal.SIGKILL)
            self.process.wait()
        guardian.release(self.process.pid)
        self.process = None


class RealKafka:
    """A cluster with a folder of its own. Use as a context manager, or stop it last.

    Topics have as many replicas as there are brokers, up to 3; of three, two must have a message
    before it is acknowledged. ``options`` are written to every broker's server.properties.
    """

    def __init__(
        self,
        brokers: int = 1,
        *,
        options: Mapping[str, str] | None = None,
        security: str = "PLAINTEXT",
        format_options: Sequence[str] = (),
        jvm: Sequence[str] = SMALL_JVM,
        ports: Sequence[int] = (),
        advertise: Callable[[int], int] | None = None,
    ) -> None:
        """Keep the arguments.

        Args:
            brokers: How many.
            options: Further settings of each broker.
            security: Protocol of the listener for clients; brokers among themselves need none.
            format_options: For the storage tool, e.g. users.
            jvm: Options of Java.
            ports: Where brokers listen; free ones by default.
            advertise: Maps a broker's port to the one clients are told, e.g. that of a proxy.
        """
        if missing := why_not():
            raise NoKafkaError(missing)
        self.runner: _Java | _DockerImage = _Java() if _java() else _DockerImage()
        self.options = dict(options or {})
        self.security = security
        self.format_options = format_options
        self.jvm = jvm
        self._ports = ports
        self._advertise = advertise or (lambda port: port)
        self.folder = Path(tempfile.mkdtemp(prefix="blueengine-kafka-"))
        self.brokers = [Broker(self, number) for number in range(1, brokers + 1)]
        _alive.add(self)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __str__(self) -> str:
        return f"kafka-{version()} at {self.bootstrap}"

    @property
    def bootstrap(self) -> str:
        """Return the addresses of all brokers, as clients are told."""
        return ",".join(f"127.0.0.1:{self._advertise(broker.port)}" for broker in self.brokers)

    @property
    def inside(self) -> str:
        """Return the addresses that need no credentials and lead past any proxy."""
        return ",".join(f"127.0.0.1:{broker.internal_port}" for broker in self.brokers)

    def start(self, *, seconds: float = START_SECONDS) -> Self:
        """Format the storage, start every broker, and wait until all of them serve."""
        for attempt in range(1, TRIES + 1):
            self._prepare()
            for broker in self.brokers:
                broker.start()
            try:
                self.wait_ready(seconds=seconds)
            except (TimeoutError, RuntimeError) as exc:
                logs = "\n".join(broker.log()[-2000:] for broker in self.brokers)
                for broker in self.brokers:
                    broker.kill()
                if attempt == TRIES or "Address already in use" not in logs:
                    self.stop()
                    raise RuntimeError(f"Kafka does not start: {exc}\n{logs}") from exc
                continue  # somebody was faster at a port
            return self
        raise AssertionError("unreachable")

    def stop(self) -> None:
        """End every broker and remove their folders."""
        for broker in self.brokers:
            broker.resume()
            broker.kill()  # nothing is kept, so there is nothing to flush
        shutil.rmtree(self.folder, ignore_errors=True)
        _alive.discard(self)

    def restart(self, *, hard: bool = False) -> None:
        """End every broker (``hard``: by SIGKILL) and start them with the same ports and data."""
        for broker in self.brokers:
            if hard:
                broker.kill()
            else:
                broker.halt()
        for broker in self.brokers:
            broker.start()
        self.wait_ready()

    def wait_ready(self, count: int = 0, *, seconds: float = START_SECONDS) -> None:
        """Wait until ``count`` brokers (all by default) are known to a client.

        Raises:
            TimeoutError: They are not in time.
            RuntimeError: A broker ended meanwhile.
        """
        wanted = count or len(self.brokers)

        def serves() -> bool:
            if wanted == len(self.brokers) and not all(broker.running for broker in self.brokers):
                raise RuntimeError("a broker ended while it started")
            return len(self.ask(_broker_ids)) >= wanted

        wait_until(serves, seconds, what=f"{wanted} brokers serve")

    def ask(self, question: Callable[[str], Any]) -> Any:
        """Run an async question about the cluster to its end, from plain code.

        It is given an address that needs no credentials, and runs on a loop of its own, for the
        caller may be inside one.
        """
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: asyncio.run(question(self.inside))).result()

    def _prepare(self) -> None:
        fixed = list(self._ports)
        for broker in self.brokers:
            broker.port = fixed.pop(0) if fixed else _quiet_port()
            broker.internal_port, broker.controller_port = _quiet_port(), _quiet_port()
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        if cluster.startswith("-"):
            cluster = f"A{cluster[1:]}"  # the tool would take it for an option
        for broker in self.brokers:
            shutil.rmtree(broker.folder / "data", ignore_errors=True)
            lines = [f"{name}={value}" for name, value in self._settings(broker).items()]
            broker.config.write_text("\n".join([*lines, ""]))
        with ThreadPoolExecutor(len(self.brokers)) as pool:  # a second of Java each
            words = ["--cluster-id", cluster, *self.format_options]
            list(pool.map(lambda broker: self.runner.format(broker, words), self.brokers))

    def _settings(self, broker: Broker) -> dict[str, str]:
        copies = str(min(3, len(self.brokers)))
        here = "127.0.0.1"
        return {
            "process.roles": "broker,controller",
            "node.id": str(broker.number),
            "controller.quorum.voters": ",".join(
                f"{b.number}@{here}:{b.controller_port}" for b in self.brokers
            ),
            "listeners": f"CLIENT://{here}:{broker.port},INTERNAL://{here}:{broker.internal_port},"
            f"CONTROLLER://{here}:{broker.controller_port}",
            "advertised.listeners": f"CLIENT://{here}:{self._advertise(broker.port)},"
            f"INTERNAL://{here}:{broker.internal_port}",
            "listener.security.protocol.map": f"CLIENT:{self.security},INTERNAL:PLAINTEXT,"
            "CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "INTERNAL",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(broker.folder / "data"),
            "auto.create.topics.enable": "false",
            "default.replication.factor": copies,
            "min.insync.replicas": "2" if len(self.brokers) > 2 else "1",
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.num.partitions": "1",
            # small and quick: a dead broker is noticed soon, a removed message goes from the disk
            "num.network.threads": "2",
            "num.io.threads": "4",
            "num.recovery.threads.per.data.dir": "1",
            "log.cleaner.dedupe.buffer.size": str(2 << 20),
            "broker.heartbeat.interval.ms": "500",
            "broker.session.timeout.ms": "4000",
            "log.retention.check.interval.ms": "1000",
            "log.initial.task.delay.ms": "100",
            "log.segment.delete.delay.ms": "100",
            **self.options,
        }


_alive: "weakref.WeakSet[RealKafka]" = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    for cluster in list(_alive):
        cluster.stop()


def _quiet_port() -> int:
    """Return a free port that the kernel gives to nobody who connects.

    A client that tries again and again to reach a dead broker on one of those would one day be
    given that very port for its own end, and keep the broker from coming back.
    """
    while True:
        with socket.socket() as probe:
            port = random.randrange(10_240, 32_000)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _is_open(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


async def _broker_ids(bootstrap: str) -> list[int]:
    """Return the brokers that a client is told of; none while nobody answers."""
    if not any(map(_is_open, bootstrap.split(","))):
        return []  # aiokafka would log at length that it is so
    from aiokafka.admin import AIOKafkaAdminClient  # noqa: PLC0415 - not for tests without Kafka
    from aiokafka.errors import KafkaError  # noqa: PLC0415

    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=3000)
    try:
        await admin.start()
        told = await admin.describe_cluster()
    except (KafkaError, OSError, TimeoutError):
        return []
    finally:
        await admin.close()
    return [broker["node_id"] for broker in told["brokers"]]


def main(arguments: Sequence[str]) -> int:
    """Run brokers until a signal ends them."""
    parser = argparse.ArgumentParser(prog="python -m tests.kit.kafka", description=__doc__)
    parser.add_argument("--brokers", type=int, default=1, help="how many (1 or 3)")
    parser.add_argument("--port", type=int, default=9092, help="of the first broker")
    parser.add_argument("--fetch", action="store_true", help="only fetch what is needed")
    options = parser.parse_args(arguments)
    if missing := why_not():
        sys.stderr.write(f"error: {missing}\n")
        return 1
    if options.fetch:
        prepare()
        return 0
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(0))
    ports = [options.port + 10 * at for at in range(options.brokers)]
    try:
        with RealKafka(options.brokers, ports=ports) as kafka:
            sys.stdout.write(
                f"Kafka {version()} serves at {kafka.bootstrap}; Ctrl-C ends it and removes its data.\n"
                f"Try: blueengine up --kafka-brokers {kafka.bootstrap}\n"
            )
            sys.stdout.flush()
            signal.pause()
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
