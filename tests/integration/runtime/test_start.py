"""The start of an engine: its workers load while it loads itself, and a failure leaves nothing of it.

``held`` stops an engine's parent at the moment it begins to load its own parts.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from blueengine.wire import names
from tests.conftest import descendants
from tests.kit.engines.process import alive
from tests.kit.servers import RealRedis
from tests.kit.signals import signals
from tests.kit.wait import wait_until

ENGINE = """
import os, sys, time
from pathlib import Path
from blueengine import BlueEngine

def note(word):
    with Path(os.environ["NOTES"]).open("a") as notes:
        notes.write(word + "\\n")

note("worker" if "BLUEENGINE_WORKER" in os.environ else "parent")
engine = BlueEngine({"ENGINE": {"ID": "e", "DEFAULT_WORKER_COUNT": int(os.environ.get("WORKERS", "1"))}})

def init(_):
    what = os.environ.get("INIT", "")
    note(f"init {os.getpid()}")
    if what == "exit":
        sys.stderr.write("my last words\\n")
        sys.stderr.flush()
        os._exit(7)
    if what == "flood":
        for number in range(3000):
            sys.stderr.write(f"flood {number} {'x' * 90}\\n")
    if what == "hang":
        time.sleep(60)

def echo(_, inputs):
    return None

def add(name, **more):
    engine.add_step(name, init_func=init, process_func=echo, **more)

"""
ONE_STEP = "add('one', input_channels=['Control'])\n"
SEVERAL = """
add('first', input_channels=['Control'], output_channels=['forward'])
add('light', input_channels=['forward'], output_channels=['forward'], run_in='thread')
add('last', input_channels=['forward'])
"""
START = "engine.start()\n"

HOLD = """
import os, sys, time
from pathlib import Path

class Hold:
    def find_spec(self, name, path=None, target=None):
        if name == "blueengine.runtime.launch":
            Path(os.environ["HELD"]).touch()
            while not Path(os.environ["GO"]).exists():
                time.sleep(0.005)
            if os.environ.get("FAIL"):
                raise SystemExit(3)
        return None

if "BLUEENGINE_WORKER" not in os.environ:
    sys.meta_path.insert(0, Hold())
"""


@dataclass
class Started:
    """One engine process."""

    folder: Path
    redis: RealRedis
    process: subprocess.Popen[bytes] | None = None

    def start(
        self,
        text: str = ENGINE + ONE_STEP + START,
        *,
        command: Sequence[str] = ("engine.py",),
        held: bool = False,
        **environment: str,
    ) -> None:
        (self.folder / "engine.py").write_text(text)
        given: dict[str, str] = {}
        if held:
            hooks = self.folder / "hooks"
            hooks.mkdir()
            (hooks / "sitecustomize.py").write_text(HOLD)
            given = {"PYTHONPATH": str(hooks), "HELD": str(self._held), "GO": str(self._go)}
        with (self.folder / "output").open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={
                    **os.environ,
                    "REDIS_URL": self.redis.url,
                    "BLUEENGINE_INSTANCE_ID": "e-1",
                    "NOTES": str(self._notes),
                    **given,
                    **environment,
                },
                start_new_session=True,
            )
        if held:
            wait_until(self._held.exists, 20, what="the parent is held")

    @property
    def _held(self) -> Path:
        return self.folder / "held"

    @property
    def _go(self) -> Path:
        return self.folder / "go"

    @property
    def _notes(self) -> Path:
        return self.folder / "notes"

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    def go(self) -> None:
        """Let the parent load its parts."""
        self._go.touch()

    def notes(self, what: str) -> list[str]:
        """Return what was noted and begins so."""
        lines = self._notes.read_text().splitlines() if self._notes.exists() else []
        return [line for line in lines if line.startswith(what)]

    def noted(self, what: str, count: int = 1) -> list[str]:
        return wait_until(
            lambda: found if len(found := self.notes(what)) >= count else None, 20, what=what
        )

    def workers(self) -> list[int]:
        return [pid for pid, parent in descendants().items() if parent == self.pid]

    def attends(self) -> None:
        def does() -> bool:
            assert self.process
            assert self.process.poll() is None, self.output()
            return self.redis.call("EXISTS", names.instance("e-1")) == ":1"

        wait_until(does, 20, what="it attends")

    def output(self) -> str:
        return (self.folder / "output").read_text()

    def ended(self, seconds: float = 15) -> int:
        assert self.process
        return self.process.wait(seconds)

    def end(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            assert self.ended() == 0, self.output()

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def redis() -> Iterator[RealRedis]:
    with RealRedis() as redis:
        yield redis


@pytest.fixture
def engine(tmp_path: Path, redis: RealRedis) -> Iterator[Started]:
    started = Started(tmp_path, redis)
    try:
        yield started
        started.end()
    finally:
        started.kill()


def test_a_worker_does_its_init_while_the_parent_still_loads(engine: Started) -> None:
    engine.start(held=True)
    engine.noted("init")
    engine.go()
    engine.attends()
    assert len(engine.notes("init")) == 1, "the worker that was there is the one that is used"


PACKAGE = ("-m", "package.engine")
BY_FILE = ("-m", "blueengine.cli.main", "engine", "run", "engine.py")


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (("engine.py",), ENGINE + SEVERAL + START),
        (PACKAGE, ENGINE + SEVERAL + START),
        (BY_FILE, ENGINE + SEVERAL + START),
        (BY_FILE, ENGINE + SEVERAL),
    ],
    ids=["file", "module", "command", "command, without start()"],
)
def test_each_way_to_start_it_begins_with_the_workers_that_are_asked_for(
    engine: Started, command: tuple[str, ...], text: str
) -> None:
    package = engine.folder / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "engine.py").write_text(text)
    engine.start(text, command=command, WORKERS="2")
    engine.attends()
    assert len(engine.workers()) == 2 * 2, "two steps in processes, one in threads"
    assert len(engine.notes("init")) == 3 * 2


def test_wrong_settings_start_nothing_of_the_authors(engine: Started) -> None:
    engine.start(REDIS_PORT="no number")
    assert engine.ended() == 2
    assert engine.output().count("\n") == 1
    assert engine.notes("worker") == []


def test_an_engine_that_fails_while_it_loads_leaves_no_worker(engine: Started) -> None:
    engine.start(held=True, INIT="hang", FAIL="1")
    engine.noted("init")
    [worker] = engine.workers()
    engine.go()
    assert engine.ended() == 3
    assert not alive(worker)
    assert engine.output() == ""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("at", ["init", "worker", ""], ids=["in init", "loading", "just started"])
def test_an_engine_that_is_ended_while_it_loads_takes_its_worker_along(
    engine: Started, number: signal.Signals, at: str
) -> None:
    engine.start(held=True, INIT="hang")
    [worker] = engine.workers()
    if at:
        engine.noted(at)
    os.kill(engine.pid, number)
    engine.ended()
    wait_until(lambda: not alive(worker), 10, what="the worker is gone")
    told = engine.output()
    assert "Traceback" not in told or number == signal.SIGINT
    assert told.count("Traceback") <= 1, told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_the_whole_group_is_sent_does_not_end_a_worker_that_loads(
    engine: Started, number: signal.Signals
) -> None:
    engine.start(held=True)
    [worker] = engine.workers()
    os.kill(worker, number)
    engine.noted("init")
    engine.go()
    engine.attends()
    assert engine.workers() == [worker]
    assert not signals(worker, "SigBlk"), "programs that it starts would inherit this"


def test_a_worker_that_dies_before_its_parent_is_up_is_told_of(engine: Started) -> None:
    engine.start(held=True, INIT="exit")
    engine.noted("init")
    [worker] = engine.workers()
    wait_until(lambda: "Z" in Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2])
    engine.go()
    assert engine.ended() == 1
    assert "a worker of step 'one' exited with code 7" in engine.output()
    assert "my last words\n" in engine.output()


def test_a_worker_may_write_more_than_a_pipe_holds_before_its_parent_reads(
    engine: Started,
) -> None:
    engine.start(held=True, INIT="flood")
    engine.noted("init")
    engine.go()
    engine.attends()
    lines = [line for line in engine.output().splitlines() if line.startswith("flood ")]
    assert [line.split()[1] for line in lines] == [str(number) for number in range(3000)]


def test_a_failing_init_ends_the_engine_although_redis_is_away(engine: Started) -> None:
    engine.start(INIT="exit", REDIS_URL="redis://127.0.0.1:1/0")
    assert engine.ended() == 1
    assert "a worker of step 'one' exited with code 7" in engine.output()


def test_an_engine_whose_redis_is_away_ends_at_the_first_signal(engine: Started) -> None:
    engine.start(REDIS_URL="redis://127.0.0.1:1/0")
    engine.noted("init")
    assert engine.process
    engine.process.terminate()
    assert engine.ended() in {0, -signal.SIGTERM}  # it may not have come so far as to listen
