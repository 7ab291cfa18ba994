"""The temp folder of an instance goes with it, and those of killed ones with the next."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from blueengine.runtime.scratch import scratch_folder

HOLDS = """
import sys, time
from blueengine.runtime.scratch import scratch_folder
with scratch_folder("other") as folder:
    (folder / "made").touch()
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_is_there_for_the_time_of_the_context(temp: Path) -> None:
    with scratch_folder("one") as folder:
        assert folder.is_dir()
        assert list(temp.iterdir()) == [folder]
        (folder / "deep").mkdir()
    assert not list(temp.iterdir())


def test_the_folder_of_a_killed_instance_goes_with_the_next_start_and_others_stay(
    temp: Path,
) -> None:
    (temp / "blueengine-redis-abc").mkdir()
    (temp / "blueengine-scratch-file").touch()
    (temp / "blueengine-scratch-link").symlink_to(temp / "blueengine-redis-abc")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temp)},
    ) as other:
        assert other.stdout
        theirs = Path(other.stdout.readline().strip())
        with scratch_folder("one"):
            assert (theirs / "made").exists(), "it lives"
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert theirs.exists()
        with scratch_folder("one") as ours:
            names = {path.name for path in temp.iterdir()}
    assert names == {
        ours.name,
        "blueengine-redis-abc",
        "blueengine-scratch-file",
        "blueengine-scratch-link",
    }
