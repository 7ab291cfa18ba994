"""The table of types, and what a type must be able to do.

Custom types are registered with ``register``; both ends of a channel must know them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from blueengine.datatypes import names
from blueengine.errors import DataTypeError
from blueengine.wire.envelope import Meta


@dataclass(frozen=True)
class Encoded:
    """A value as it goes over a channel: bytes, or a file that holds them."""

    payload: bytes = b""
    meta: Meta | None = None
    file: Path | None = None
    """The payload is this file's content; it is streamed, never read whole."""


@dataclass(frozen=True)
class Incoming:
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


_types: dict[str, DataType] = {}


def register(name: str, data_type: DataType) -> None:
    """Make a type known under ``name`` (case-insensitive)."""
    _types[name.lower()] = data_type


def get(name: str) -> DataType:
    """Return the type of this name.

    Raises:
        DataTypeError: There is none.
    """
    found = _types.get(name.lower())
    if found is None:
        raise DataTypeError(f"there is no type {name!r}; known: {', '.join(sorted(names.ALL))}")
    return found


NO_META: Final = Meta()
