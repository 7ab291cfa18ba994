"""Uploads: streamed into the blob store, there whole or not at all."""

import asyncio
import errno
import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec

from apps.restful.service.errors import StorageFullError, TooLargeError
from blueengine.ids import Entropy, nanoid
from blueengine.transport.blobs import PARTIAL, BlobFolder, upload_ref

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
PIECE: Final = 1 << 20
"""Bytes gathered before a thread writes them."""

NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Errors of a disk that takes no more."""

ref = upload_ref


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an upload."""

    id: str
    size: int
    sha256: str
    content_type: str = ""
    name: str = ""
    tenant: str = ""
    """Whose it is; empty: nobody's in particular."""


def is_id(text: str) -> bool:
    """Say whether ``text`` can be the id of an upload."""
    return _ID.fullmatch(text) is not None


def find(blobs: BlobFolder, file_id: str) -> Upload | None:
    """Return an upload that is there. Reads the disk."""
    if not is_id(file_id):
        return None
    path = blobs.path(upload_ref(file_id))
    try:
        upload = msgspec.json.decode(facts_file(path).read_bytes(), type=Upload)
        return upload if path.is_file() else None
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return None


async def save(
    blobs: BlobFolder,
    chunks: AsyncIterator[bytes],
    *,
    content_type: str,
    name: str,
    tenant: str,
    limit: int,
    entropy: Entropy,
) -> Upload:
    """Write a stream of bytes as a new upload; memory stays at about a piece.

    Raises:
        TooLargeError: There is more than ``limit``; nothing is kept.
        StorageFullError: The disk takes no more; nothing is kept.
    """
    file_id = nanoid(entropy)
    path = blobs.path(upload_ref(file_id))
    writer = _Writer(path)
    try:
        await asyncio.to_thread(writer.open)
        held: list[bytes] = []
        size = waiting = 0
        async for chunk in chunks:
            size += len(chunk)
            _check_size(size, limit)
            held.append(chunk)
            waiting += len(chunk)
            if waiting >= PIECE:
                await asyncio.to_thread(writer.write, held)
                held, waiting = [], 0
        upload = Upload(
            id=file_id,
            size=size,
            sha256=await asyncio.to_thread(writer.finish, held),
            content_type=content_type,
            name=name,
            tenant=tenant,
        )
        await asyncio.to_thread(writer.publish, upload)
    except BaseException as exc:
        # Not awaited: a cancelled request must not leave anything either.
        writer.drop()
        if isinstance(exc, OSError) and exc.errno in NO_SPACE:
            msg = "the blob folder is full; free some space or use another BLOB_DIR"
            raise StorageFullError.because(msg) from exc
        raise
    return upload


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise TooLargeError.because(f"an upload may have at most {limit} bytes")


class _Writer:
    """The blocking half of an upload."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(path.name + PARTIAL)
        self._digest = hashlib.sha256()

    def open(self) -> None:
        self._path.parent.mkdir(parents=True)
        self._out = self._partial.open("wb", buffering=0)

    def write(self, pieces: list[bytes]) -> None:
        data = memoryview(b"".join(pieces))
        self._digest.update(data)
        while data:
            data = data[self._out.write(data) :]

    def finish(self, pieces: list[bytes]) -> str:
        self.write(pieces)
        self._out.close()
        return self._digest.hexdigest()

    def publish(self, upload: Upload) -> None:
        facts_file(self._path).write_bytes(msgspec.json.encode(upload))
        self._partial.rename(self._path)

    def drop(self) -> None:
        if hasattr(self, "_out"):
            self._out.close()
        for path in (self._partial, self._path, facts_file(self._path)):
            path.unlink(missing_ok=True)
        if self._path.parent.is_dir():
            self._path.parent.rmdir()


def facts_file(path: Path) -> Path:
    """Return where the facts of an upload at ``path`` are kept."""
    return path.with_name("facts.json")
