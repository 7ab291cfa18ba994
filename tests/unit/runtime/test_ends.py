"""The end of the inputs, as authors see it: `inputs_ended` and `end_func`."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blueengine import BlueEngine, Context
from blueengine.errors import SettingsError
from blueengine.testing import running

CONFIG = {
    "ENGINE": {"ID": "e", "MAX_WORKER": 1},
    "INPUTS": {"NAMES": ["A", "B"], "TYPES": ["JSON", "JSON"]},
    "OUTPUTS": {
        "NAMES": ["Out", "Picture"],
        "TYPES": ["JSON", "Image"],
        "OPTIONS": {"Picture": {"FORMAT": "jpeg", "QUALITY": 50}},
    },
}

Inputs = dict[str, Any]


def start(_: Context) -> list[int]:
    return []


def collect(context: Context, inputs: Inputs) -> None:
    context.start_data.append(inputs["Control"])


def a_sum() -> BlueEngine:
    engine = BlueEngine(CONFIG)
    engine.add_step(
        "sum",
        start_func=start,
        process_func=collect,
        end_func=lambda context: {"Out": sum(context.start_data)},
        input_channels=["Control"],
        output_channels=["Out"],
    )
    return engine


def test_end_func_is_called_once_after_all_calls_and_may_write() -> None:
    with running(a_sum()) as engine:
        assert engine.run(Control=[1, 2, 3]).outputs["Out"] == [6]
        assert engine.run(Control=[]).outputs["Out"] == [0]


def test_end_func_is_not_called_when_a_session_is_stopped() -> None:
    with running(a_sum()) as engine:
        outcome = engine.begin().send("Control", 1).settle().stop().ended()
    assert outcome.outputs["Out"] == []


def test_what_end_func_forwards_goes_through_the_steps_behind_it() -> None:
    def last(context: Context) -> Iterator[Any]:
        yield {"forward": sum(context.start_data)}
        yield {"forward": -1}

    def doubled(context: Context, inputs: Inputs) -> Any:
        context.start_data.append(inputs["forward"])
        return {"Out": 2 * inputs["forward"]}

    engine = BlueEngine(CONFIG)
    engine.add_step(
        "sum",
        start_func=start,
        process_func=collect,
        end_func=last,
        input_channels=["Control"],
        output_channels=["forward"],
    )
    engine.add_step(
        "double",
        start_func=start,
        process_func=doubled,
        end_func=lambda context: {"Out": ["saw", len(context.start_data)]},
        input_channels=["forward"],
        output_channels=["Out"],
    )
    with running(engine) as run:
        assert run.run(Control=[1, 2]).outputs["Out"] == [6, -2, ["saw", 2]]


def test_an_end_func_that_raises_fails_the_session() -> None:
    engine = BlueEngine(CONFIG)

    def last(_: Context) -> None:
        raise ValueError("nothing to sum")

    engine.add_step(
        "sum",
        process_func=lambda _, __: None,
        end_func=last,
        input_channels=["Control"],
    )
    with running(engine) as run:
        outcome = run.begin().send("Control", 1).wait()
    assert outcome.error == "ValueError: nothing to sum"
    assert "in last" in outcome.traceback


def test_inputs_ended_is_said_when_the_last_input_has() -> None:
    engine = BlueEngine(CONFIG)
    engine.add_step(
        "look",
        process_func=lambda context, _: {"Out": context.inputs_ended},
        input_channels=["A", "B"],
        output_channels=["Out"],
    )
    with running(engine) as run:
        session = run.begin()
        session.send("A", 1).end("A").send("B", 1)
        assert session.outputs("Out") == [False, False]
        outcome = session.wait()
    assert outcome.outputs["Out"] == [False, False]


def test_end_func_sees_that_inputs_have_ended() -> None:
    engine = BlueEngine(CONFIG)
    engine.add_step(
        "look",
        process_func=lambda _, __: None,
        end_func=lambda context: {"Out": context.inputs_ended},
        input_channels=["Control"],
        output_channels=["Out"],
    )
    with running(engine) as run:
        assert run.run(Control=[1]).outputs["Out"] == [True]


def test_a_channel_may_say_in_engine_yml_how_its_pictures_travel() -> None:
    np = pytest.importorskip("numpy")
    engine = BlueEngine(CONFIG)
    engine.add_step(
        "draw",
        process_func=lambda _, __: {"Picture": np.zeros((8, 8, 3), np.uint8)},
        input_channels=["Control"],
        output_channels=["Picture"],
    )
    with running(engine) as run:
        [picture] = run.run(Control=[1]).outputs["Picture"]
    assert picture.content_type == "image/jpeg"


def test_what_cannot_be_forwarded_is_explained() -> None:
    engine = BlueEngine(CONFIG)
    engine.add_step(
        "lock",
        process_func=lambda _, __: {"forward": threading.Lock()},
        input_channels=["Control"],
        output_channels=["forward"],
    )
    engine.add_step("read", process_func=lambda _, __: None, input_channels=["forward"])
    with running(engine) as run:
        outcome = run.begin().send("Control", 1).wait()
    assert outcome.code == "wrong-type"
    assert "'forward' cannot carry this lock" in outcome.error
    assert "forward plain data" in outcome.error


def test_a_secret_is_found_in_the_environment_or_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TOKEN_OF_TEST", "from the environment")
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path))
    (tmp_path / "db_login").write_text("from a file\n")
    context = Context()
    assert context.secret("TOKEN_OF_TEST") == "from the environment"
    assert context.secret("db_login") == "from a file"
    with pytest.raises(SettingsError, match=r"no secret 'other': set the environment variable"):
        context.secret("other")
    with pytest.raises(SettingsError, match="cannot be the name"):
        context.secret("../db_login")
