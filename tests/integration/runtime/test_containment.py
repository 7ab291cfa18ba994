"""Code that misbehaves, in real worker processes: its session ends, everything else goes on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from blueengine.testing import EngineRun, running

ENGINE = """
import ctypes, os, resource, sys, threading
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
        case "limit":
            resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
            hoard = []
            while True:
                hoard.append(bytearray(1 << 24))
        case "sys.exit":
            sys.exit("good bye")
        case "interrupt":
            raise KeyboardInterrupt
        case "list":
            yield ["Result", 1]
        case "unknown":
            yield {"Rseult": 1}
        case "type":
            yield {"Picture": "no picture"}
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
    "OUTPUTS": {"NAMES": ["Result", "Picture"], "TYPES": ["JSON", "Image"]},
})

def start(context):
    if context.labels.get("start") == "raise":
        raise OSError("no start")
    if context.labels.get("start") == "exit":
        sys.exit(4)

def stop(context):
    if context.labels.get("stop") == "raise":
        raise OSError("no stop")

def terminate(context):
    raise OSError("no farewell")

engine.add_step(
    "work", start_func=start, process_func=work, stop_func=stop, terminate_func=terminate,
    input_channels=["Control"], output_channels=["Result", "Picture", "forward"],
)
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
        ("limit", "engine-exception", "MemoryError"),
        ("recursion", "engine-exception", "RecursionError"),
        ("sys.exit", "engine-exception", "SystemExit: good bye (an engine's code must not end"),
        ("interrupt", "engine-exception", "KeyboardInterrupt"),
        ("list", "wrong-type", "step 'work' must give {channel: value}, not list"),
        ("unknown", "wrong-type", "wrote to 'Rseult', which is not among its output_channels ("),
        ("type", "wrong-type", "channel 'Picture': an image is an array, a PIL image or"),
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


@pytest.mark.parametrize(
    ("how", "words"), [("raise", "OSError: no start"), ("exit", "SystemExit: 4")]
)
def test_a_start_func_that_breaks_fails_its_session(
    engine: EngineRun, how: str, words: str
) -> None:
    outcome = engine.begin(labels={"start": how}).ended()
    assert (outcome.status, outcome.code) == ("failed", "start-failed")
    assert words in outcome.error
    assert still_works(engine)


def test_a_stop_func_that_breaks_changes_nothing_of_the_outcome(engine: EngineRun) -> None:
    session = engine.begin(labels={"stop": "raise"}).send("Control", "well")
    assert session.wait().outputs["Result"] == ["well"]
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
