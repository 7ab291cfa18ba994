"""Every command, whoever brings it: help with an example, JSON where it prints data, completion."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from blueengine.cli.main import COMMANDS, GROUPS, build

APP = build()
TOOL = typer.main.get_command(APP)
WITHOUT_DATA = {"up", "demo", "engine run", "new-engine", "engine replay"}
"""Commands that do something and print no data."""


def walk(command: Any, *words: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield words, command
    for name, below in getattr(command, "commands", {}).items():
        yield from walk(below, *words, name)


EVERY = dict(walk(TOOL))
LEAVES = {words: command for words, command in EVERY.items() if not hasattr(command, "commands")}


def shown(words: tuple[str, ...]) -> str:
    done = CliRunner().invoke(APP, [*words, "--help"])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_every_command_has_help_with_an_example(words: tuple[str, ...]) -> None:
    wanted = " ".join(["blueengine", *words])
    assert re.search(rf"Example: [^\n]*{re.escape(wanted)}\b", shown(words)), f"no: {wanted}"


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_command_that_prints_data_has_json(words: tuple[str, ...]) -> None:
    if " ".join(words) not in WITHOUT_DATA:
        assert "--json" in shown(words)


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_option_says_what_it_is(words: tuple[str, ...]) -> None:
    silent = [
        p.name for p in LEAVES[words].params if not getattr(p, "help", "") and p.name != "help"
    ]
    assert not silent


def test_the_command_that_is_called_is_all_that_is_loaded() -> None:
    code = (
        "import sys; from blueengine.cli.main import build; build(['engines']); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "blueengine.cli.engines" in loaded
    assert loaded.isdisjoint({"blueengine.cli.sessions", "httpx", "rich", "asyncio", "msgspec"})


@pytest.mark.parametrize("word", [*COMMANDS, *GROUPS, "up", "demo"])
def test_one_command_alone_is_called_as_among_all(word: str) -> None:
    done = CliRunner().invoke(build([word]), [word, "--help"])
    assert done.exit_code == 0
    assert f"blueengine {word}" in done.output.replace("root", "blueengine")


def test_the_shell_completes_commands() -> None:
    environment = {
        **os.environ,
        "_BLUEENGINE_COMPLETE": "complete_bash",
        "COMP_WORDS": "blueengine sess",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "blueengine.cli.main"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["sessions"]


def test_completing_an_id_without_a_platform_is_quiet() -> None:
    environment = {
        **os.environ,
        "BLUEENGINE_URL": "http://127.0.0.1:1",
        "_BLUEENGINE_COMPLETE": "complete_bash",
        "COMP_WORDS": "blueengine engines show o",
        "COMP_CWORD": "3",
    }
    done = subprocess.run(
        [sys.executable, "-m", "blueengine.cli.main"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout.strip(), done.stderr) == ("", "")
