"""Every snippet of docs/client.md is run against a real platform and prints what the page says."""

import itertools
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.integration.local.platform_kit import COMMAND, Up, up

ROOT: Final = Path(__file__).parents[3]
PAGE: Final = (ROOT / "docs" / "client.md").read_text()
BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.timeout(180)


class Snippet(NamedTuple):
    heading: str
    code: str
    printed: str | None
    """What it must print, where the page says so."""


def snippets() -> list[Snippet]:
    found: list[Snippet] = []
    heading = ""
    for part in re.split(r"^## ", PAGE, flags=re.MULTILINE):
        heading = part.partition("\n")[0]
        blocks = [*BLOCK.findall(part), ("", "")]
        for (kind, code), (after, text) in itertools.pairwise(blocks):
            if kind == "python":
                found.append(Snippet(heading, code, text if after == "text" else None))
    return found


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("platform")
    with up(folder / "data", "--cooldown", "600", "--max-instances", "1") as platform:
        yield platform
        platform.end()


@pytest.fixture
def folder(tmp_path: Path, platform: Up, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files the page names."""
    monkeypatch.setenv("BLUEENGINE_URL", platform.url)
    for name in ("samples", "workflows"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def test_every_part_has_a_snippet() -> None:
    assert len(snippets()) >= 10


@pytest.mark.parametrize("snippet", snippets(), ids=lambda s: s.heading)
def test_a_snippet_does_what_the_page_says(snippet: Snippet, folder: Path) -> None:
    path = folder / "snippet.py"
    path.write_text(snippet.code)
    done = subprocess.run(
        [sys.executable, str(path)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    if snippet.printed is not None:
        assert done.stdout.strip() == snippet.printed.strip()


def test_the_commands_of_the_page_run(folder: Path) -> None:
    lines = "".join(code for kind, code in BLOCK.findall(PAGE) if kind == "sh").splitlines()
    for line in lines:
        word, *rest = shlex.split(line)
        assert word == "blueengine"
        done = subprocess.run(
            [*COMMAND, *rest], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"
