"""BlueEngine: write engines, build sessions of them, run them on one box or a cluster.

This module names what engine authors use. Heavy parts are imported when first used.
"""

from blueengine.datatypes.file import File
from blueengine.datatypes.image import Image
from blueengine.errors import BlueEngineError, Fail, Refuse
from blueengine.runtime.context import Context
from blueengine.runtime.declare import BlueEngine

__version__ = "0.1.0"

__all__ = ["BlueEngine", "BlueEngineError", "Context", "Fail", "File", "Image", "Refuse"]
