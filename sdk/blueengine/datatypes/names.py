"""Canonical names of the channel types; light enough for the gateway to import.

A custom type's name has a dot, like ``acme.pointcloud``. So a wrongly spelt built-in type is still
found everywhere, and the gateway, which knows no custom type, takes its messages for bytes.
"""

import re
from typing import Final

JSON: Final = "JSON"
TEXT: Final = "Text"
BYTES: Final = "Bytes"
IMAGE: Final = "Image"
FILE: Final = "File"
VIDEO: Final = "Video"

ALL: Final = (JSON, TEXT, BYTES, IMAGE, FILE, VIDEO)
INLINE: Final = frozenset({JSON, TEXT})
"""Types whose messages a client gets inline; the others by URL."""

_CANONICAL: Final = {name.lower(): name for name in ALL}
_CUSTOM: Final = re.compile(r"[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)+", re.ASCII)
MAX_LENGTH: Final = 64


def canonical(name: str) -> str | None:
    """Return the type's canonical name, whatever its case, or None when there is no such type."""
    small = name.lower()
    return _CANONICAL.get(small) or (small if is_custom(small) else None)


def is_custom(name: str) -> bool:
    """Whether this may be the name of a custom type: words with dots between them."""
    return len(name) <= MAX_LENGTH and _CUSTOM.fullmatch(name.lower()) is not None
