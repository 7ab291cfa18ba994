"""``blueengine new-engine``: a folder to begin an engine with, complete and tested."""

import re
from importlib import resources
from pathlib import Path
from string import Template
from typing import Annotated, Final

import typer

from blueengine.cli.output import UsageError

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_TEMPLATES: Final = "scaffold"
_FILES: Final = {
    "engine.py.txt": "engine.py",
    "steps.py.txt": "steps.py",
    "engine.yml.txt": "configs/engine.yml",
    "Dockerfile.txt": "Dockerfile",
    "requirements.txt": "requirements.txt",
    "test_engine.py.txt": "test_engine.py",
    "README.md.txt": "README.md",
}


def new_engine(
    name: Annotated[str, typer.Argument(help="Small letters, digits and '_', as in Python.")],
    *,
    into: Annotated[Path, typer.Option(help="Where to make the folder.")] = Path(),
) -> None:
    """Make the folder of a new engine: declaration, steps, settings, test and Dockerfile.

    Example: blueengine new-engine resize && cd resize && python -m pytest
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be an engine's name; take small letters, digits and '_', e.g."
            f" {_suggest(name)!r}"
        )
    folder = into / name
    if folder.exists():
        raise UsageError(f"{folder} exists already; choose another name, or --into another folder")
    write(name, folder)
    typer.echo(
        f"made {folder}: engine.py, steps.py, configs/engine.yml, test_engine.py, Dockerfile"
    )
    typer.echo(f"next: cd {folder} && python -m pytest && blueengine engine run engine.py --reload")


def write(name: str, folder: Path) -> None:
    """Write the files of the engine ``name`` to ``folder``."""
    words = {"name": name, "title": name.replace("_", " ").capitalize()}
    source = resources.files("blueengine.cli") / _TEMPLATES
    for template, path in _FILES.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        text = Template((source / template).read_text(encoding="utf-8")).substitute(words)
        target.write_text(text, encoding="utf-8")


def _suggest(name: str) -> str:
    words = re.sub(r"[^a-z0-9_]+", "_", name.lower()).strip("_0123456789")
    return words[:63] or "my_engine"
