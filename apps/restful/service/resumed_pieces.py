"""Uploads in several requests to a bucket, whose objects cannot grow: each piece is one of its own.

``files/<id>/begun.json`` says what is to come; ``files/<id>/pieces/<position>`` are what came, and what
follows the first one without a gap is all the state there is. A piece is written only where there is
none, so of two requests at the same position one is refused. The last one has the pieces copied
into one object.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator

import msgspec

from apps.restful.service.access import Who
from apps.restful.service.errors import ConflictError, InvalidError
from apps.restful.service.files import Upload, find, hashed, is_id, publish
from apps.restful.service.resumed import Begun, finished, seen
from blueengine.transport.blobs import BlobError, upload_ref
from blueengine.transport.blobs_s3 import PIECE_BYTES, BlobBucket


class InPieces:
    """Uploads in several requests to a bucket."""

    def __init__(self, blobs: BlobBucket) -> None:
        """Keep them in ``blobs``."""
        self._blobs = blobs

    async def look(self, file_id: str, who: Who) -> Begun | Upload:
        """Return how an upload stands; one of which all has come is finished now.

        Raises:
            UnknownError: There is none, or it is somebody else's.
        """
        found = seen(await asyncio.to_thread(self._look, file_id), file_id, who)
        if isinstance(found, Begun) and found.received == found.size:
            return await self._finish(found)  # whoever brought the last piece died before this
        return found

    async def begin(self, begun: Begun) -> None:
        """Begin an upload; nothing of it has come."""
        await asyncio.to_thread(
            self._blobs.write, _begun_ref(begun.id), [msgspec.json.encode(begun)]
        )

    async def append(
        self, begun: Begun, first: int, chunks: AsyncIterator[bytes]
    ) -> Begun | Upload:
        """Write bytes from position ``first`` on; with the last one it is an upload like any other.

        Should the client go in the middle, what came until then is kept.

        Raises:
            ConflictError: ``first`` is not where it stands, or another request is writing.
            InvalidError: There are more bytes than it was to have; nothing of them is kept.
        """
        has = await asyncio.to_thread(self._received, begun.id)
        if has != first:
            msg = f"the next byte of the upload is number {has}, not {first}"
            raise ConflictError.because(msg, loc="/header/Content-Range", kind="wrong-offset")
        at, held, made = first, bytearray(), list[str]()
        try:
            async for chunk in chunks:
                held += chunk
                if at + len(held) > begun.size:
                    held.clear()
                    await asyncio.to_thread(self._remove, made)
                    msg = f"the upload has {begun.size} bytes, and there came more"
                    raise InvalidError.because(msg, loc="/header/Content-Range", kind="bad-range")
                if len(held) >= PIECE_BYTES:
                    made.append(await self._add(begun.id, at, held))
                    at += len(held)
                    held = bytearray()
        finally:
            if held:  # shielded: what came before the client went is kept
                await asyncio.shield(self._add(begun.id, at, held))
        at += len(held)
        if at < begun.size:
            return msgspec.structs.replace(begun, received=at)
        return await self._finish(begun)

    async def _add(self, file_id: str, at: int, data: bytearray) -> str:
        ref = _piece_ref(file_id, at)
        if not await asyncio.to_thread(self._blobs.create, ref, bytes(data)):
            raise ConflictError.because("another request writes to this upload", kind="upload-busy")
        return ref

    async def _finish(self, begun: Begun) -> Upload:
        digest = hashlib.sha256()
        try:
            pieces = await asyncio.to_thread(self._pieces, begun.id)
            await self._blobs.save(
                upload_ref(begun.id), hashed(self._read(pieces), digest, lambda _: None)
            )
        except BlobError:  # somebody else has finished it meanwhile
            found = await asyncio.to_thread(find, self._blobs, begun.id)
            if found is None:
                raise
            return found
        upload = finished(begun, digest.hexdigest())
        await asyncio.to_thread(publish, self._blobs, upload)
        await asyncio.to_thread(self._remove, [*pieces, _begun_ref(begun.id)])
        return upload

    async def _read(self, pieces: dict[str, int]) -> AsyncIterator[bytes]:
        for ref in pieces:
            yield await asyncio.to_thread(self._blobs.read, ref)

    def _look(self, file_id: str) -> Begun | Upload | None:
        found = find(self._blobs, file_id)
        if found is not None or not is_id(file_id):
            return found
        try:
            begun = msgspec.json.decode(self._blobs.read(_begun_ref(file_id)), type=Begun)
        except (BlobError, msgspec.DecodeError, msgspec.ValidationError):
            return find(self._blobs, file_id)  # it may have been finished right now
        return msgspec.structs.replace(begun, received=self._received(file_id))

    def _pieces(self, file_id: str) -> dict[str, int]:
        """Return reference and size of the pieces that follow each other from the first byte on."""
        pieces, at = dict[str, int](), 0
        for ref, size in sorted(self._blobs.below(f"files/{file_id}/pieces").items()):
            if ref != _piece_ref(file_id, at):
                break
            pieces[ref] = size
            at += size
        return pieces

    def _received(self, file_id: str) -> int:
        return sum(self._pieces(file_id).values())

    def _remove(self, refs: list[str]) -> None:
        for ref in refs:
            self._blobs.remove(ref)


def _begun_ref(file_id: str) -> str:
    return f"files/{file_id}/begun.json"


def _piece_ref(file_id: str, at: int) -> str:
    return f"files/{file_id}/pieces/{at:020d}"
