"""Uploads: streamed into the blob store, there whole or not at all."""

import asyncio
import errno
import hashlib
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import msgspec

from apps.restful.service.errors import StorageFullError, TooLargeError
from blueengine.ids import Entropy, nanoid
from blueengine.transport.blobs import PIECE, BlobError, BlobStore, upload_ref

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
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


def find(blobs: BlobStore, file_id: str) -> Upload | None:
    """Return an upload that is there. Asks the blob store, so it is for a thread."""
    if not is_id(file_id):
        return None
    try:
        upload = msgspec.json.decode(blobs.read(facts_ref(file_id)), type=Upload)
        blobs.size(upload_ref(file_id))
    except (BlobError, OSError, msgspec.DecodeError, msgspec.ValidationError):
        return None
    return upload


async def save(
    blobs: BlobStore,
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
    digest = hashlib.sha256()

    def check(size: int) -> None:
        if size > limit:
            raise TooLargeError.because(f"an upload may have at most {limit} bytes")

    try:
        size = await blobs.save(upload_ref(file_id), hashed(chunks, digest, check))
        upload = Upload(
            id=file_id,
            size=size,
            sha256=digest.hexdigest(),
            content_type=content_type,
            name=name,
            tenant=tenant,
        )
        await asyncio.to_thread(publish, blobs, upload)
    except OSError as exc:
        if exc.errno in NO_SPACE:
            msg = "the blob folder is full; free some space or use another BLOB_DIR"
            raise StorageFullError.because(msg) from exc
        raise
    return upload


def publish(blobs: BlobStore, upload: Upload) -> None:
    """Have an upload found whose bytes are there, or remove those."""
    try:
        blobs.write(facts_ref(upload.id), [msgspec.json.encode(upload)])
    except BaseException:
        blobs.remove_below(f"files/{upload.id}")
        raise


async def hashed(
    chunks: AsyncIterator[bytes], digest: "hashlib._Hash", check: Callable[[int], None]
) -> AsyncIterator[bytes]:
    """Yield what comes, in larger pieces that went into ``digest``; ``check`` is told the size so far."""
    held, size = bytearray(), 0
    async for chunk in chunks:
        size += len(chunk)
        check(size)
        held += chunk
        if len(held) >= PIECE:
            piece = bytes(held)
            held.clear()
            await asyncio.to_thread(digest.update, piece)
            yield piece
    if held:
        digest.update(held)
        yield bytes(held)


def facts_ref(file_id: str) -> str:
    """Reference of the facts of an upload."""
    return f"files/{file_id}/facts.json"


def facts_file(path: Path) -> Path:
    """Return where the facts of an upload at ``path`` are kept."""
    return path.with_name("facts.json")
