"""The first steps of an engine process: what can be checked, then its workers, then all the rest.

A worker takes as long to load as its parent does. So it is started before the parent's own parts are
imported, and both load at the same time; this module must stay light.
"""

import os
import runpy
import sys
from contextlib import closing
from pathlib import Path

from blueengine.errors import BlueEngineError, DeclarationError
from blueengine.kit import logs
from blueengine.runtime.context import Flags
from blueengine.runtime.declare import BlueEngine
from blueengine.runtime.spawn import spawned
from blueengine.settings.system import SystemSettings


def run_file(path: Path) -> int:
    """Run the engine in a Python file; return the exit code."""
    if not path.is_file():
        raise DeclarationError(f"{path} is no file; name an engine's .py file")
    sys.path.insert(0, str(path.resolve().parent))
    sys.argv = [str(path)]
    scope = runpy.run_path(str(path), run_name="__main__")  # ends here when it calls start()
    engines = [value for value in scope.values() if isinstance(value, BlueEngine)]
    if not engines:
        raise DeclarationError(f"{path} makes no BlueEngine")
    return run_engine(engines[0], target=str(path.resolve()))


def run_engine(engine: BlueEngine, *, target: str = "") -> int:
    """Run this process as an instance of ``engine`` until a signal ends it; the exit code."""
    try:
        engine.check()
        settings = SystemSettings.load(os.environ, config_variable="BLUEEDGE_COMM_CONFIG")
        target = target or _own_target()
    except BlueEngineError as exc:
        print(f"error: {exc}", file=sys.stderr)  # noqa: T201 - the one line a person needs
        return 2
    logs.configure(engine.settings.id, level=settings.log_level)
    with (
        closing(Flags.make(len(engine.steps))) as flags,
        spawned(engine, target, flags.fd) as workers,
    ):
        from blueengine.runtime.launch import launch

        return launch(engine, settings, target, flags, workers)


def _own_target() -> str:
    main = sys.modules["__main__"]
    if main.__spec__ is not None:  # python -m package.engine
        return main.__spec__.name
    file = getattr(main, "__file__", None)
    if not file:
        raise DeclarationError("an engine is started from a file or module")
    return str(Path(file).resolve())
