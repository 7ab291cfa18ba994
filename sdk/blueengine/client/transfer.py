"""Files to and from the platform, in pieces: memory stays flat at any size."""

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, Final

from blueengine.client.answers import Blob, Upload, as_record
from blueengine.client.errors import BusyError, ClientError, TransferError
from blueengine.client.http import Http, Patience
from blueengine.client.values import Attachment

PIECE: Final = 1 << 20

Source = Blob | Upload | str
_RANGE: Final = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


async def upload(http: Http, source: Attachment) -> Upload:
    """Upload a file or bytes; a connection that breaks begins it anew."""
    size = len(source.data)
    if source.path is not None:
        try:
            size = (await asyncio.to_thread(source.path.stat)).st_size
        except OSError as exc:
            raise ClientError(f"{source.path} cannot be uploaded: {exc.strerror}") from exc

    def content() -> AsyncIterator[bytes]:
        return _file(source.path) if source.path is not None else _held(source.data)

    data = await http.call(
        "POST",
        "/api/v1/files",
        params={"name": source.name or None},
        body=content,
        headers={
            "Content-Type": source.content_type or "application/octet-stream",
            "Content-Length": str(size),
        },
    )
    return as_record(Upload, data)


async def settled(http: Http, message: Any) -> Any:
    """Return a message (see ``values``) as JSON, its file being uploaded."""
    if not isinstance(message, Attachment):
        return message
    if message.in_place:
        return message.inline()
    uploaded = await upload(http, message)
    return message.described({"fileId": uploaded.file_id})


async def read(http: Http, source: Source) -> bytes:
    """Return what ``source`` names."""
    found = bytearray()
    async with aclosing(_pieces(http, source)) as pieces:
        async for begin, piece in pieces:
            del found[begin:]
            found += piece
    return bytes(found)


async def download(http: Http, source: Source, target: Path) -> Path:
    """Write what ``source`` names to a file that appears when it is whole; its path."""
    target = await asyncio.to_thread(_in_folder, target, source)
    partial = target.with_name(target.name + ".partial")
    wanted = (source.meta if isinstance(source, Blob) else {}).get("sha256", "")
    if isinstance(source, Upload):
        wanted = source.sha256
    try:
        with partial.open("wb") as out:
            async with aclosing(_pieces(http, source)) as pieces:
                async for begin, piece in pieces:
                    if begin != out.tell():
                        out.seek(begin)
                        out.truncate()
                    await asyncio.to_thread(out.write, piece)
        if wanted and await asyncio.to_thread(_digest, partial) != wanted:
            raise TransferError(f"{_url(source)} came with other bytes than were stored")
        partial.replace(target)
    except OSError as exc:
        raise ClientError(f"{target} cannot be written: {exc.strerror or exc}") from exc
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return target


async def _pieces(http: Http, source: Source) -> AsyncGenerator[tuple[int, bytes], None]:
    """Yield (where it belongs, bytes); what breaks off goes on where it broke, by range."""
    import httpx

    place, size, tag = 0, -1, ""
    patience = Patience(http.patience)
    while True:
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        if place:
            headers["Range"] = f"bytes={place}-"
            headers |= {"If-Range": tag} if tag else {}
        try:
            async with http.stream(_url(source), headers=headers, timeout=http.timeout) as response:
                place, size = _begin(response, place)
                tag = response.headers.get("etag", "")
                async for piece in response.aiter_bytes():
                    yield place, piece
                    place += len(piece)
                    patience.renew()
        except httpx.TransportError as exc:
            if http.is_hopeless(exc):
                raise http.away(exc) from exc
            await patience.pause(http.away(exc))
        except BusyError as exc:
            await patience.pause(exc)
        else:
            if isinstance(source, Blob):
                size = source.size
            if 0 <= size != place:
                raise TransferError(f"{_url(source)} came with {place} bytes instead of {size}")
            return


def _begin(response: Any, place: int) -> tuple[int, int]:
    """Return (place of the first byte that comes, size of all or -1)."""
    found = _RANGE.fullmatch(response.headers.get("content-range", ""))
    if response.status_code != 206 or found is None:
        said = response.headers.get("content-length", "")
        return 0, int(said) if said.isdecimal() else -1
    if int(found[1]) != place:
        raise TransferError(f"asked for bytes from {place} on, got them from {found[1]} on")
    return place, int(found[2]) if found[2] != "*" else -1


def _url(source: Source) -> str:
    if isinstance(source, Upload):
        return f"/api/v1/files/{source.file_id}"
    return source.url if isinstance(source, Blob) else source


def _in_folder(target: Path, source: Source) -> Path:
    """Return the file itself when ``target`` is the folder for it."""
    if not target.is_dir():
        return target
    named = source.name if isinstance(source, Blob | Upload) else ""
    return target / (Path(named).name or _url(source).rstrip("/").rpartition("/")[2])


def _digest(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


async def _file(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as source:
        while piece := await asyncio.to_thread(source.read, PIECE):
            yield piece


async def _held(data: bytes) -> AsyncIterator[bytes]:
    for begin in range(0, len(data), PIECE):
        yield data[begin : begin + PIECE]
