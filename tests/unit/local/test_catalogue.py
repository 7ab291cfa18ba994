"""Finding engines on this machine."""

from pathlib import Path

import pytest

from apps.local import catalogue
from blueengine.errors import SettingsError


def an_engine(folder: Path, engine: str = "mine", script: str = "engine.py") -> Path:
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "engine.yml").write_text(f"ENGINE: {{ID: {engine}, CONCURRENCY: 3}}\n")
    (folder / script).write_text("")
    return folder / script


def test_the_built_in_engines_are_found() -> None:
    assert {"hello", "pdf_to_image", "detect_text", "ocr"} <= catalogue.find("", {}).keys()


def test_none_means_none() -> None:
    assert catalogue.find("none", {}) == {}


def test_a_folder_is_an_engine(tmp_path: Path) -> None:
    script = an_engine(tmp_path / "mine")
    found = catalogue.find(f"none,{tmp_path / 'mine'}", {})
    assert found["mine"].script == script
    assert found["mine"].settings.concurrency == 3


def test_a_file_is_an_engine(tmp_path: Path) -> None:
    script = an_engine(tmp_path, script="other.py")
    assert catalogue.find(f"none, {script}", {})["mine"].script == script


def test_named_engines_come_beside_the_built_in_ones_and_win_over_them(tmp_path: Path) -> None:
    script = an_engine(tmp_path, "hello")
    found = catalogue.find(str(tmp_path), {})
    assert found["hello"].script == script
    assert "ocr" in found


def test_the_environment_wins_over_numbers_in_the_file(tmp_path: Path) -> None:
    an_engine(tmp_path)
    assert (
        catalogue.find(f"none,{tmp_path}", {"CONCURRENCY": "9"})["mine"].settings.concurrency == 9
    )


@pytest.mark.parametrize("word", ["nowhere", "configs"])
def test_what_is_no_engine_is_named(tmp_path: Path, word: str) -> None:
    an_engine(tmp_path)
    with pytest.raises(SettingsError, match=f"{word} is no engine; name its folder"):
        catalogue.find(str(tmp_path / word), {})


def test_an_engine_without_its_config_is_named(tmp_path: Path) -> None:
    (tmp_path / "engine.py").write_text("")
    with pytest.raises(SettingsError, match=r"engine\.yml does not exist"):
        catalogue.find(str(tmp_path), {})
