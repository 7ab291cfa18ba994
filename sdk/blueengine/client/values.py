"""Python values as start data: JSON as it is, files and images uploaded, small bytes in place."""

import base64
import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from blueengine.client.answers import Blob, Upload
from blueengine.datatypes.file import File
from blueengine.datatypes.image import Image, ImageType
from blueengine.datatypes.names import BYTES, FILE, IMAGE, INLINE, JSON, canonical
from blueengine.datatypes.structured import Json
from blueengine.errors import DataTypeError

IN_PLACE: Final = 32 * 1024
"""Bytes up to which a binary message travels in the request itself."""


class Many:
    """Several messages for one channel, in order: ``{"Pages": Many(paths)}``."""

    def __init__(self, values: Sequence[Any]) -> None:
        """Keep them."""
        self.values = tuple(values)


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """A binary message that is not in the platform yet: in a file, or held."""

    path: Path | None = None
    data: bytes = b""
    content_type: str = ""
    name: str = ""

    @property
    def in_place(self) -> bool:
        """Whether it is small enough to need no upload."""
        return self.path is None and len(self.data) <= IN_PLACE

    def described(self, source: Mapping[str, str]) -> dict[str, str]:
        """Return it as start data, its bytes being where ``source`` says."""
        said = {"contentType": self.content_type, "name": self.name}
        return {**source, **{name: word for name, word in said.items() if word}}

    def inline(self) -> dict[str, str]:
        """Return it as start data that holds the bytes."""
        return self.described({"base64": base64.b64encode(self.data).decode()})


def messages(kind: str, value: Any) -> list[Any]:
    """Return what is given for a channel of this type as its messages: JSON, or attachments.

    Raises:
        DataTypeError: It fits no message of that type.
    """
    values = value.values if isinstance(value, Many) else (value,)
    return [_message(canonical(kind) or kind, each) for each in values]


def guess(value: Any) -> str:
    """Return the type of channel that a value is for, as far as can be told from it."""
    if isinstance(value, Many):
        return guess(value.values[0]) if value.values else JSON
    if isinstance(value, Path | File):
        return FILE
    if isinstance(value, bytes | bytearray | memoryview):
        return BYTES
    return IMAGE if isinstance(value, Image) or hasattr(value, "__array_interface__") else JSON


def stand_in(message: Any) -> Any:
    """Return JSON with which a message can be checked before anything of it is uploaded."""
    return message.described({"base64": ""}) if isinstance(message, Attachment) else message


def _message(kind: str, value: Any) -> Any:
    if isinstance(value, Upload):
        return {"fileId": value.file_id}
    if isinstance(value, Blob):
        raise DataTypeError("a result is no start data: load or download it, and give that")
    if kind in INLINE:
        return _inline(kind, value)
    if isinstance(value, str | Path | File) or not _is_binary(kind, value):
        return _named(kind, value)
    if kind == IMAGE:
        encoded = ImageType().encode(value, stored=True)
        kind_of = encoded.meta.content_type if encoded.meta else ""
        return Attachment(data=encoded.payload, content_type=kind_of)
    return Attachment(data=bytes(value))


def _inline(kind: str, value: Any) -> Any:
    if isinstance(value, Path | File):
        raise DataTypeError(f"a {kind} channel takes a value, not a file; read it first")
    if kind == JSON:
        return orjson.loads(Json().encode(value, stored=True).payload)
    return value


def _is_binary(kind: str, value: Any) -> bool:
    if isinstance(value, bytes | bytearray | memoryview):
        return True
    return kind == IMAGE and guess(value) == IMAGE


def _named(kind: str, value: Any) -> Any:
    """Return a file as an attachment; ``{"base64"}``, ``{"fileId"}`` and ``{"url"}`` as they are."""
    if isinstance(value, dict):
        return value
    if isinstance(value, str | Path):
        value = File(value)
    if not isinstance(value, File):
        name = type(value).__name__
        raise DataTypeError(
            f"a channel of type {kind} takes a path, bytes or an upload, not {name}"
        )
    if not value.path.is_file():
        raise DataTypeError(f"there is no file {value.path}")
    guessed = value.content_type != "application/octet-stream"
    return Attachment(
        path=value.path, content_type=value.content_type if guessed else "", name=value.name
    )


def content_type(path: Path) -> str:
    """Return the media type that a file's name tells; empty when it tells none."""
    return mimetypes.guess_type(path.name)[0] or ""
