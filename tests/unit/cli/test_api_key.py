"""``--api-key`` stands anywhere on the line and nowhere else."""

import os

import pytest

from blueengine.cli.main import KEY_VARIABLE, take_key


@pytest.mark.parametrize(
    "line",
    ["--api-key K sessions ls", "sessions ls --api-key K", "sessions --api-key=K ls"],
)
def test_a_key_is_taken_from_the_line(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "before")
    assert take_key(line.split()) == ["sessions", "ls"]
    assert os.environ[KEY_VARIABLE] == "K"


@pytest.mark.parametrize("line", ["sessions ls", "run x -- --api-key K", "sessions ls --api-key"])
def test_what_is_no_key_is_left_alone(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "before")
    assert take_key(line.split()) == line.split()
    assert os.environ[KEY_VARIABLE] == "before"
