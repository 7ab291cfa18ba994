"""File: a path on both ends, streamed between them and never read whole."""

import mimetypes
import os
import tempfile
from pathlib import Path
from typing import Any

from blueengine.datatypes import names
from blueengine.datatypes.base import Encoded, Incoming, register
from blueengine.errors import DataTypeError
from blueengine.wire.envelope import Meta


class File:
    """A file on a channel.

    Attributes:
        path: Where it is. On the reader's side it is read-only and there until the call ends.
        name: Its file name.
        content_type: E.g. ``application/pdf``.
        meta: Facts the writer added.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        name: str = "",
        content_type: str = "",
        meta: dict[str, Any] | None = None,
    ) -> None:
        """Name the file at ``path``; nothing is read."""
        self.path = Path(path)
        self.name = name or self.path.name
        self.content_type = (
            content_type or mimetypes.guess_type(self.name)[0] or "application/octet-stream"
        )
        self.meta = dict(meta or {})

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.path.stat().st_size


class FileType:
    """How files travel."""

    def encode(self, value: Any, *, stored: bool) -> Encoded:
        """Return the file by its path."""
        file = File(value) if isinstance(value, (str, Path)) else value
        if not isinstance(file, File):
            raise DataTypeError(f"a File channel takes File or a path, not {type(value).__name__}")
        if not file.path.is_file():
            raise DataTypeError(f"{file.path} is no file")
        meta = Meta(content_type=file.content_type, name=file.name, facts=file.meta)
        return Encoded(meta=meta, file=file.path)

    def decode(self, message: Incoming) -> File:
        """Return the file; an inline one is written to the session's temp folder."""
        path, meta = message.file, message.meta
        if path is None:
            name = Path(meta.name).name or "file"
            # several steps may do this at the same time in the one folder
            fd, made = tempfile.mkstemp(suffix=f"-{name[-100:]}", prefix="", dir=message.scratch())
            with os.fdopen(fd, "wb") as out:
                out.write(message.payload)
            path = Path(made)
        return File(
            path, name=meta.name or path.name, content_type=meta.content_type, meta=meta.facts
        )


register(names.FILE, FileType())
