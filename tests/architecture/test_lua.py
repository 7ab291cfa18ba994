"""Every Redis script says what it takes and answers, and has a Python wrapper."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LUA = ROOT / "sdk" / "blueengine" / "ledger" / "lua"
SCRIPTS = sorted(LUA.glob("*.lua"))
LIBS = sorted((LUA / "lib").glob("*.lua"))

# Where wrappers live: what an instance may tell the ledger, and what the services may.
WRAPPERS = [
    *(ROOT / "sdk" / "blueengine" / "ledger").rglob("*.py"),
    *(ROOT / "apps" / "sessions").rglob("*.py"),
]


def name(path: Path) -> str:
    return path.stem


def header(path: Path) -> list[str]:
    """Return the comment lines at the top of a file, without their dashes."""
    lines = []
    for line in path.read_text().splitlines():
        if not line.startswith("--"):
            break
        lines.append(line.removeprefix("--").strip())
    return lines


def wrapped() -> set[str]:
    """Return the first argument of each `….run("name", …)` in the wrappers."""
    names = set()
    for path in WRAPPERS:
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(attr="run"), args=[ast.Constant(value=str(script)), *_]
                ):
                    names.add(script)
    return names


def test_there_are_scripts() -> None:
    assert SCRIPTS


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_a_script_has_a_python_wrapper(path: Path) -> None:
    assert path.stem in wrapped(), f"no wrapper runs {path.stem!r}"


def test_a_wrapper_runs_only_scripts_that_are_there() -> None:
    assert wrapped() <= {path.stem for path in SCRIPTS}


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_the_header_says_what_the_script_does(path: Path) -> None:
    head = header(path)
    assert head, "no comment block at the top"
    assert re.fullmatch(rf"{path.stem}: \S.*", head[0]), (
        f"the first line is not `-- {path.stem}: …`"
    )


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_the_header_names_parts_arguments_and_answer(path: Path) -> None:
    head = header(path)
    for label in ("include: ", "ARGV ", "answer: "):
        assert any(line.startswith(label) for line in head), f"no line `-- {label}…`"


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_the_header_numbers_every_argument_that_the_script_reads(path: Path) -> None:
    head = "\n".join(header(path))
    arguments = re.search(r"^ARGV (.*?)^answer: ", head, re.MULTILINE | re.DOTALL)
    assert arguments, "no ARGV before the answer"
    numbered = {int(n) for n in re.findall(r"(?:^|\s)(\d+)…?\s", arguments[1])}
    read = {int(n) for n in re.findall(r"\bARGV\[(\d+)\]", path.read_text())}
    assert read <= numbered, f"not in the header: {sorted(read - numbered)}"


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_what_a_script_includes_is_there(path: Path) -> None:
    includes = [line for line in header(path) if line.startswith("include: ")]
    libs = " ".join(includes).replace("include: ", "").split()
    assert set(libs) <= {lib.stem for lib in LIBS}


@pytest.mark.parametrize("path", LIBS, ids=name)
def test_a_shared_part_begins_with_what_it_is_for_and_is_included(path: Path) -> None:
    assert header(path), "no comment block at the top"
    including = [s for s in (*SCRIPTS, *LIBS) if path.stem in " ".join(header(s)[1:]).split()]
    assert including, "nothing includes it"
