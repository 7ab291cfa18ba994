"""`blueengine.testing.running`: an engine as an instance runs it, without a platform."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blueengine import BlueEngine, Context, Fail, File, Refuse
from blueengine.errors import DeclarationError
from blueengine.runtime.part import Part
from blueengine.testing import SessionFailed, load, running

Inputs = dict[str, Any]

CONFIG = {
    "ENGINE": {"ID": "e", "MAX_WORKER": 1, "CONCURRENCY": 4},
    "INPUTS": {"NAMES": ["Image", "Boxes", "Doc"], "TYPES": ["Image", "JSON", "File"]},
    "OUTPUTS": {"NAMES": ["Out", "Big", "Copy"], "TYPES": ["JSON", "Bytes", "File"]},
}


def an_engine(process: Any, **declared: Any) -> BlueEngine:
    engine = BlueEngine(CONFIG)
    declared.setdefault("input_channels", ["Control"])
    engine.add_step(
        "work", process_func=process, output_channels=["Out", "Big", "Copy"], **declared
    )
    return engine


def echo(_: Context, inputs: Inputs) -> Any:
    return {"Out": inputs["Control"]}


def test_a_session_runs_from_its_messages_to_its_outputs() -> None:
    with running(an_engine(echo)) as engine:
        outcome = engine.run(Control=[1, {"a": 2}])
    assert outcome.status == "finished"
    assert outcome.outputs["Out"] == [1, {"a": 2}]
    assert outcome.calls == 2


def test_a_session_that_must_finish_shows_the_authors_traceback() -> None:
    def breaks(_: Context, __: Inputs) -> None:
        raise ValueError("no such thing")

    with running(an_engine(breaks)) as engine:
        with pytest.raises(SessionFailed, match=r"(?s)ValueError: no such thing.*in breaks"):
            engine.run(Control=[1])
        outcome = engine.begin().send("Control", 1).ended()
    assert (outcome.status, outcome.code) == ("failed", "engine-exception")


def test_fail_and_refuse_are_told_apart() -> None:
    def start(context: Context) -> None:
        if context.labels.get("big"):
            raise Refuse("too big for me")

    def process(_: Context, __: Inputs) -> None:
        raise Fail("encrypted")

    with running(an_engine(process, start_func=start)) as engine:
        refused = engine.begin(labels={"big": "yes"}).ended()
        failed = engine.begin().send("Control", 1).ended()
    assert (refused.status, refused.error) == ("refused", "too big for me")
    assert (failed.status, failed.code, failed.error) == ("failed", "failed", "encrypted")


def test_a_session_is_driven_message_by_message() -> None:
    def process(context: Context, inputs: Inputs) -> Iterator[Any]:
        context.progress(1, 2)
        for number in range(inputs["Control"]):
            yield {"Out": number}

    with running(an_engine(process)) as engine:
        session = engine.begin()
        session.send("Control", 2)
        assert [session.take("Out"), session.take("Out")] == [0, 1]
        session.send("Control", 0)
        assert session.outputs("Out") == [0, 1]
        assert session.said[0]["type"] == "progress"
        outcome = session.wait()
        with pytest.raises(SessionFailed, match="finished without a further value on 'Out'"):
            session.take("Out")
    assert outcome.calls == 2


def test_a_second_session_begins_anew_in_the_same_worker() -> None:
    def process(context: Context, _: Inputs) -> Any:
        context.init_data.append(context.session_id)
        return {"Out": [context.start_data, len(context.init_data)]}

    engine = an_engine(process, init_func=lambda _: [], start_func=lambda c: c.labels["user"])
    with running(engine) as run:
        seen = [
            run.begin(labels={"user": user}).send("Control", 1).wait().outputs["Out"]
            for user in ("ada", "bob")
        ]
    assert seen == [[["ada", 1]], [["bob", 2]]]


def test_sleeping_async_functions_take_no_time() -> None:
    async def process(_: Context, inputs: Inputs) -> AsyncIterator[Any]:
        for number in range(3):
            await asyncio.sleep(60)
            yield {"Out": number}

    began = time.monotonic()
    with running(an_engine(process)) as engine:
        assert engine.run(Control=[1]).outputs["Out"] == [0, 1, 2]
        assert engine.slept == pytest.approx(180, abs=1)
    assert time.monotonic() - began < 30


def test_a_stop_is_seen_by_code_at_work() -> None:
    def process(context: Context, _: Inputs) -> Iterator[Any]:
        yield {"Out": "at work"}
        while not context.cancelled:
            time.sleep(0.001)
        yield {"Out": "never seen"}

    stopped: list[str] = []
    engine = an_engine(process, stop_func=lambda c: stopped.append(c.session_id))
    with running(engine) as run:
        session = run.begin().send("Control", 1)
        assert session.take("Out") == "at work"
        outcome = session.stop().ended()
    assert outcome.status == "stopped"
    assert outcome.outputs["Out"] == ["at work"]
    assert stopped == [session.id]


def test_a_crash_fails_the_session_and_the_engine_goes_on() -> None:
    with running(an_engine(echo)) as engine:
        outcome = engine.begin().crash().ended()
        assert (outcome.status, outcome.code) == ("failed", "worker-crashed")
        assert engine.run(Control=[1]).outputs["Out"] == [1]


def test_a_duplicate_is_not_given_to_the_author_twice() -> None:
    with running(an_engine(echo)) as engine:
        session = engine.begin().send("Control", 1).duplicate().send("Control", 2).duplicate()
        assert session.wait().outputs["Out"] == [1, 2]


def test_joins_are_the_real_ones() -> None:
    def process(_: Context, inputs: Inputs) -> Any:
        return {"Out": [inputs["Image"].array.shape[0], inputs["Boxes"]]}

    engine = an_engine(
        process,
        input_channels=["Image", "Boxes"],
        required_channels=["Image", "Boxes"],
        keep_channels=["Boxes"],
    )
    pictures = [np.zeros((height, 4, 3), np.uint8) for height in (1, 2)]
    with running(engine) as run:
        assert run.run(Image=pictures, Boxes=["b"]).outputs["Out"] == [[1, "b"], [2, "b"]]
        lonely = run.begin().send("Image", pictures[0]).wait()
    assert lonely.code == "no-partner"


def test_large_payloads_and_files_travel_as_they_do_in_production(tmp_path: Path) -> None:
    def process(_: Context, inputs: Inputs) -> Any:
        doc: File = inputs["Doc"]
        return {"Big": doc.path.read_bytes() * 2, "Copy": doc}

    (tmp_path / "doc.bin").write_bytes(b"x" * 100_000)
    with running(an_engine(process, input_channels=["Doc"])) as engine:
        outcome = engine.run(Doc=[tmp_path / "doc.bin"])
        assert outcome.outputs["Big"] == [b"x" * 200_000]
        assert outcome.outputs["Copy"][0].path.read_bytes() == b"x" * 100_000
        assert outcome.outputs["Copy"][0].name == "doc.bin"


def test_many_messages_flow_with_bounded_windows() -> None:
    with running(an_engine(echo)) as engine:
        assert engine.run(Control=range(2000)).outputs["Out"] == [*range(2000)]


@pytest.mark.parametrize("joined", [False, True], ids=["alone", "joined"])
@pytest.mark.parametrize("well", [True, False], ids=["finished", "failed"])
def test_a_session_that_is_over_is_gone_without_a_search_for_cycles(
    *, well: bool, joined: bool
) -> None:
    def process(_: Context, inputs: Inputs) -> Any:
        if not well:
            raise Fail("no")
        return {"Out": inputs["Boxes"]}

    ports = ["Control", "Boxes"] if joined else ["Boxes"]
    declared = {"input_channels": ports, "required_channels": ports if joined else []}
    with running(an_engine(process, **declared)) as engine:
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                with nullcontext() if well else pytest.raises(SessionFailed):
                    engine.run(**{port: [1] for port in ports})
            assert not any(isinstance(known, Part) for known in gc.get_objects())
        finally:
            gc.enable()


def a_pipeline() -> BlueEngine:
    engine = BlueEngine(CONFIG)
    engine.add_step(
        "first",
        process_func=lambda _, inputs: {"forward": {inputs["Control"]}},
        input_channels=["Control"],
        output_channels=["forward"],
    )
    engine.add_step(
        "second",
        process_func=lambda _, inputs: {"forward": len(inputs["forward"])},
        input_channels=["forward"],
        output_channels=["forward"],
    )
    engine.add_step(
        "third",
        process_func=lambda _, inputs: {"Out": inputs["forward"] + 1},
        input_channels=["forward"],
        output_channels=["Out"],
    )
    return engine


def test_steps_forward_to_each_other() -> None:
    with running(a_pipeline()) as engine:
        assert engine.run(Control=["a", "b"]).outputs["Out"] == [2, 2]


def test_one_step_runs_alone_with_what_is_forwarded_to_and_by_it() -> None:
    with running(a_pipeline(), step="second") as engine:
        assert engine.run(forward=[{1, 2, 3}]).outputs["forward"] == [3]
    with running(a_pipeline(), step="first") as engine:
        assert engine.run(Control=["a"]).outputs["forward"] == [{"a"}]
    with running(a_pipeline(), step="third") as engine:
        assert engine.run(forward=[4]).outputs["Out"] == [5]


def test_names_that_are_wrong_are_told_with_those_that_are_right() -> None:
    with pytest.raises(DeclarationError, match="no step 'secnd'; it has: first, second, third"):
        running(a_pipeline(), step="secnd")
    with running(an_engine(echo)) as engine:
        with pytest.raises(DeclarationError, match="no input 'Cntrol'; known: Boxes, Control"):
            engine.run(Cntrol=[1])
        with pytest.raises(DeclarationError, match="'Image' is not linked"):
            engine.begin().send("Image", 1)


def test_an_init_func_that_fails_is_told_at_once() -> None:
    def init(_: Context) -> None:
        raise OSError("no model in this house")

    with (
        pytest.raises(RuntimeError, match="init_func of step 'work': OSError: no model"),
        running(an_engine(echo, init_func=init)),
    ):
        pass


def test_a_step_that_ignores_a_stop_is_parted_with() -> None:
    settings = {**CONFIG, "ENGINE": {**CONFIG["ENGINE"], "STOP_GRACE_SECONDS": 0.05}}
    engine, go_on = BlueEngine(settings), [True]

    def process(_: Context, __: Inputs) -> None:
        while go_on[0]:
            time.sleep(0.001)

    engine.add_step("work", process_func=process, input_channels=["Control"])
    with running(engine) as run:
        outcome = run.begin().send("Control", 1).stop().ended()
        go_on[0] = False
    assert outcome.status == "stopped"


def test_an_engine_file_is_loaded_without_being_started(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "engine.yml").write_text(
        "ENGINE: {ID: loaded}\nOUTPUTS: {NAMES: [Out], TYPES: [JSON]}\n"
    )
    file = tmp_path / "engine.py"
    file.write_text(
        "from blueengine import BlueEngine\n"
        "engine = BlueEngine()\n"
        "@engine.step(input_channels=['Control'], output_channels=['Out'])\n"
        "def double(context, inputs):\n"
        "    return {'Out': 2 * inputs['Control']}\n"
        "engine.start()\n"
    )
    assert load(file).settings.id == "loaded"
    with running(file) as engine:
        assert engine.run(Control=[4]).outputs["Out"] == [8]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("no/such.py", "no/such.py is no file"),
        ("no.such.module", "there is no module 'no.such.module'"),
        ("blueengine.ids", "makes no BlueEngine"),
    ],
)
def test_what_is_no_engine_is_told(target: str, words: str) -> None:
    with pytest.raises(DeclarationError, match=words):
        load(target)


def test_two_engines_may_have_modules_of_one_name(tmp_path: Path) -> None:
    answers = []
    for name in ("one", "two"):
        folder = tmp_path / name
        (folder / "configs").mkdir(parents=True)
        (folder / "configs" / "engine.yml").write_text(
            f"ENGINE: {{ID: {name}}}\nOUTPUTS: {{NAMES: [Out], TYPES: [JSON]}}\n"
        )
        (folder / "answers.py").write_text(
            f"def answer(context, inputs):\n    return {{'Out': {name!r}}}\n"
        )
        (folder / "engine.py").write_text(
            "import answers\n"
            "from blueengine import BlueEngine\n"
            "engine = BlueEngine()\n"
            "engine.add_step('a', process_func=answers.answer, input_channels=['Control'],"
            " output_channels=['Out'])\n"
            "engine.start()\n"
        )
        with running(folder / "engine.py") as engine:
            answers += engine.run(Control=[1]).outputs["Out"]
    assert answers == ["one", "two"]
