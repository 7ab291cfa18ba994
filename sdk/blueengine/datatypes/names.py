"""Canonical names of the channel types; light enough for the gateway to import."""

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


def canonical(name: str) -> str | None:
    """Return the type's canonical name, whatever its case, or None when there is no such type."""
    return _CANONICAL.get(name.lower())
