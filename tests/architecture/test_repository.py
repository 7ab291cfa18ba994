"""What the repository holds, what its map names, what its wheel carries."""

import re
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Rooms are the folders of these; the map has a line for each.
HOUSES = ["sdk/blueengine", "apps", "engines", "tests"]

LOCK_FILES = {
    "Cargo.lock",
    "Pipfile.lock",
    "npm-shrinkwrap.json",
    "package-lock.json",
    "pdm.lock",
    "pnpm-lock.yaml",
    "poetry.lock",
    "uv.lock",
    "yarn.lock",
}

# Written in pieces, so that this file is not the first to break its rule.
MACHINE_FOLDERS = ["work", "root"]
REGISTRIES = [
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("npmjs", "org"),
    ("npmjs", "com"),
    ("crates", "io"),
    ("proxy.golang", "org"),
    ("repo1.maven", "org"),
    ("repo.maven.apache", "org"),
    ("deb.debian", "org"),
]
FORBIDDEN = re.compile(
    rf"(?<![\w.}}~-])/(?:{'|'.join(MACHINE_FOLDERS)})/"
    rf"|\b(?:{'|'.join(re.escape('.'.join(parts)) for parts in REGISTRIES)})\b"
)


@cache
def tracked() -> list[Path]:
    """Return the files that git tracks, or would with the next `git add`."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"not a git checkout: {done.stderr.strip()}")
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def rooms() -> list[str]:
    """Return the folders of the houses that hold a tracked file."""
    found = set()
    for house in HOUSES:
        for path in tracked():
            if path.is_relative_to(ROOT / house):
                inside = path.relative_to(ROOT / house).parts
                if len(inside) > 1:
                    found.add(f"{house}/{inside[0]}")
    return sorted(found)


def test_the_map_names_every_room() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    unnamed = [
        room
        for room in rooms()
        if not re.search(rf"(?<![\w-]){re.escape(room.rpartition('/')[2])}(?![\w-])", text)
    ]
    assert not unnamed, f"ARCHITECTURE.md does not name: {unnamed}"


def test_no_file_names_a_path_of_a_machine_or_the_host_of_a_registry() -> None:
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture, a PDF
        for number, line in enumerate(text.splitlines(), start=1):
            if FORBIDDEN.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert not found, "\n".join(found)


def test_there_is_no_lock_file() -> None:
    locks = [str(p.relative_to(ROOT)) for p in tracked() if p.name in LOCK_FILES]
    assert not locks, f"constraints.txt pins the versions; remove {locks}"


def test_the_wheel_carries_every_file_of_the_packages(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    carried = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        str(path.relative_to(ROOT / parent))
        for parent, package in (("sdk", "blueengine"), (".", "apps"), (".", "engines"))
        for path in tracked()
        if path.is_relative_to(ROOT / parent / package)
    }
    assert wanted, "no package found"
    assert wanted <= carried, f"missing in the wheel: {sorted(wanted - carried)}"
    stray = {n for n in carried if n.partition("/")[0] not in {"blueengine", "apps", "engines"}}
    assert all(".dist-info/" in n for n in stray), f"does not belong in it: {sorted(stray)}"
