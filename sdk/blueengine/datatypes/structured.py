"""JSON, Text and Bytes."""

from typing import Any

import orjson

from blueengine.datatypes import names
from blueengine.datatypes.base import Encoded, Incoming, register
from blueengine.errors import DataTypeError

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


class Json:
    """Any JSON value; numpy scalars and arrays, dates, UUIDs and dataclasses are written as JSON."""

    def encode(self, value: Any, *, stored: bool) -> Encoded:
        """Return the value as JSON."""
        try:
            return Encoded(orjson.dumps(value, default=_plain, option=_OPTIONS))
        except TypeError as exc:
            raise DataTypeError(f"this value is no JSON: {exc}") from exc

    def decode(self, message: Incoming) -> Any:
        """Return the JSON value."""
        try:
            return orjson.loads(message.file.read_bytes() if message.file else message.payload)
        except orjson.JSONDecodeError as exc:
            raise DataTypeError(f"the message is no JSON: {exc}") from exc


def _plain(value: Any) -> Any:
    """Return arrays and scalars that orjson leaves to us (a slice, float16, …) as lists, numbers."""
    if hasattr(value, "__array_interface__"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not serializable")


class Text:
    """A string, UTF-8 on the line."""

    def encode(self, value: Any, *, stored: bool) -> Encoded:
        """Return the string as UTF-8."""
        if not isinstance(value, str):
            raise DataTypeError(f"a Text channel takes str, not {type(value).__name__}")
        try:
            return Encoded(value.encode())
        except UnicodeEncodeError as exc:
            raise DataTypeError(f"this text cannot be written as UTF-8: {exc}") from exc

    def decode(self, message: Incoming) -> str:
        """Return the string."""
        try:
            return message.read().decode()
        except UnicodeDecodeError as exc:
            raise DataTypeError(f"the message is no UTF-8 text: {exc}") from exc


class Bytes:
    """Bytes as they are."""

    def encode(self, value: Any, *, stored: bool) -> Encoded:
        """Return the bytes."""
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise DataTypeError(f"a Bytes channel takes bytes, not {type(value).__name__}")
        return Encoded(bytes(value))

    def decode(self, message: Incoming) -> bytes:
        """Return the bytes."""
        return message.read()


register(names.JSON, Json())
register(names.TEXT, Text())
register(names.BYTES, Bytes())
