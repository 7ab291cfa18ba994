"""Code that misbehaves, in real worker processes: its session ends, everything else goes on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from blueengine.testing import EngineRun, running

ENGINE = """
import ctypes, os, sys, threading
from blueengine import BlueEngine

def work(context, inputs):
    match inputs["Control"]:
        case "segfault":
            ctypes.string_at(0)
        case "exit":
            os._exit(3)
        case "endless":
            while True:
                yield {"Result": "more"}
        case "flood":
            for _ in range(20_000):
                print("x" * 200)
            sys.stdout.flush()
            yield {"Result": "flooded"}
        case "fork":
            pid = os.fork()
            if pid:
                os.waitpid(pid, 0)
            yield {"Result": "parent" if pid else "child"}
        case "memory":
            context.start_data = bytearray(1 << 62)
        case "recursion":
            def deeper():
                deeper()
            deeper()
        case "unpicklable":
            yield {"forward": threading.Lock()}
        case "close":
            os.closerange(3, 100)
            yield {"Result": "closed"}
        case word:
            yield {"Result": word}

def behind(context, inputs):
    return {"Result": inputs["forward"]}

engine = BlueEngine({
    "ENGINE": {"ID": "trouble", "CONCURRENCY": 2, "MAX_WORKER": 1, "STOP_GRACE_SECONDS": 1},
    "OUTPUTS": {"NAMES": ["Result"], "TYPES": ["JSON"]},
})
engine.add_step("work", process_func=work, input_channels=["Control"], output_channels=["Result", "forward"])
engine.add_step("behind", process_func=behind, input_channels=["forward"], output_channels=["Result"])
engine.start()
"""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineRun]:
    file = tmp_path / "engine.py"
    file.write_text(ENGINE)
    with running(file, processes=True) as engine:
        yield engine


def still_works(engine: EngineRun) -> bool:
    return engine.run(Control=["well"]).outputs["Result"] == ["well"]


@pytest.mark.parametrize(
    ("deed", "code", "words"),
    [
        ("segfault", "worker-crashed", "was killed by SIGSEGV"),
        ("exit", "worker-crashed", "exited with code 3"),
        ("memory", "engine-exception", "MemoryError"),
        ("recursion", "engine-exception", "RecursionError"),
        ("unpicklable", "wrong-type", "cannot carry this lock"),
        ("close", "worker-crashed", "a worker of step 'work'"),
    ],
)
def test_a_session_that_harms_its_worker_fails_with_the_reason(
    engine: EngineRun, deed: str, code: str, words: str
) -> None:
    outcome = engine.begin().send("Control", deed).ended()
    assert (outcome.status, outcome.code) == ("failed", code)
    assert words in outcome.error
    assert still_works(engine)


def test_a_generator_without_end_is_stopped(engine: EngineRun) -> None:
    session = engine.begin().send("Control", "endless")
    assert session.take("Result") == "more"
    assert session.stop().ended().status == "stopped"
    assert still_works(engine)


def test_a_flood_of_prints_holds_up_nothing(
    engine: EngineRun, capfd: pytest.CaptureFixture[str]
) -> None:
    assert engine.run(Control=["flood"]).outputs["Result"] == ["flooded"]
    assert still_works(engine)


def test_a_fork_that_comes_back_says_nothing(engine: EngineRun) -> None:
    assert engine.run(Control=["fork"]).outputs["Result"] == ["parent"]
    assert still_works(engine)
