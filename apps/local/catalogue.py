"""Which engines there are on this machine: the built-in ones, and those the user names."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from blueengine.errors import SettingsError
from blueengine.settings.engine import EngineSettings

NONE: Final = "none"
CONFIG: Final = Path("configs", "engine.yml")


@dataclass(frozen=True, kw_only=True)
class LocalEngine:
    """An engine that can be started here."""

    script: Path
    settings: EngineSettings

    @property
    def id(self) -> str:
        """The engine's id."""
        return self.settings.id


def find(wanted: str, environment: Mapping[str, str]) -> dict[str, LocalEngine]:
    """Return the engines by id.

    Args:
        wanted: Paths (an engine's folder or its .py file) separated by commas; the built-in engines
            are there too unless one of the words is ``none``. A path wins over a built-in engine
            with the same id.
        environment: Wins over numbers in an engine.yml, here as in the engine itself.

    Raises:
        SettingsError: A path holds no engine, or its engine.yml is wrong.
    """
    words = [word.strip() for word in wanted.split(",") if word.strip()]
    scripts = [] if NONE in words else list(_built_in())
    scripts += [_script(word) for word in words if word != NONE]
    return {engine.id: engine for engine in _read(scripts, environment)}


def _read(scripts: Iterable[Path], environment: Mapping[str, str]) -> Iterable[LocalEngine]:
    cpus = os.cpu_count() or 1
    for script in scripts:
        settings = EngineSettings.load(script.parent / CONFIG, environment, cpus=cpus, foreign=True)
        yield LocalEngine(script=script, settings=settings)


def _built_in() -> Iterable[Path]:
    spec = find_spec("engines")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for script in sorted(Path(place).glob("*/engine.py")):
            if (script.parent / CONFIG).is_file():
                yield script


def _script(word: str) -> Path:
    path = Path(word).expanduser().resolve()
    script = path / "engine.py" if path.is_dir() else path
    if script.suffix != ".py" or not script.is_file():
        raise SettingsError(
            f"--engines: {word} is no engine; name its folder (with engine.py and configs/engine.yml), "
            "its .py file, or `none`"
        )
    return script
