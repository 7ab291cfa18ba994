"""The table of types, and what a type must be able to do.

Custom types are registered with ``register_type``; both ends of a channel must know them.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import msgspec

from blueengine.datatypes import names
from blueengine.errors import DataTypeError
from blueengine.wire.envelope import Meta


class Encoded(msgspec.Struct, frozen=True):
    """A value as it goes over a channel: bytes, or a file that holds them."""

    payload: bytes = b""
    meta: Meta | None = None
    file: Path | None = None
    """The payload is this file's content; it is streamed, never read whole."""


class Incoming(msgspec.Struct, frozen=True):
    """A message before it is a value."""

    payload: bytes
    meta: Meta
    file: Path | None
    """Where the payload is when it is not inline; read-only."""
    scratch: Callable[[], Path]
    """Answers the session's temp folder (made on demand)."""

    def read(self) -> bytes:
        """Return the payload's bytes."""
        return self.file.read_bytes() if self.file else self.payload


class DataType(Protocol):
    """How values of one type become bytes and come back."""

    def encode(self, value: Any, *, stored: bool) -> Encoded:
        """Return the value encoded; ``stored``: a client may fetch it, so use a common format.

        Raises:
            DataTypeError: The value is not of this type.
        """

    def decode(self, message: Incoming) -> Any:
        """Return the value.

        Raises:
            DataTypeError: The bytes are not of this type.
        """


@runtime_checkable
class Configurable(Protocol):
    """A type that can be told more about a channel, in engine.yml under OPTIONS."""

    def configured(self, options: Mapping[str, Any]) -> DataType:
        """Return the type as a channel with these options uses it.

        Raises:
            DataTypeError: An option is unknown or wrong.
        """


_types: dict[str, DataType] = {}
_HOMES: Final = {
    names.JSON: "structured",
    names.TEXT: "structured",
    names.BYTES: "structured",
    names.IMAGE: "image",
    names.FILE: "file",
    names.VIDEO: "video",
}
"""Built-in type -> module that registers it, imported when the type is first asked for."""


def register(name: str, data_type: DataType) -> None:
    """Make a built-in type known under ``name`` (case-insensitive)."""
    _types[name.lower()] = data_type


def register_type(name: str, data_type: DataType) -> None:
    """Make a custom type known, so that engine.yml and sessions may name it.

    Call it in engine.py, before ``BlueEngine()``: every process of the engine runs that file.

    Args:
        name: Words with dots between them, like ``acme.PointCloud`` (case-insensitive). The platform
            itself carries the messages of such a type as bytes.
        data_type: An object with ``encode`` and ``decode``.

    Raises:
        DataTypeError: The name has no dot, or the object lacks a method.
    """
    if not names.is_custom(name):
        raise DataTypeError(
            f"a custom type has a name with a dot, like 'acme.pointcloud', not {name!r}"
        )
    for method in ("encode", "decode"):
        if not callable(getattr(data_type, method, None)):
            raise DataTypeError(f"type {name!r} has no method {method!r}")
    register(name, data_type)


def get(name: str, options: Mapping[str, Any] | None = None) -> DataType:
    """Return the type of this name.

    Raises:
        DataTypeError: There is none, or it does not take these options.
    """
    found = _types.get(name.lower()) or _built_in(name)
    if found is None and names.is_custom(name):
        raise DataTypeError(
            f"nobody registered the type {name!r}; call blueengine.register_type({name!r}, …) before"
            " BlueEngine()"
        )
    if found is None:
        raise DataTypeError(f"there is no type {name!r}; known: {', '.join(sorted(names.ALL))}")
    if not options:
        return found
    if not isinstance(found, Configurable):
        raise DataTypeError(f"type {name!r} takes no options")
    return found.configured(options)


def _built_in(name: str) -> DataType | None:
    home = _HOMES.get(names.canonical(name) or "")
    if home:
        import_module(f"blueengine.datatypes.{home}")
    return _types.get(name.lower())


NO_META: Final = Meta()
