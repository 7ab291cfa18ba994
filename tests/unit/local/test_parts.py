"""Small parts: the log file, the data folder, exit codes in words."""

from pathlib import Path

import pytest

from apps.local.data_folder import DataFolder, DataFolderError, default
from apps.local.processes import LogFile, describe_exit


def test_a_log_file_keeps_within_its_bound(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "a.log", limit=100)
    for number in range(50):
        log.write(f"line {number}\n".encode())
    log.close()
    assert (tmp_path / "a.log").stat().st_size <= 100
    assert (tmp_path / "a.log.1").stat().st_size <= 100
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.log", "a.log.1"]
    assert log.tail[-1] == "line 49"


def test_the_tail_is_made_of_whole_lines(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "a.log")
    log.write(b"first li")
    log.write(b"ne\n\nsecond")
    assert list(log.tail) == ["first line"]
    log.close()
    assert list(log.tail) == ["first line", "second"]


def test_a_data_folder_has_one_owner(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    with (
        folder.locked(url="http://127.0.0.1:1"),
        pytest.raises(DataFolderError, match=r"in use by process \d+ at http://127.0.0.1:1"),
        DataFolder(tmp_path / "data").locked(url="http://127.0.0.1:2"),
    ):
        pass
    with folder.locked(url="http://127.0.0.1:3"):
        pass


def test_a_data_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(DataFolderError, match="choose another one with --data"),
        DataFolder(tmp_path / "file" / "data").locked(url=""),
    ):
        pass


def test_the_default_data_folder_is_the_users() -> None:
    assert default({"XDG_DATA_HOME": "/x"}) == Path("/x/blueengine")
    assert default({}).parts[-3:] == (".local", "share", "blueengine")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "ended with exit code 0"),
        (-9, "was killed by SIGKILL"),
        (-60, "was killed by signal 60"),
    ],
)
def test_exit_codes_have_words(code: int, words: str) -> None:
    assert describe_exit(code) == words
