"""BlueEngine: write engines, build sessions of them, run them on one box or a cluster.

This module names what engine authors use. Each name is imported when it is first used, so that a
program which needs none of them (a command, a client) does not pay for them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from blueengine.errors import BlueEngineError, DataTypeError, Fail, Refuse, RetryLater

if TYPE_CHECKING:
    from blueengine.datatypes.base import register_type
    from blueengine.datatypes.file import File
    from blueengine.datatypes.image import Image
    from blueengine.datatypes.video import Frame, Video, VideoWriter
    from blueengine.runtime.context import Context
    from blueengine.runtime.declare import BlueEngine

__version__ = "0.1.0"

__all__ = [
    "BlueEngine",
    "BlueEngineError",
    "Context",
    "DataTypeError",
    "Fail",
    "File",
    "Frame",
    "Image",
    "Refuse",
    "RetryLater",
    "Video",
    "VideoWriter",
    "register_type",
]

_HOMES: Final = {
    "BlueEngine": "blueengine.runtime.declare",
    "Context": "blueengine.runtime.context",
    "File": "blueengine.datatypes.file",
    "Frame": "blueengine.datatypes.video",
    "Image": "blueengine.datatypes.image",
    "Video": "blueengine.datatypes.video",
    "VideoWriter": "blueengine.datatypes.video",
    "register_type": "blueengine.datatypes.base",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
