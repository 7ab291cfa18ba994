"""What may be declared, and what each fault says."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from blueengine import BlueEngine, Context
from blueengine.errors import DeclarationError, SettingsError

CONFIG = {
    "ENGINE": {"ID": "e"},
    "INPUTS": {"NAMES": ["Page"], "TYPES": ["json"]},
    "OUTPUTS": {"NAMES": ["Text"], "TYPES": ["text"]},
}


def process(_: Context, inputs: dict[str, Any]) -> dict[str, Any]:
    return inputs


def an_engine() -> BlueEngine:
    return BlueEngine(CONFIG)


def test_steps_are_kept_in_order_with_their_channels() -> None:
    engine = an_engine()
    engine.add_step("a", process_func=process, input_channels=["Page"], output_channels=["forward"])
    engine.add_step("b", process_func=process, input_channels=["forward"], output_channels=["Text"])
    engine.check()
    assert [(s.name, s.input_channels, s.output_channels) for s in engine.steps] == [
        ("a", ("Page",), ("forward",)),
        ("b", ("forward",), ("Text",)),
    ]


def test_control_and_status_always_exist() -> None:
    engine = an_engine()
    engine.add_step(
        "a", process_func=process, input_channels=["Control"], output_channels=["Status"]
    )
    engine.check()


def test_the_decorator_declares_the_same() -> None:
    engine = an_engine()

    @engine.step(input_channels=["Page"], output_channels=["Text"])
    def read(context: Context, inputs: dict[str, Any]) -> dict[str, Any]:
        return {"Text": f"{context.session_id}{inputs['Page']}"}

    [step] = engine.steps
    assert (step.name, step.process_func) == ("read", read)
    assert read(Context(), {"Page": 1}) == {"Text": "1"}


FAULTS: list[tuple[dict[str, Any], list[str]]] = [
    ({"process_func": None}, ["'a'", "no process_func", "pass process_func"]),
    ({"name": ""}, ["no name"]),
    ({"name": "taken"}, ["two steps named 'taken'", "rename"]),
    ({"input_channels": ["Pages"]}, ["'a'", "'Pages'", "inputs", "Control, Page, forward"]),
    ({"output_channels": ["Texts"]}, ["'a'", "'Texts'", "outputs", "Status, Text, forward"]),
    ({"required_channels": ["Control"]}, ["'a'", "'Control'", "input_channels", "Page"]),
    ({"keep_channels": ["Control"]}, ["'a'", "'Control'", "input_channels", "Page"]),
    ({"input_channels": "Page"}, ["list of names", "'Page'"]),
    ({"process_func": lambda _: None}, ["'a'", "process_func", "(context, input)"]),
    ({"process_func": "process"}, ["'a'", "'process'", "pass a function"]),
    ({"init_func": lambda: None}, ["'a'", "init_func", "(context)"]),
    ({"start_func": lambda _, __: None}, ["'a'", "start_func", "(context)"]),
    ({"stop_func": lambda: None}, ["'a'", "stop_func", "(context)"]),
    ({"terminate_func": 7}, ["'a'", "terminate_func", "pass a function"]),
]


@pytest.mark.parametrize(("change", "words"), FAULTS, ids=[",".join(w) for _, w in FAULTS])
def test_a_fault_names_the_step_what_is_wrong_and_what_may_be(
    change: dict[str, Any], words: list[str]
) -> None:
    engine = an_engine()
    engine.add_step("taken", process_func=process, input_channels=["Page"])
    declared = {"name": "a", "process_func": process, "input_channels": ["Page"]} | change
    with pytest.raises(DeclarationError) as raised:
        engine.add_step(**declared)
    message = str(raised.value)
    assert [word for word in words if word not in message] == []
    assert "\n" not in message
    assert [step.name for step in engine.steps] == ["taken"]


def test_nothing_can_be_forwarded_to_the_first_step() -> None:
    with pytest.raises(DeclarationError, match="'a' is the first: nothing is forwarded"):
        an_engine().add_step("a", process_func=process, input_channels=["forward"])


def test_an_engine_without_a_step_is_refused() -> None:
    with pytest.raises(DeclarationError, match="'e' has no step; call add_step"):
        an_engine().check()


def test_what_is_forwarded_must_be_taken() -> None:
    engine = an_engine()
    engine.add_step("a", process_func=process, output_channels=["forward"])
    with pytest.raises(DeclarationError, match="'a' writes 'forward', but no step after it"):
        engine.check()


def test_what_is_taken_must_be_forwarded() -> None:
    engine = an_engine()
    engine.add_step("a", process_func=process, input_channels=["Page"])
    engine.add_step("b", process_func=process, input_channels=["forward"])
    with pytest.raises(DeclarationError, match="'b' reads 'forward', which 'a' does not write"):
        engine.check()


def test_a_missing_engine_yml_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.yml does not exist"):
        BlueEngine(tmp_path / "nowhere.yml")


def test_the_engine_yml_beside_the_file_is_the_default() -> None:
    with pytest.raises(SettingsError) as raised:
        BlueEngine()
    assert str(Path(__file__).parent / "configs" / "engine.yml") in str(raised.value)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("engine = BlueEngine({'ENGINE': {}})", "ENGINE.ID is missing"),
        (
            "BlueEngine({'ENGINE': {'ID': 'e'}}).add_step('a', process_func=print, input_channels=['Nope'])",
            "'Nope' is not among the inputs",
        ),
        ("engine = BlueEngine({'ENGINE': {'ID': 'e'}})\nengine.start()", "'e' has no step"),
    ],
)
def test_a_fault_in_an_engine_file_is_one_line_and_exit_code_2(
    tmp_path: Path, body: str, words: str
) -> None:
    file = tmp_path / "engine.py"
    file.write_text(f"from blueengine import BlueEngine\n{body}\n")
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert words in line
