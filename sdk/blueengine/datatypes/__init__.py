"""The types of data channels: how a value becomes bytes and comes back. Heavy imports stay inside.

``base.py`` has the table of types; names are case-insensitive on input, canonical everywhere else.
"""

from blueengine.datatypes import file as _file
from blueengine.datatypes import image as _image
from blueengine.datatypes import structured as _structured
from blueengine.datatypes import video as _video

__all__: list[str] = []
_ = (_file, _image, _structured, _video)  # imported for the types they register
