"""Every snippet of docs/engines is written to its file, and every test among them is run.

A fenced block with a title is that file. A page's files make a folder of their own.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[3] / "docs" / "engines"
BLOCK = re.compile(r'^```(\w+) title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
UNTITLED = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    return sorted(PAGES.glob("*.md"))


def snippets(page: Path) -> dict[str, str]:
    """Return file name -> content."""
    return {name: code for _, name, code in BLOCK.findall(page.read_text())}


def test_each_part_of_the_tutorial_has_its_page() -> None:
    wanted = {
        "hello-world",
        "pipeline",
        "context",
        "multiple-io",
        "concurrent-sessions",
        "best-practices",
        "testing",
    }
    assert wanted | {"README"} == {page.stem for page in pages()}
    overview = (PAGES / "README.md").read_text()
    assert all(f"({name}.md)" in overview for name in wanted)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("page", [p for p in pages() if snippets(p)], ids=lambda p: p.stem)
def test_the_snippets_of_a_page_do_what_it_says(page: Path, tmp_path: Path) -> None:
    files = snippets(page)
    for name, code in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(code)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    tests = sum(code.count("\ndef test_") for code in files.values())
    tests += sum(code.startswith("def test_") for code in files.values())
    assert f"{tests} passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("page", pages(), ids=lambda p: p.stem)
def test_python_without_a_file_is_at_least_python(page: Path) -> None:
    for code in UNTITLED.findall(page.read_text()):
        compile(code, str(page), "exec")
