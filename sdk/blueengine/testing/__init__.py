"""For engine authors' tests: an engine without a platform, and a platform in one line.

``running("engine.py")`` runs an engine as an instance runs it, with the platform's side in memory:
the same calls, joins, ends and errors, no server. ``start_platform()`` starts the real one. The pytest
plugin, loaded with the package, has both as fixtures: ``run_engine`` and ``platform``.

Each name is imported when it is first used: pytest loads the plugin in every run.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from blueengine.runtime.loading import load
    from blueengine.testing.engine import EngineRun, Outcome, SessionFailed, SessionRun, running
    from blueengine.testing.stack import Platform, start_platform

__all__ = [
    "EngineRun",
    "Outcome",
    "Platform",
    "SessionFailed",
    "SessionRun",
    "load",
    "running",
    "start_platform",
]

_HOMES: Final = {
    "load": "blueengine.runtime.loading",
    "Platform": "blueengine.testing.stack",
    "start_platform": "blueengine.testing.stack",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES.get(name, "blueengine.testing.engine")
    found = globals()[name] = getattr(import_module(home), name)
    return found
