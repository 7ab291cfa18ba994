"""Bytes for download, whole or a range, from a file or from memory.

What is stored was written by engines and clients, and is served beside the API's own pages. So a
browser must neither guess at its type nor run it: no sniffing, a sandbox, and shown in place only
where that is harmless.
"""

import asyncio
import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from apps.restful.api.problems import Documents
from apps.restful.service.errors import RangeError

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


def file_response(path: Path, *, content_type: str, name: str) -> Response:
    """Return a file; Range, If-Range and HEAD are seen to."""
    kind = _kind(content_type)
    return _File(path, media_type=kind, headers=_headers(kind, name))


def bytes_response(request: Request, data: bytes, *, content_type: str, name: str) -> Response:
    """Return bytes from memory, or the one range of them that is asked for.

    Raises:
        RangeError: The range begins behind the end.
    """
    kind = _kind(content_type)
    headers = _headers(kind, name)
    asked = _RANGE.fullmatch(request.headers.get("range", ""))
    if asked is None or not any(asked.groups()):
        return Response(data, headers=headers, media_type=kind)
    first, last = asked.groups()
    if first:
        begin, end = int(first), min(int(last or len(data)), len(data) - 1)
    else:
        begin, end = max(0, len(data) - int(last)), len(data) - 1
    if begin > end:
        raise RangeError.because(f"the range is not within {len(data)} bytes", loc="/header/Range")
    headers["Content-Range"] = f"bytes {begin}-{end}/{len(data)}"
    return Response(data[begin : end + 1], 206, headers, media_type=kind)
