"""Steps that the parent's own loop calls."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from blueengine.testing import EngineRun, running

CONFIG = """
ENGINE: {ID: light, MAX_WORKER: 4, DEFAULT_WORKER_COUNT: 2, CONCURRENCY: 8}
OUTPUTS: {NAMES: [Result], TYPES: [JSON]}
"""
HEAD = """
import os, threading, time
from blueengine import BlueEngine, RetryLater

engine = BlueEngine()
"""
ONE_STEP = """
begun, made, tries = [], [], []

def init(context):
    begun.append(threading.current_thread().name)

def stop(context):
    made.clear()

def work(context, inputs):
    match inputs["Control"]:
        case "where":
            return {"Result": [os.getpid(), threading.current_thread().name, begun]}
        case "raise":
            raise ValueError("no such word")
        case "again":
            tries.append(1)
            if len(tries) < 3:
                raise RetryLater("not yet", after=0.01)
            return {"Result": len(tries)}
        case "thread":
            thread = threading.Thread(target=context.progress, args=(50,))
            thread.start()
            thread.join()
            return {"Result": "told"}
        case "heavy":
            time.sleep(0.6)
            return {"Result": "at last"}
        case "coroutine":
            return wait()
        case int(count):
            return counted(count)

async def wait():
    return {"Result": "waited"}

def counted(count):
    for number in range(count):
        made.append(number)
        yield {"Result": number}

engine.add_step("work", init_func=init, process_func=work, stop_func=stop,
                input_channels=["Control"], output_channels=["Result"], run_in="inline")
engine.start()
"""
TWO_STEPS = """
made = []

def make(context, inputs):
    for number in range(inputs["Control"]):
        made.append(number)
        yield {"forward": number}

def use(context, inputs):
    return {"Result": [inputs["forward"], len(made)]}

engine.add_step("make", process_func=make, input_channels=["Control"],
                output_channels=["forward"], run_in="inline")
engine.add_step("use", process_func=use, input_channels=["forward"],
                output_channels=["Result"], run_in="inline")
engine.start()
"""
BATCHES = """
def work(contexts, inputs):
    return [{"Result": [len(inputs), one["Control"]]} for one in inputs]

engine.add_step("work", process_func=work, input_channels=["Control"], batch_size=4,
                batch_wait=0.01, output_channels=["Result"], run_in="inline")
engine.start()
"""
CANNOT_BEGIN = """
def init(context):
    raise OSError("no model here")

engine.add_step("work", init_func=init, process_func=lambda c, i: None,
                input_channels=["Control"], output_channels=["Result"], run_in="inline")
engine.start()
"""

Make = Callable[[str], Path]


@pytest.fixture
def an_engine(tmp_path: Path) -> Make:
    def make(body: str) -> Path:
        (tmp_path / "configs").mkdir()
        (tmp_path / "configs" / "engine.yml").write_text(CONFIG)
        (tmp_path / "engine.py").write_text(HEAD + body)
        return tmp_path / "engine.py"

    return make


@pytest.fixture
def engine(an_engine: Make) -> Iterator[EngineRun]:
    with running(an_engine(ONE_STEP), processes=True) as run:
        yield run


def test_there_is_one_worker_and_it_is_the_parents_own_thread(engine: EngineRun) -> None:
    first, second = (engine.run(Control=["where"]).outputs["Result"][0] for _ in range(2))
    assert first == second
    _, thread, begun = first
    assert begun == [thread]


def test_many_messages_come_out_in_order(engine: EngineRun) -> None:
    outcome = engine.run(Control=[3000, "where", 2000])
    numbers = [each for each in outcome.outputs["Result"] if isinstance(each, int)]
    assert numbers == [*range(3000), *range(2000)]
    assert outcome.calls == 3


def test_what_is_raised_is_told_with_the_authors_frames(engine: EngineRun) -> None:
    outcome = engine.begin().send("Control", "raise").ended()
    assert outcome.error == "ValueError: no such word"
    assert "in work" in outcome.traceback
    assert "blueengine" not in outcome.traceback
    assert engine.run(Control=["where"]).status == "finished"


def test_a_call_may_be_made_again_later_while_others_go_on(engine: EngineRun) -> None:
    again = engine.begin().send("Control", "again")
    assert engine.run(Control=[1]).outputs["Result"] == [0]
    assert again.wait().outputs["Result"] == [3]


def test_a_thread_of_the_author_may_tell_of_progress(engine: EngineRun) -> None:
    session = engine.begin().send("Control", "thread")
    assert session.wait().outputs["Result"] == ["told"]
    assert [said["type"] for said in session.said] == ["progress"]


def test_a_session_may_be_stopped_and_stop_func_is_called(engine: EngineRun) -> None:
    session = engine.begin().send("Control", 5)
    session.settle()
    assert session.stop().ended().status == "stopped"
    assert engine.run(Control=[1]).outputs["Result"] == [0]


def test_a_step_too_heavy_for_this_is_named(
    engine: EngineRun, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "blueengine"):
        assert engine.run(Control=["heavy", "heavy"]).outputs["Result"] == ["at last"] * 2
    warnings = [record.getMessage() for record in caplog.records if "inline" in record.msg]
    assert len(warnings) == 1
    assert warnings[0].startswith("step 'work' runs inline and kept the whole instance waiting")


def test_waiting_in_a_plain_function_is_told_what_to_do(engine: EngineRun) -> None:
    outcome = engine.begin().send("Control", "coroutine").ended()
    assert "a step that runs inline cannot wait; use run_in='process'" in outcome.error


def test_a_step_does_not_run_ahead_of_the_one_it_forwards_to(an_engine: Make) -> None:
    with running(an_engine(TWO_STEPS), processes=True) as run:
        pairs: list[list[Any]] = run.run(Control=[30_000]).outputs["Result"]
    assert [number for number, _ in pairs] == list(range(30_000))
    assert max(made - number for number, made in pairs) < 10_000


def test_messages_may_come_in_batches(an_engine: Make) -> None:
    with running(an_engine(BATCHES), processes=True) as run:
        session = run.begin().send("Control", *range(9))
        outputs = session.wait().outputs["Result"]
    assert [value for _, value in outputs] == list(range(9))


def test_an_engine_whose_inline_step_cannot_begin_does_not_start(an_engine: Make) -> None:
    with (
        pytest.raises(RuntimeError, match="init_func of step 'work': OSError: no model here"),
        running(an_engine(CANNOT_BEGIN), processes=True),
    ):
        pass
