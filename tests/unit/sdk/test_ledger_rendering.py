"""The scripts as they are sent to Redis are whole: nothing is called that is not there."""

import re

import pytest

from blueengine import ledger
from blueengine.ledger import instance

SCRIPTS = ledger.load()
LUA = {
    "tonumber",
    "tostring",
    "ipairs",
    "pairs",
    "unpack",
    "select",
    "function",
    "if",
    "and",
    "or",
    "not",
    "return",
    "elseif",
}


def code(name: str) -> str:
    """Return a script without comments and strings."""
    return re.sub(r"'[^'\n]*'", "''", re.sub(r"--.*", "", SCRIPTS[name].text))


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_function_called_is_defined_before(name: str) -> None:
    defined: set[str] = set()
    for line in code(name).splitlines():
        if made := re.search(r"\blocal (?:function )?(\w+)", line):
            defined.add(made[1])
        for called in re.findall(r"(?<![\w.:])([a-zA-Z_]\w*)\(", line):
            assert called in defined | LUA, f"{called} in: {line.strip()}"


def test_hot_scripts_do_not_carry_what_they_never_call() -> None:
    # Redis makes every function of a script anew at each call
    assert "local function place(" not in code("ready")
    assert "local function sub_advance(" not in code("output")
    assert "local function save(" not in code("watch")


def test_what_is_seldom_needed_is_made_when_it_is_first_called() -> None:
    first, made, rest = code("output").partition("\nlater = function()\n")
    assert made
    assert "local function fire(" not in first
    assert "later().fire(" in first
    assert "local function fire(" in rest
    assert "local function put(" not in rest, "what is needed anyway is made once"


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_name_is_left_to_be_spelled(name: str) -> None:
    assert "K." not in code(name)


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_uses_a_command_that_scans(name: str) -> None:
    commands = set(re.findall(r"redis\.call\('(\w+)'", SCRIPTS[name].text))
    assert commands.isdisjoint({"KEYS", "SCAN", "HSCAN", "SSCAN", "ZSCAN", "SORT"})


def test_some_scripts_can_be_asked_for() -> None:
    few = ledger.load(*instance.SCRIPTS)
    assert set(few) == set(instance.SCRIPTS)
    assert few["ready"].sha == SCRIPTS["ready"].sha


def test_a_script_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        ledger.load("nonsense")
