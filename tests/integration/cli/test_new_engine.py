"""`blueengine new-engine` and what may be done with its folder at once."""

import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from blueengine.wire import names
from tests.conftest import descendants
from tests.integration.local.platform_kit import COMMAND, run
from tests.kit.engines.process import alive
from tests.kit.servers import RealRedis
from tests.kit.wait import wait_until


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("engines")
    done = run("new-engine", "word_count", "--into", str(into))
    assert done.returncode == 0, done.stderr
    assert "python -m pytest" in done.stdout
    return into / "word_count"


def tool(*words: str, cwd: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_passes_its_own_test(folder: Path) -> None:
    tool("pytest", "-q", "-p", "no:cacheprovider", cwd=folder)


@pytest.mark.timeout(300)  # a type checker without its cache is slow on a busy machine
def test_it_passes_lint_and_types(folder: Path) -> None:
    # as the author will run them: with nothing of this repository's settings
    tool("ruff", "format", "--isolated", "--check", "--line-length", "100", ".", cwd=folder)
    wide = "A,ANN,B,C4,E,F,I,N,PT,PTH,RET,RUF,SIM,UP,W"
    tool("ruff", "check", "--isolated", "--no-cache", "--line-length", "100", "--select", wide, ".", cwd=folder)  # fmt: skip
    tool("mypy", "--strict", "--cache-dir", "/dev/null", "engine.py", "test_engine.py", cwd=folder)


def test_its_image_builds_from_files_that_are_there(folder: Path) -> None:
    text = (folder / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    words = [shlex.split(line) for line in lines]
    known = {"FROM", "RUN", "WORKDIR", "COPY", "ENV", "USER", "CMD"}
    assert {line[0] for line in words} <= known
    assert words[0][0] == "FROM"
    for _, *sources, _target in (line for line in words if line[0] == "COPY"):
        assert all((folder / source).exists() for source in sources)
    assert ["USER", "10001"] in words
    assert 'CMD ["python", "engine.py"]' in lines
    assert re.search(r"^blueengine", (folder / "requirements.txt").read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "words"), [("Word-Count", "e.g. 'word_count'"), ("7", "e.g. 'my_engine'")]
)
def test_a_name_that_python_cannot_import_is_refused_with_one_that_it_can(
    tmp_path: Path, name: str, words: str
) -> None:
    done = run("new-engine", name, "--into", str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_a_folder_that_is_there_is_left_alone(folder: Path) -> None:
    done = run("new-engine", folder.name, "--into", str(folder.parent))
    assert done.returncode == 2
    assert "exists already" in done.stderr


class Reloading:
    """``blueengine engine run --reload`` as a process."""

    def __init__(self, file: Path, redis: RealRedis, log: Path) -> None:
        self.redis = redis
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [*COMMAND, "engine", "run", str(file), "--reload"],
                env={"PATH": "", "REDIS_URL": redis.url},
                stderr=out,
                stdout=out,
            )

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def attendances(self) -> int:
        return self.said().count("attends as")


@pytest.fixture
def reloading(folder: Path, redis_server: RealRedis, tmp_path: Path) -> Iterator[Reloading]:
    found = Reloading(folder / "engine.py", redis_server, tmp_path / "log")
    yield found
    if found.process.poll() is None:
        found.process.send_signal(signal.SIGTERM)
        found.process.wait(20)


def test_an_engine_is_restarted_when_its_files_change(folder: Path, reloading: Reloading) -> None:
    wait_until(lambda: reloading.attendances() == 1, 30, what="it attends")
    steps = folder / "steps.py"
    good = steps.read_text()
    steps.write_text("this is no Python")
    wait_until(lambda: "SyntaxError" in reloading.said(), 30, what="the mistake is shown")
    steps.write_text(good)
    wait_until(lambda: reloading.attendances() == 2, 30, what="it attends again")
    assert "reload: steps.py changed" in reloading.said()
    reloading.process.send_signal(signal.SIGINT)
    assert reloading.process.wait(20) == 0
    assert reloading.redis.call("EXISTS", names.free("word_count")) == ":0"


def test_a_killed_reload_takes_its_engine_along(reloading: Reloading) -> None:
    wait_until(lambda: reloading.attendances() == 1, 30, what="it attends")
    parents = descendants()
    (engine,) = [pid for pid, parent in parents.items() if parent == reloading.process.pid]
    workers = [pid for pid, parent in parents.items() if parent == engine]
    assert workers
    reloading.process.kill()
    reloading.process.wait()
    wait_until(lambda: not alive(engine, *workers), 10, what="engine and workers are gone")
