"""`blueengine engine replay`: an engine runs again on what it received in a session."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.local.platform_kit import Up, run, up

ENGINE = """
from blueengine import BlueEngine, Image

engine = BlueEngine()

@engine.step("describe", input_channels=["Control", "Page", "Doc"], output_channels=["Result"])
def describe(context, inputs):
    if "Page" in inputs:
        return {"Result": [list(inputs["Page"].array.shape), inputs["Page"].content_type]}
    if "Doc" in inputs:
        return {"Result": [inputs["Doc"].name, inputs["Doc"].path.read_text()]}
    if inputs["Control"] == "boom":
        raise ValueError("no such word")
    return {"Result": inputs["Control"]}

engine.start()
"""
CONFIG = """
ENGINE: {ID: describe}
INPUTS: {NAMES: [Page, Doc], TYPES: [Image, File]}
OUTPUTS: {NAMES: [Result], TYPES: [JSON]}
"""
# one grey pixel
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="


WORKFLOW = """
dataChannels:
  - {name: Control, type: JSON}
  - {name: Out, type: JSON}
engines:
  - id: describe
    inputs: [{name: Control, type: JSON, linkTo: Control}]
    outputs: [{name: Result, type: JSON, linkTo: Out}]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("describe")
    (folder / "configs").mkdir()
    (folder / "configs" / "engine.yml").write_text(CONFIG)
    (folder / "engine.py").write_text(ENGINE)
    return folder


@pytest.fixture(scope="module")
def platform(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up(tmp_path_factory.mktemp("platform") / "data", "--engines", str(folder)) as running:
        yield running
        running.end()


def session(
    platform: Up, start: dict[str, list[Any]], *, kept: bool = True, record: bool = False
) -> str:
    """Run a session of `describe` to its end; its id."""
    types = {"Control": "JSON", "Page": "Image", "Doc": "File"}
    channels = [{"name": c, "type": types[c], "interested": kept} for c in start]
    body = {
        "dataChannels": [*channels, {"name": "Out", "type": "JSON"}],
        "engines": [
            {
                "id": "describe",
                "inputs": [{"name": c, "type": types[c], "linkTo": c} for c in start],
                "outputs": [{"name": "Result", "type": "JSON", "linkTo": "Out"}],
            }
        ],
        "startData": [
            {"channelName": c, "payload": payload}
            for c, found in start.items()
            for payload in found
        ],
        "record": record,
        "waitTimeSecond": 30,
    }
    return str(platform.ask("/api/v1/process-workflow", body)["sessionId"])


def fetched(platform: Up, route: str) -> bytes:
    return httpx.get(platform.url + route).raise_for_status().content


def replayed(platform: Up, folder: Path, session: str, *more: str) -> Any:
    return run("engine", "replay", session, str(folder / "engine.py"), "--url", platform.url, *more)


def test_every_type_of_message_comes_back(platform: Up, folder: Path) -> None:
    doc = {"base64": "aGVsbG8=", "name": "a.txt", "contentType": "text/plain"}
    recorded = session(
        platform, {"Control": ["one", {"n": 2}], "Page": [{"base64": PNG}], "Doc": [doc]}
    )
    done = replayed(platform, folder, recorded, "--json")
    assert done.returncode == 0, done.stderr
    outputs = json.loads(done.stdout)["outputs"]["Result"]
    assert sorted(map(str, outputs)) == sorted(
        map(str, ["one", {"n": 2}, [[1, 1], "image/png"], ["a.txt", "hello"]])
    )


def test_a_recorded_session_comes_back_in_the_order_of_arrival(platform: Up, folder: Path) -> None:
    large = {"base64": base64.b64encode(b"x" * 200_000).decode(), "name": "large.txt"}
    recorded = session(
        platform,
        {"Control": ["one", {"n": 2}, "three"], "Page": [{"base64": PNG}], "Doc": [large]},
        kept=False,
        record=True,
    )
    url = f"/api/v1/sessions/{recorded}"
    assert platform.ask(url)["recorded"] is True
    lines = [
        json.loads(line) for line in fetched(platform, f"{url}/recordings/describe").splitlines()
    ]
    assert [line["channel"] for line in lines] == ["Control"] * 3 + ["Page", "Doc"]
    assert lines[4]["size"] == len(
        fetched(platform, f"{url}/recordings/describe/{lines[4]['blob']}")
    )
    done = replayed(platform, folder, recorded, "--json")
    assert done.returncode == 0, done.stderr
    outputs = json.loads(done.stdout)["outputs"]["Result"]
    assert outputs == [
        "one", {"n": 2}, "three", [[1, 1], "image/png"], ["large.txt", "x" * 200_000],
    ]  # fmt: skip


def test_a_workflow_is_run_recorded_from_the_terminal(
    platform: Up, folder: Path, tmp_path: Path
) -> None:
    workflow = tmp_path / "describe.yml"
    workflow.write_text(WORKFLOW)
    done = run(
        "run", str(workflow), "--input", "Control=one", "--record", "--json", "--url", platform.url
    )
    assert done.returncode == 0, done.stderr
    recorded = json.loads(done.stdout)["sessionId"]
    assert platform.ask(f"/api/v1/sessions/{recorded}")["recorded"] is True
    done = replayed(platform, folder, recorded, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outputs"] == {"Result": ["one"]}


def test_a_recording_of_what_is_not_recorded_is_no_page(platform: Up) -> None:
    plain = session(platform, {"Control": ["x"]})
    recorded = session(platform, {"Control": ["x"]}, record=True)
    for name, words in (
        (f"{plain}/recordings/describe", 'submit it with "record": true'),
        (f"{recorded}/recordings/other", "no engine 'other'; it has: describe"),
        (f"{recorded}/recordings/describe/7", "no payload 7"),
        ("session-no-0-0-0/recordings/describe", "no session"),
    ):
        answer = httpx.get(f"{platform.url}/api/v1/sessions/{name}")
        assert answer.status_code == 404
        assert words in answer.json()["message"]


def test_what_fails_again_shows_its_traceback(platform: Up, folder: Path) -> None:
    done = replayed(platform, folder, session(platform, {"Control": ["well", "boom"]}))
    assert done.returncode == 1
    assert 'Result: "well"' in done.stdout
    assert "ValueError: no such word" in done.stderr
    assert "in describe" in done.stderr


def test_channels_that_were_not_kept_are_named(platform: Up, folder: Path) -> None:
    done = replayed(platform, folder, session(platform, {"Control": ["x"]}, kept=False))
    assert done.returncode == 2
    assert "did not keep what came on Control" in done.stderr


def test_a_session_without_the_engine_names_those_that_were_there(
    platform: Up, folder: Path, tmp_path: Path
) -> None:
    recorded = session(platform, {"Control": ["x"]})
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "engine.yml").write_text(CONFIG.replace("ID: describe", "ID: other"))
    (tmp_path / "engine.py").write_text(ENGINE)
    done = replayed(platform, tmp_path, recorded)
    assert done.returncode == 2
    assert "'other' took no part in this session; in it were: describe (describe)" in done.stderr
