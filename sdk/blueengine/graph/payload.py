"""Start data as a client writes it: which JSON value fits which channel type.

JSON is any value and Text a string. A binary message is one of ``{"base64"}``, ``{"fileId"}`` and
``{"url"}`` beside an optional ``contentType`` and ``name``. What is found here is only described:
decoding, fetching and storing are done by who holds the files.
"""

from typing import Any, Final

import msgspec
import orjson

from blueengine.datatypes.names import JSON, TEXT


class Inline(msgspec.Struct, frozen=True):
    """Bytes exactly as they go on the channel."""

    data: bytes


class Referred(msgspec.Struct, frozen=True, kw_only=True):
    """A binary message the client names by one of its three sources."""

    source: str
    """``base64`` | ``fileId`` | ``url``."""
    value: str
    content_type: str = ""
    name: str = ""


Payload = Inline | Referred

SOURCES: Final = ("base64", "fileId", "url")
_EXTRAS: Final = ("contentType", "name")
MAX_WORDS: Final = 255
"""Of a content type and of a file name, in characters."""


class Misfit(ValueError):  # noqa: N818 - it is no error of the program
    """A payload does not fit; ``key`` is the member of it that is wrong, if one is."""

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


def fit(kind: str, value: Any) -> Payload:
    """Return what ``value`` means on a channel of this canonical type.

    Raises:
        Misfit: It fits no message of that type.
    """
    if kind == JSON:
        return Inline(orjson.dumps(value))
    if kind == TEXT:
        if not isinstance(value, str):
            raise Misfit(f"a Text channel takes a string, not {_word(value)}")
        return Inline(value.encode())
    return _referred(kind, value)


def _referred(kind: str, value: Any) -> Referred:
    wanted = 'one of {"base64": …}, {"fileId": …} and {"url": …}'
    if not isinstance(value, dict):
        raise Misfit(f"a channel of type {kind} takes {wanted}, not {_word(value)}")
    named = [source for source in SOURCES if source in value]
    if len(named) != 1:
        found = "none" if not named else " and ".join(named)
        raise Misfit(f"a channel of type {kind} takes {wanted}; found {found}")
    for key, member in value.items():
        if key not in SOURCES and key not in _EXTRAS:
            raise Misfit(f"{key!r} is unknown here; beside the data: contentType, name", key)
        if not isinstance(member, str):
            raise Misfit(f"{key} must be a string, not {_word(member)}", key)
        if key in _EXTRAS and (len(member) > MAX_WORDS or not member.isprintable()):
            raise Misfit(f"{key} must be at most {MAX_WORDS} printable characters", key)
    return Referred(
        source=named[0],
        value=value[named[0]],
        content_type=value.get("contentType", ""),
        name=value.get("name", "").rpartition("/")[2],
    )


def _word(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"
