"""Uploads in several requests: what has arrived stays, and the next one goes on behind it.

Here is how a folder does it (``resumed_pieces``: a bucket): ``files/<id>/begun.json`` says what is to
come and ``data.partial`` holds what came; its size is all the state there is. Whoever writes holds a
lock on it that ends with the process, so two requests never mix and none is locked out for good.
"""

import asyncio
import errno
import fcntl
import hashlib
import io
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import msgspec

from apps.restful.service.access import Who
from apps.restful.service.errors import (
    ConflictError,
    InvalidError,
    StorageFullError,
    TooLargeError,
    UnknownError,
)
from apps.restful.service.files import Upload, facts_file, find, is_id
from blueengine.ids import Entropy, nanoid
from blueengine.transport.blobs import PARTIAL, PIECE, BlobFolder, upload_ref


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """An upload of which more is to come."""

    id: str
    size: int
    """Bytes it will have."""
    received: int = 0
    content_type: str = ""
    name: str = ""
    tenant: str = ""


class Uploads(Protocol):
    """Uploads in several requests."""

    async def look(self, file_id: str, who: Who) -> Begun | Upload:
        """Return how an upload stands.

        Raises:
            UnknownError: There is none, or it is somebody else's.
        """

    async def begin(self, begun: Begun) -> None:
        """Begin an upload; nothing of it has come."""

    async def append(
        self, begun: Begun, first: int, chunks: AsyncIterator[bytes]
    ) -> Begun | Upload:
        """Write bytes from position ``first`` on; with the last one it is an upload like any other.

        Should the client go in the middle, what came until then is kept.

        Raises:
            ConflictError: ``first`` is not where it stands, or another request is writing.
            InvalidError: There are more bytes than it was to have; nothing of them is kept.
            StorageFullError: The disk takes no more.
        """


def new(
    size: int, *, content_type: str, name: str, who: Who, limit: int, entropy: Entropy
) -> Begun:
    """Return an upload of ``size`` bytes that can begin.

    Raises:
        TooLargeError: It would have more than ``limit`` bytes.
    """
    if size > limit:
        raise TooLargeError.because(f"an upload may have at most {limit} bytes")
    return Begun(
        id=nanoid(entropy), size=size, content_type=content_type, name=name, tenant=who.tenant
    )


def seen(found: Upload | Begun | None, file_id: str, who: Who) -> Upload | Begun:
    """Return what was found, if ``who`` may see it.

    Raises:
        UnknownError: It is somebody else's, or nothing was found.
    """
    if found is None or not who.owns(found.tenant):
        raise UnknownError.because(f"there is no file {file_id[:80]!r}")
    return found


def finished(begun: Begun, sha256: str) -> Upload:
    """Return what an upload is when all of it has come."""
    return Upload(
        id=begun.id,
        size=begun.size,
        sha256=sha256,
        content_type=begun.content_type,
        name=begun.name,
        tenant=begun.tenant,
    )


class InFolder:
    """Uploads in several requests to a folder."""

    def __init__(self, blobs: BlobFolder) -> None:
        """Keep them in ``blobs``."""
        self._blobs = blobs

    async def look(self, file_id: str, who: Who) -> Begun | Upload:
        """Return how an upload stands."""
        return seen(await asyncio.to_thread(_look, self._blobs, file_id), file_id, who)

    async def begin(self, begun: Begun) -> None:
        """Begin an upload; nothing of it has come."""
        await asyncio.to_thread(_begin, self._blobs.path(upload_ref(begun.id)), begun)

    async def append(
        self, begun: Begun, first: int, chunks: AsyncIterator[bytes]
    ) -> Begun | Upload:
        """Write bytes from position ``first`` on; with the last one it is an upload like any other."""
        path = self._blobs.path(upload_ref(begun.id))
        file = await asyncio.to_thread(_open_at, path, first)
        try:
            return await _append(path, file, begun, first, chunks)
        except OSError as exc:
            if exc.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
                msg = "the blob folder is full; free some space and send the rest then"
                raise StorageFullError.because(msg) from exc
            raise
        finally:
            file.close()  # and with it the lock


def _look(blobs: BlobFolder, file_id: str) -> Begun | Upload | None:
    found = find(blobs, file_id)
    if found is not None or not is_id(file_id):
        return found
    path = blobs.path(upload_ref(file_id))
    try:
        begun = msgspec.json.decode(_begun_file(path).read_bytes(), type=Begun)
        size = _partial(path).stat().st_size
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return find(blobs, file_id)  # it may have been finished right now
    return msgspec.structs.replace(begun, received=size)


def _begin(path: Path, begun: Begun) -> None:
    path.parent.mkdir(parents=True)
    _partial(path).touch()
    _begun_file(path).write_bytes(msgspec.json.encode(begun))


def _begun_file(path: Path) -> Path:
    return path.with_name("begun.json")


def _partial(path: Path) -> Path:
    return path.with_name(path.name + PARTIAL)


async def _append(
    path: Path, file: io.FileIO, begun: Begun, first: int, chunks: AsyncIterator[bytes]
) -> Begun | Upload:
    held = bytearray()
    size = first
    try:
        async for chunk in chunks:
            size += len(chunk)
            if size > begun.size:
                file.truncate(first)
                held.clear()
                msg = f"the upload has {begun.size} bytes, and there came more"
                raise InvalidError.because(msg, loc="/header/Content-Range", kind="bad-range")
            held += chunk
            if len(held) >= PIECE:
                await asyncio.to_thread(_write, file, bytes(held))
                held.clear()
    finally:
        _write(file, bytes(held))  # not awaited: what came before the client went is kept
    if size < begun.size:
        return msgspec.structs.replace(begun, received=size)
    return await asyncio.to_thread(_finish, path, begun)


def _open_at(path: Path, first: int) -> io.FileIO:
    """Open what has arrived for more, alone, at its end."""
    try:
        file = io.FileIO(_partial(path), "r+")
    except FileNotFoundError as exc:
        raise ConflictError.because("the upload is complete", kind="upload-complete") from exc
    problem: ConflictError | None = None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        problem = ConflictError.because("another request writes to this upload", kind="upload-busy")
    else:
        has = file.seek(0, os.SEEK_END)
        if not os.fstat(file.fileno()).st_nlink:  # it was finished or has expired meanwhile
            problem = ConflictError.because(
                "the upload is complete, or it was left alone for so long that it is gone; see "
                "GET /files/{fileId}/upload",
                kind="upload-complete",
            )
        elif has != first:
            msg = f"the next byte of the upload is number {has}, not {first}"
            problem = ConflictError.because(msg, loc="/header/Content-Range", kind="wrong-offset")
    if problem is not None:
        file.close()
        raise problem
    return file


def _write(file: io.FileIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) or 0 :]


def _finish(path: Path, begun: Begun) -> Upload:
    with _partial(path).open("rb") as whole:
        sha256 = hashlib.file_digest(whole, "sha256").hexdigest()
    upload = finished(begun, sha256)
    facts_file(path).write_bytes(msgspec.json.encode(upload))
    _partial(path).rename(path)
    _begun_file(path).unlink(missing_ok=True)
    return upload
