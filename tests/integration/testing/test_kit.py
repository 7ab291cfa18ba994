"""The testing kit where it meets the outside: worker processes, pytest, the platform."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from blueengine.errors import DeclarationError
from blueengine.testing import load, running, start_platform
from tests.integration.local.platform_kit import CONFIG

ENGINE = """
import os, time
from blueengine import BlueEngine

def work(context, inputs):
    if inputs["Control"] == "exit":
        os._exit(3)
    while inputs["Control"] == "hang":
        time.sleep(0.01)
    return {"Result": os.getpid()}

engine = BlueEngine()
engine.add_step("work", process_func=work, input_channels=["Control"], output_channels=["Result"])
engine.start()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "holder"
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "engine.yml").write_text(CONFIG)
    (folder / "engine.py").write_text(ENGINE)
    return folder


def test_steps_may_run_in_processes_whose_crashes_are_real(folder: Path) -> None:
    with running(folder / "engine.py", processes=True) as engine:
        first = engine.run(Control=["pid"]).outputs["Result"]
        exited = engine.begin().send("Control", "exit").ended()
        killed = engine.begin().send("Control", "hang").crash("work").ended()
        second = engine.run(Control=["pid"]).outputs["Result"]
    assert exited.error == "a worker of step 'work' exited with code 3"
    assert killed.error.startswith("a worker of step 'work' was killed by SIGKILL")
    assert first != second


def test_processes_need_a_file_to_import(folder: Path) -> None:
    with pytest.raises(DeclarationError, match="given as its file or module"):
        running(load(folder / "engine.py"), processes=True)


def test_a_platform_in_one_line(folder: Path) -> None:
    with start_platform(folder) as platform:
        found = httpx.get(f"{platform.url}/api/v1/engines/holder", timeout=20).json()["data"]
    assert found["id"] == "holder"


def test_the_fixtures_are_there_wherever_the_package_is(folder: Path) -> None:
    (folder / "test_engine.py").write_text(
        "def test_it(run_engine):\n"
        "    engine = run_engine('engine.py')\n"
        "    assert engine.run(Control=['pid']).outputs['Result']\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_engine.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
