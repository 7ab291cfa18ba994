"""Finding the engine in a Python file or module, without starting it."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blueengine.errors import DeclarationError
from blueengine.runtime.declare import BlueEngine


def load(target: str | Path) -> BlueEngine:
    """Return the engine in a ``.py`` file or an importable module; nothing is started.

    Raises:
        DeclarationError: There is no such file or module, or no engine in it.
    """
    name = str(target)
    if name.endswith(".py"):
        return only(vars(_run(Path(target))), name)
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{name}.".startswith(f"{exc.name}."):
            raise
        raise DeclarationError(f"there is no module {name!r}; name a .py file or a module") from exc
    return only(vars(module), name)


def only(scope: Mapping[str, Any], where: str) -> BlueEngine:
    """Return the engine among the names of a module.

    Raises:
        DeclarationError: There is none, or more than one.
    """
    engines = {id(value): value for value in scope.values() if isinstance(value, BlueEngine)}
    if len(engines) != 1:
        raise DeclarationError(f"{where} makes {len(engines) or 'no'} BlueEngine; it must make one")
    return next(iter(engines.values()))


def _run(path: Path) -> Any:
    if not path.is_file():
        raise DeclarationError(f"{path} is no file; name an engine's .py file")
    path = path.resolve()
    _give_way(path.parent)
    spec = importlib.util.spec_from_file_location(f"_engine_{path.parent.name}_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise DeclarationError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # what the author pickles names its module
    spec.loader.exec_module(module)
    return module


def _give_way(folder: Path) -> None:
    """Let imports find the modules of this folder first, as ``python engine.py`` does.

    Another engine's ``steps``, say, that this process imported before would be taken for this one's.
    """
    own = str(folder)
    if own in sys.path:
        sys.path.remove(own)
    sys.path.insert(0, own)
    for entry in folder.iterdir():
        module = sys.modules.get(entry.stem)
        file = getattr(module, "__file__", None)
        if file and entry.suffix in {".py", ""} and not file.startswith(f"{own}{os.sep}"):
            is_package = entry.is_dir() and (entry / "__init__.py").exists()
            if entry.suffix == ".py" or is_package:
                del sys.modules[entry.stem]
