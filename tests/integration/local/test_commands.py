"""The commands a person uses, against a real platform with the engine ``hello``."""

import json
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.local.platform_kit import COMMAND, Up, an_engine, run, up

pytestmark = pytest.mark.timeout(120)

ROOT = Path(__file__).parents[3]
HELLO = str(ROOT / "workflows" / "hello.yml")
HOLDER = """
dataChannels:
  - {name: In, type: JSON}
  - {name: Out, type: JSON, interested: true}
engines:
  - id: holder
    inputs: [{name: Control, type: JSON, linkTo: In}]
    outputs: [{name: Result, type: JSON, linkTo: Out}]
"""


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A platform for all tests here; ``hello`` runs already and no other process comes or goes."""
    folder = tmp_path_factory.mktemp("platform")
    with up(folder / "data", "--cooldown", "600", "--max-instances", "1") as platform:
        platform.ask("/api/v1/process-single-engine", {"engineId": "hello", "waitTimeSecond": 20})
        yield platform
        platform.end()


@pytest.fixture
def platform(started: Up, monkeypatch: pytest.MonkeyPatch) -> Up:
    monkeypatch.setenv("BLUEENGINE_URL", started.url)
    return started


@pytest.fixture
def holding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Up]:
    """A platform of the test's own with the engine ``holder``."""
    holder = an_engine(tmp_path / "holder")
    with up(tmp_path / "data", "--engines", f"none,{holder}") as platform:
        monkeypatch.setenv("BLUEENGINE_URL", platform.url)
        yield platform
        platform.end()


@pytest.fixture
def holder_workflow(tmp_path: Path) -> str:
    path = tmp_path / "holder.yml"
    path.write_text(HOLDER)
    return str(path)


def data(*words: str) -> Any:
    """Return what a command prints with --json."""
    done = run(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_run_shows_progress_and_prints_results(platform: Up) -> None:
    done = run("run", HELLO, "--input", 'Input={"name": "Ada"}')
    assert done.returncode == 0
    assert done.stdout == 'Result: {"data":"Hello, Ada!"}\n'
    assert "session finished" in done.stderr
    assert "hello finished" in done.stderr


def test_run_for_scripts_prints_json_alone(platform: Up) -> None:
    found = data("run", HELLO, "--input", "Input={}")
    assert found["status"] == "finished"
    assert found["results"] == {"Result": [{"data": "World"}]}


def test_run_saves_results(platform: Up, tmp_path: Path) -> None:
    done = run("run", HELLO, "--input", "Input={}", "--out", str(tmp_path / "out"))
    assert done.returncode == 0
    assert done.stdout == f"{tmp_path}/out/Result.json\n"
    assert json.loads((tmp_path / "out" / "Result.json").read_text()) == [{"data": "World"}]


def test_run_of_what_fails_is_exit_code_1_and_says_why(platform: Up) -> None:
    done = run("run", HELLO, "--input", "Input=3")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: the session failed: hello takes a JSON object")
    assert "see: blueengine sessions show session-" in last


def test_run_stops_the_session_when_its_time_is_over(holding: Up, holder_workflow: str) -> None:
    done = run("run", holder_workflow, "--input", 'In={"until": "/never"}', "--timeout", "3")
    assert done.returncode == 1
    assert "did not end within 3 s and was stopped" in done.stderr.splitlines()[-1]
    (newest,) = data("sessions", "ls", "--limit", "1")
    holding.wait_for(newest["sessionId"], "canceled")


def test_ctrl_c_stops_the_session(holding: Up, holder_workflow: str) -> None:
    process = subprocess.Popen(
        [*COMMAND, "run", holder_workflow, "--input", 'In={"until": "/never"}'],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    session = process.stderr.readline().strip()
    holding.wait_for(session, "processing")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 1
    holding.wait_for(session, "canceled")


def test_run_shows_a_live_table_on_a_terminal(platform: Up) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "run", HELLO, "--input", "Input={}"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "NO_COLOR": "1"},
    ) as process:
        os.close(theirs)
        seen = b""
        try:
            while piece := os.read(ours, 65536):
                seen += piece
        except OSError:  # Linux says so when the other side is closed
            pass
        os.close(ours)
        assert process.wait(20) == 0
    text = seen.decode()
    assert "hello" in text
    assert "session finished" in text
    assert "\x1b[3" not in text, "NO_COLOR means no colour"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["run", "nowhere.yml"], "nowhere.yml does not exist"),
        (["run", HELLO, "--input", "Other=1"], "channels of this workflow: Input"),
        (["run"], "WORKFLOW.yml"),
        (["sessions", "ls", "--limit", "many"], "--limit"),
        (["dance"], "dance"),
    ],
)
def test_wrong_usage_is_exit_code_2(words: list[str], complaint: str) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert complaint in done.stderr


def test_what_the_platform_refuses_is_exit_code_1(platform: Up, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yml"
    wrong.write_text("engines: [{id: hello, inputs: [{name: Control, type: JSON, linkTo: No}]}]\n")
    done = run("run", str(wrong))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "/engines/0/inputs/0" in done.stderr
    assert done.stderr.count("\n") == 1


def test_no_platform_is_one_line_that_says_what_to_do() -> None:
    done = run("engines", "ls", "--url", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "start one with `blueengine up`" in done.stderr


def test_sessions_are_listed_shown_and_stopped(holding: Up) -> None:
    session = holding.submit(Path("/never"), labels={"team": "blue"})
    holding.wait_for(session, "processing")
    assert [row["sessionId"] for row in data("sessions", "ls", "--label", "team:blue")] == [session]
    assert session in run("sessions", "ls", "--status", "processing").stdout
    shown = run("sessions", "show", session).stdout
    assert f"{session}: processing" in shown
    assert "label team: blue" in shown
    assert data("sessions", "show", session)["subSessions"][0]["engine"] == "holder"
    assert run("sessions", "stop", session).stdout.strip() in {"stopping", "canceled"}
    holding.wait_for(session, "canceled")
    again = run("sessions", "stop", session)
    assert again.returncode == 1
    assert "error: " in again.stderr
    unknown = run("sessions", "show", "session-x")
    assert unknown.returncode == 1
    assert "there is no session" in unknown.stderr


def test_engines_are_listed_and_shown_before_they_ever_ran(platform: Up) -> None:
    assert {"hello", "ocr", "detect_text"} <= {engine["id"] for engine in data("engines", "ls")}
    assert "hello" in run("engines", "ls").stdout
    assert "reads  Control (JSON)" in run("engines", "show", "hello").stdout
    assert data("engines", "show", "ocr")["inputs"]["Image"] == "Image"
    assert run("engines", "show", "dance").returncode == 1


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'typer'\", name='typer')"
    )
    done = run("engines", "ls", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == "error: this command needs more packages: pip install 'blueengine[cli]'\n"
