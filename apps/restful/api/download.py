"""Bytes for download, whole or a range, from the blob store or from memory.

What is stored was written by engines and clients, and is served beside the API's own pages. So a
browser must neither guess at its type nor run it: no sniffing, a sandbox, and shown in place only
where that is harmless.
"""

import asyncio
import hashlib
import os
import re
from typing import Final
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from apps.restful.api.problems import Documents
from apps.restful.service.errors import RangeError
from blueengine.transport.blobs import BlobFolder, BlobStore

DOCUMENTS: Final[Documents] = {
    200: {"content": {"*/*": {}}, "description": "All of it, under its own media type."},
    206: {"content": {"*/*": {}}, "description": "The range asked for."},
}

_MEDIA_TYPE: Final = re.compile(
    r"[\w.+-]{1,100}/[\w.+-]{1,100}(; ?[\w-]{1,40}=[\w.+-]{1,80})*", re.ASCII
)
_SHOWN: Final = re.compile(
    r"(image/(?!svg)|video/|audio/|application/json|application/pdf|text/plain)"
)
_ONE_RANGE: Final = re.compile(r"\d{1,18}-\d{0,18}|-\d{1,18}", re.ASCII)
PIECE_BYTES: Final = 4 << 20
"""Of a blob that is read at once."""
_RANGE: Final = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)


def _headers(kind: str, name: str) -> dict[str, str]:
    way = "inline" if _SHOWN.match(kind) else "attachment"
    if name:
        way += f"; filename*=utf-8''{quote(name, safe='')}"
    return {
        "Content-Disposition": way,
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Accept-Ranges": "bytes",
    }


def _kind(content_type: str) -> str:
    return content_type if _MEDIA_TYPE.fullmatch(content_type) else "application/octet-stream"


class _File(FileResponse):
    """A file whose ranges are refused as everything else is; what is no range is passed over."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file or the ranges of it that are asked for.

        Raises:
            RangeError: None of the ranges is in the file.
        """
        said = Headers(scope=scope).get("range", "")
        if said:
            size = (await asyncio.to_thread(os.stat, self.path)).st_size
            ranges = [one.strip() for one in said.removeprefix("bytes=").split(",")]
            if not said.startswith("bytes=") or not all(map(_ONE_RANGE.fullmatch, ranges)):
                headers = [pair for pair in scope["headers"] if pair[0] != b"range"]
                scope = {**scope, "headers": headers}
            elif any(int(one.partition("-")[0] or 0) >= size for one in ranges) or any(
                0 <= int(one.partition("-")[2] or -1) < int(one.partition("-")[0] or 0)
                for one in ranges
            ):
                raise RangeError.because(
                    f"the range is not within {size} bytes", loc="/header/Range"
                )
        await super().__call__(scope, receive, send)


class _Stored(Response):
    """A blob that is no file here, or the one range of it that is asked for; read piece by piece.

    Of a request for several ranges it is all, as RFC 9110 allows.
    """

    def __init__(self, blobs: BlobStore, ref: str, size: int, kind: str, name: str) -> None:
        super().__init__(media_type=kind, headers=_headers(kind, name))
        # what a reference names never changes
        self.headers["ETag"] = f'"{hashlib.sha256(ref.encode()).hexdigest()[:32]}"'
        self._blobs, self._ref, self._size = blobs, ref, size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it.

        Raises:
            RangeError: The range is not in it.
        """
        asked = Headers(scope=scope)
        begin, end = 0, self._size
        same = asked.get("if-range", self.headers["ETag"]) == self.headers["ETag"]
        if found := _one_range(asked.get("range", "") if same else "", self._size):
            begin, end = found
            self.status_code = 206
            self.headers["Content-Range"] = f"bytes {begin}-{end - 1}/{self._size}"
        self.headers["Content-Length"] = str(end - begin)
        # asked for before anything is sent: a store that is away is answered by 503
        piece = await self._read(begin, end)
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})
        while piece:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            begin += len(piece)
            piece = await self._read(begin, end)
        await send({"type": "http.response.body", "body": b""})

    async def _read(self, begin: int, end: int) -> bytes:
        end = min(end, begin + PIECE_BYTES)
        return await asyncio.to_thread(self._blobs.read, self._ref, begin, end)


def blob_response(
    blobs: BlobStore, ref: str, size: int, *, content_type: str, name: str
) -> Response:
    """Return a blob that is there, with the ranges of it that are asked for."""
    kind = _kind(content_type)
    if isinstance(blobs, BlobFolder):  # Starlette knows best how to send files
        return _File(blobs.path(ref), media_type=kind, headers=_headers(kind, name))
    return _Stored(blobs, ref, size, kind, name)


def bytes_response(request: Request, data: bytes, *, content_type: str, name: str) -> Response:
    """Return bytes from memory, or the one range of them that is asked for.

    Raises:
        RangeError: The range begins behind the end.
    """
    kind = _kind(content_type)
    headers = _headers(kind, name)
    found = _one_range(request.headers.get("range", ""), len(data))
    if found is None:
        return Response(data, headers=headers, media_type=kind)
    begin, end = found
    headers["Content-Range"] = f"bytes {begin}-{end - 1}/{len(data)}"
    return Response(data[begin:end], 206, headers, media_type=kind)


def _one_range(said: str, size: int) -> tuple[int, int] | None:
    """Return first byte and end of the one range that a header asks for; None: it asks for all.

    Raises:
        RangeError: The range begins behind the end.
    """
    asked = _RANGE.fullmatch(said)
    if asked is None or not any(asked.groups()):
        return None
    first, last = asked.groups()
    if first:
        begin, end = int(first), min(int(last or size), size - 1) + 1
    else:
        begin, end = max(0, size - int(last)), size
    if begin >= end:
        raise RangeError.because(f"the range is not within {size} bytes", loc="/header/Range")
    return begin, end
