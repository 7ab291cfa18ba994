"""Brokers as containers, where there is no Java: what Docker is told, by a stand-in that writes it down.

There is no Docker where most of us work. So this shows the words, not that the image likes them.
"""

import json
import os
import sys
from pathlib import Path

import pytest

from tests.kit import kafka
from tests.kit.engines.process import alive
from tests.kit.kafka import RealKafka, version
from tests.kit.wait import wait_until

STAND_IN = f"""#!{sys.executable}
import json, os, pathlib, signal, sys

here = pathlib.Path(__file__).parent
words = sys.argv[1:]
with open(here / "told", "a") as out:
    out.write(json.dumps(words) + "\\n")
if "--name" in words:  # a container that runs
    (here / words[words.index("--name") + 1]).write_text(str(os.getpid()))
    os.execv("/bin/sleep", ["sleep", "600"])
if words[0] == "kill":
    number = signal.Signals[words[2]] if words[1] == "--signal" else signal.SIGKILL
    os.kill(int((here / words[-1]).read_text()), number)
"""


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have a Docker and no Java; the folder where it writes down what it is told."""
    program = tmp_path / "docker"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    for found in (kafka._java, kafka._docker):
        monkeypatch.setattr(kafka, found.__name__, found.__wrapped__)
    return tmp_path


def told(folder: Path) -> list[list[str]]:
    path = folder / "told"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def runs(folder: Path) -> list[list[str]]:
    return [words for words in told(folder) if words[0] == "run"]


def test_without_java_brokers_are_containers_of_the_official_image(docker: Path) -> None:
    assert kafka.why_not() == ""
    cluster = RealKafka(jvm=("-Xmx300m",))
    [broker] = cluster.brokers
    cluster._prepare()
    broker.start()
    assert broker.process
    wait_until(lambda: len(runs(docker)) == 2, 20)
    formatted, run = runs(docker)
    name = f"{cluster.folder.name}-1"
    mounted = f"{broker.folder}:{broker.folder}"
    base = ["run", "--rm", "--network", "host", "--user", f"{os.getuid()}:{os.getgid()}",
            "--volume", mounted, "--entrypoint", ""]  # fmt: skip
    image, config = f"apache/kafka:{version()}", str(broker.config)
    tool = ["/opt/kafka/bin/kafka-storage.sh", "format", "--cluster-id"]
    assert formatted[: len(base) + 4] == [*base, image, *tool]
    assert formatted[-2:] == ["--config", config]
    named = ["--name", name, "--env", "KAFKA_HEAP_OPTS=-Xmx300m"]
    assert run == [*base, *named, image, "/opt/kafka/bin/kafka-server-start.sh", config]
    settings = broker.config.read_text()
    assert f"log.dirs={broker.folder}/data" in settings, "it writes to what is mounted"

    broker.pause()
    broker.resume()
    pid = broker.process.pid
    cluster.stop()
    words = [words for words in told(docker) if words[0] == "kill"]
    signals = [said[2] for said in words]
    assert signals == ["SIGSTOP", "SIGCONT", "SIGCONT", "SIGKILL"]
    assert {said[-1] for said in words} == {name}
    assert not alive(pid)
    assert not cluster.folder.exists()


def test_a_docker_that_does_not_run_does_not_count(docker: Path) -> None:
    (docker / "docker").write_text("#!/bin/sh\nexit 1\n")
    assert "neither Java 17" in kafka.why_not()
