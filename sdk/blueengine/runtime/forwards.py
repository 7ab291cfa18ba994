"""What one step forwards to the next: pickled, its large buffers (arrays) beside the pickle.

Above a size all of it is one file in shared memory: written once from where the array lies, and mapped
by the reader, who gets arrays it may change without a copy having been made before. The file has no
life of its own: the parent removes it when it was read, the session's folder with the session, and the
instance's folder with the instance, even one that was killed.
"""

import itertools
import mmap
import os
import pickle  # noqa: TID251 - objects between steps of one engine, never over a channel
import struct
from pathlib import Path
from typing import Any, Final

from blueengine.errors import DataTypeError
from blueengine.transport.blobs import INLINE_LIMIT
from blueengine.wire.spec import FORWARD

ALIGNED: Final = 64
"""Bytes: where arrays are fastest."""
_LENGTH: Final = struct.Struct("<Q")


class Forwards:
    """Writes and reads what is forwarded, for one worker."""

    def __init__(self) -> None:
        """Begin with the first file."""
        self._numbers = itertools.count(1)

    def write(self, value: Any, folder: str) -> tuple[bytes, bytes, str, int]:
        """Return payload, lengths (empty when all is the pickle), file and size of a value.

        Args:
            value: Any object that can be pickled.
            folder: The session's in shared memory; empty: there is none.

        Raises:
            DataTypeError: It cannot be pickled.
        """
        buffers: list[pickle.PickleBuffer] = []
        try:
            head = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
            pieces = [memoryview(head), *(buffer.raw() for buffer in buffers)]
        except (pickle.PicklingError, TypeError, AttributeError, BufferError) as exc:
            raise DataTypeError(
                f"{FORWARD!r} cannot carry this {type(value).__name__}: {exc}; the next step is"
                " another process, so forward plain data, not open files, locks or lambdas"
            ) from exc
        lengths = b"".join(_LENGTH.pack(len(piece)) for piece in pieces) if buffers else b""
        size = sum(_padded(len(piece)) for piece in pieces) if buffers else len(head)
        if folder and size > INLINE_LIMIT:
            try:
                return b"", lengths, self._write(Path(folder), pieces), size
            except OSError:  # no room: it goes as messages without shared memory do
                pass
        if not buffers:
            return head, b"", "", size
        return b"".join(_aligned(pieces)), lengths, "", size

    def _write(self, folder: Path, pieces: list[memoryview]) -> str:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{os.getpid()}-{id(self)}-{next(self._numbers)}"
        try:
            with path.open("wb", buffering=0) as out:
                for piece in _aligned(pieces):
                    written = 0
                    while written < len(piece):
                        written += out.write(piece[written:])
        except OSError:
            path.unlink(missing_ok=True)
            raise
        return str(path)

    def read(self, payload: bytes, lengths: bytes, file: str) -> Any:
        """Return the value."""
        data: Any = payload
        if file:
            with Path(file).open("rb") as source:
                data = mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_COPY)
        if not lengths:
            return pickle.loads(data)  # noqa: S301 - written by a step of this same engine
        view, at, pieces = memoryview(data if file else bytearray(data)), 0, []
        for (length,) in _LENGTH.iter_unpack(lengths):
            pieces.append(view[at : at + length])
            at += _padded(length)
        return pickle.loads(pieces[0], buffers=pieces[1:])  # noqa: S301 - of this same engine


def _padded(length: int) -> int:
    return -(-length // ALIGNED) * ALIGNED


def _aligned(pieces: list[memoryview]) -> list[memoryview]:
    found = []
    for piece in pieces:
        found.append(piece)
        if room := _padded(len(piece)) - len(piece):
            found.append(memoryview(bytes(room)))
    return found
