"""engine.yml: what it means, and one clear line for each fault."""

from pathlib import Path
from typing import Any

import pytest

from blueengine.errors import SettingsError
from blueengine.settings.engine import EngineSettings


def parse(raw: dict[str, Any], environment: dict[str, str] | None = None) -> EngineSettings:
    return EngineSettings.parse(raw, environment or {}, cpus=2, source="engine.yml")


def engine(**more: Any) -> dict[str, Any]:
    return {"ENGINE": {"ID": "ocr", **more}}


def test_an_id_is_enough() -> None:
    settings = parse(engine())
    assert (settings.id, settings.name, settings.concurrency) == ("ocr", "ocr", 1)
    assert (settings.default_worker_count, settings.max_worker) == (1, 1)
    assert settings.inputs == {"Control": "JSON"}
    assert settings.outputs == {"Status": "JSON"}


def test_types_are_case_insensitive_and_become_canonical() -> None:
    settings = parse(
        engine() | {"INPUTS": {"NAMES": ["A", "B"], "TYPES": ["image", "jSoN"]}, "OUTPUTS": None}
    )
    assert settings.inputs == {"A": "Image", "B": "JSON", "Control": "JSON"}


@pytest.mark.parametrize(("concurrency", "workers"), [(1, 1), (2, 2), (16, 2)])
def test_workers_grow_with_the_sessions_up_to_the_cpus(concurrency: int, workers: int) -> None:
    assert parse(engine(CONCURRENCY=concurrency)).max_worker == workers


def test_the_environment_wins() -> None:
    settings = parse(
        engine(CONCURRENCY=3, MAX_WORKER=3, STOP_GRACE_SECONDS=1),
        {
            "CONCURRENCY": "5",
            "DEFAULT_WORKER_COUNT": "2",
            "MAX_WORKER": "4",
            "STOP_GRACE_SECONDS": ".5",
        },
    )
    assert (settings.concurrency, settings.default_worker_count, settings.max_worker) == (5, 2, 4)
    assert settings.stop_grace_seconds == 0.5


def test_the_spec_is_what_others_need_to_know() -> None:
    spec = parse(engine(NAME="OCR", CONCURRENCY=2)).spec
    assert (spec.id, spec.name, spec.concurrency) == ("ocr", "OCR", 2)
    assert (spec.inputs, spec.outputs) == ({"Control": "JSON"}, {"Status": "JSON"})


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({}, "ENGINE.ID is missing"),
    ({"ENGINE": None}, "ENGINE must hold names and values"),
    ({"ENGINE": ["ID"]}, "ENGINE must hold names and values"),
    ({"ENGINE": {"ID": ""}}, "ENGINE.ID is missing"),
    ({"ENGINE": {"ID": "a,b"}}, "ENGINE.ID 'a,b' must be 1 to 64 letters"),
    ({"ENGINE": {"ID": "a b"}}, "must be 1 to 64 letters"),
    ({"ENGINE": {"ID": "a/b"}}, "must be 1 to 64 letters"),
    ({"ENGINE": {"ID": "x" * 65}}, "must be 1 to 64 letters"),
    (engine() | {"ENGIN": {}}, "unknown section ENGIN; known: ENGINE, INPUTS, OUTPUTS"),
    (engine(CONCURENCY=1), "unknown ENGINE.CONCURENCY; known: CONCURRENCY"),
    (engine(CONCURRENCY="many"), "ENGINE.CONCURRENCY is 'many', which is no int"),
    (engine(CONCURRENCY=1.5), "ENGINE.CONCURRENCY is 1.5, which is no int"),
    (engine(CONCURRENCY=True), "ENGINE.CONCURRENCY is True, which is no int"),
    (engine(CONCURRENCY=[1]), "ENGINE.CONCURRENCY is [1], which is no int"),
    (engine(CONCURRENCY=0), "ENGINE.CONCURRENCY is 0; it must be greater than 0"),
    (engine(MAX_WORKER=-1), "ENGINE.MAX_WORKER is -1; it must be greater than 0"),
    (engine(STOP_GRACE_SECONDS=float("nan")), "it must be greater than 0"),
    (engine(STOP_GRACE_SECONDS=float("inf")), "it must be greater than 0"),
    (
        engine(MAX_WORKER=1, DEFAULT_WORKER_COUNT=2),
        "MAX_WORKER (1) is less than DEFAULT_WORKER_COUNT (2)",
    ),
    (
        engine() | {"INPUTS": {"NAMES": ["A"]}},
        "INPUTS.NAMES and INPUTS.TYPES must be lists of one length",
    ),
    (
        engine() | {"OUTPUTS": {"NAMES": "A", "TYPES": "J"}},
        "OUTPUTS.NAMES and OUTPUTS.TYPES must be lists",
    ),
    (
        engine() | {"INPUTS": {"NAMES": ["A"], "TYPES": ["Json5"]}},
        "'Json5' of channel 'A' is no type; known: JSON, Text",
    ),
    (
        engine() | {"INPUTS": {"NAMES": ["A", "A"], "TYPES": ["JSON", "JSON"]}},
        "channel 'A' stands twice",
    ),
    (engine() | {"INPUTS": {"NAMES": ["A b"], "TYPES": ["JSON"]}}, "channel 'A b' must be 1 to 64"),
    (
        engine() | {"INPUTS": {"NAMES": ["Control"], "TYPES": ["Text"]}},
        "Control must be of type JSON",
    ),
    (
        engine() | {"OUTPUTS": {"NAMES": ["Status"], "TYPES": ["Text"]}},
        "Status must be of type JSON",
    ),
    (engine() | {"INPUTS": {"NAMES": [], "TYPE": []}}, "unknown INPUTS.TYPE; known: NAMES, TYPES"),
]


@pytest.mark.parametrize(("raw", "words"), FAULTS, ids=[words[:50] for _, words in FAULTS])
def test_a_fault_is_one_line_that_names_file_and_place(raw: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError) as raised:
        parse(raw)
    message = str(raised.value)
    assert message.startswith("engine.yml: ")
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize("value", ["", "x", "0"])
def test_a_wrong_variable_is_named_as_such(value: str) -> None:
    with pytest.raises(SettingsError, match=r"^the environment variable CONCURRENCY is "):
        parse(engine(CONCURRENCY=1), {"CONCURRENCY": value})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "does not exist"),
        (b"ENGINE: {ID: [", "is no valid YAML (line 1)"),
        (b"- a\n", "must hold names and values"),
        (b"", "must hold names and values"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    file = tmp_path / "engine.yml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as raised:
        EngineSettings.load(file, {}, cpus=1)
    assert str(raised.value).startswith(str(file))
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "engine.yml"
    file.write_text("ENGINE: {ID: 42}\nINPUTS:\nOUTPUTS: {NAMES: [A], TYPES: [file]}\n")
    settings = EngineSettings.load(file, {}, cpus=1)
    assert (settings.id, settings.outputs) == ("42", {"A": "File", "Status": "JSON"})


def test_types_of_its_own_are_known_to_the_engines_processes_alone(tmp_path: Path) -> None:
    file = tmp_path / "engine.yml"
    file.write_text("ENGINE: {ID: a}\nOUTPUTS: {NAMES: [P], TYPES: [acme.Unheard]}\n")
    with pytest.raises(SettingsError, match=r"nobody registered the type 'acme.unheard'"):
        EngineSettings.load(file, {}, cpus=1)
    assert EngineSettings.load(file, {}, cpus=1, foreign=True).outputs["P"] == "acme.unheard"
    file.write_text("ENGINE: {ID: a}\nOUTPUTS: {NAMES: [P], TYPES: [Jsom]}\n")
    with pytest.raises(SettingsError, match="'Jsom' of channel 'P' is no type"):
        EngineSettings.load(file, {}, cpus=1, foreign=True)
