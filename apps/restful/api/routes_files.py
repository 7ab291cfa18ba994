"""Files: upload and download, streamed both ways."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from apps.restful.api import render, schemas
from apps.restful.api.deps import PartsOf, WhoAsks
from apps.restful.api.download import DOCUMENTS, blob_response
from apps.restful.api.form import FileForm
from apps.restful.api.problems import document, documented
from apps.restful.api.responses import ok
from apps.restful.service import files, resumed
from apps.restful.service.errors import (
    InvalidError,
    MediaTypeError,
    TooLargeError,
    UnknownError,
)
from blueengine.graph.payload import MAX_WORDS

router = APIRouter(prefix="/api/v1", tags=["files"])


_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_FORM: Final = {
    "schema": {
        "type": "object",
        "properties": {"file": {"type": "string", "format": "binary"}},
        "required": ["file"],
    }
}
_DONE: Final = document(schemas.Envelope[schemas.UploadView], code=201, says="It is all there.")
_MORE: Final = document(schemas.Envelope[schemas.BegunView], code=202, says="More is to come.")
_RANGE: Final = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})", re.ASCII)


@router.post(
    "/files",
    summary="Upload a file",
    status_code=201,
    responses=_DONE | _MORE | documented(400, 413, 415, 422, 507),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": _BINARY, "multipart/form-data": _FORM},
        }
    },
)
async def upload(
    *,
    request: Request,
    parts: PartsOf,
    who: WhoAsks,
    name: Annotated[str, Query(description="Its file name.")] = "",
    size: Annotated[
        int | None,
        Query(ge=1, le=2**50, description="Bytes of the whole file, of which this is the first."),
    ] = None,
    x_file_name: Annotated[str, Header(description="Its file name, where not in `name`.")] = "",
) -> Response:
    """Store the body as it is; its Content-Type is kept with it. A form with one file will do, too.

    For example `curl --data-binary @scan.pdf -H 'Content-Type: application/pdf' …/files?name=scan.pdf`.
    The `fileId` in the answer is start data for any binary channel. With `size` the body may be
    any first part of the file, even none: the rest follows with `PUT /files/{fileId}`, also after
    the connection was lost.
    """
    kind = request.headers.get("content-type", "")
    chunks: AsyncIterator[bytes] = request.stream()
    if kind.lower().startswith("multipart/form-data"):
        if size is not None:
            msg = "an upload in several requests is sent as it is, not as a form"
            raise MediaTypeError.because(msg, loc="/header/Content-Type")
        form = FileForm(request)
        await form.begin()
        kind, x_file_name, chunks = form.content_type, form.name, form.chunks()
    limit = who.limit(parts.settings.max_upload)
    _check_length(request, limit)
    facts = {
        "content_type": word(kind, "/header/Content-Type"),
        "name": word((name or x_file_name).rpartition("/")[2], "/query/name"),
    }
    if size is None:
        saved = await files.save(
            parts.blobs, chunks, **facts, tenant=who.tenant, limit=limit, entropy=parts.entropy
        )
        return ok(render.upload(saved), status=201)
    begun = resumed.new(size, **facts, who=who, limit=limit, entropy=parts.entropy)
    await parts.uploads.begin(begun)
    return _stands(await parts.uploads.append(begun, 0, chunks))


@router.put(
    "/files/{file_id}",
    summary="Go on with an upload",
    responses=document(schemas.Envelope[schemas.UploadView], says="It was all there before.")
    | _DONE
    | _MORE
    | documented(404, 409, 413, 422, 507),
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/octet-stream": _BINARY}}
    },
)
async def resume_upload(
    request: Request,
    parts: PartsOf,
    who: WhoAsks,
    file_id: str,
    content_range: Annotated[
        str,
        Header(
            pattern=_RANGE.pattern,
            description="`bytes <first>-<last>/<size>`: where the body stands in the file.",
        ),
    ],
) -> Response:
    """Add the next bytes of an upload that was begun with `size`.

    `received` in the answer is the number of the next byte; after a lost connection ask
    `GET /files/{fileId}/upload` for it.
    """
    found = await parts.uploads.look(file_id, who)
    match = _RANGE.fullmatch(content_range)
    first, last, size = map(int, match.groups()) if match else (0, -1, -1)
    if not first <= last < size or size != found.size:
        msg = f"Content-Range must be bytes <first>-<last>/{found.size} with first <= last"
        raise InvalidError.because(msg, loc="/header/Content-Range", kind="bad-range")
    if isinstance(found, files.Upload):
        return ok(render.upload(found))
    _check_length(request, last - first + 1)
    return _stands(await parts.uploads.append(found, first, request.stream()))


@router.get(
    "/files/{file_id}/upload",
    summary="How far an upload is",
    responses=document(schemas.Envelope[schemas.BegunView]) | documented(404),
)
async def read_upload(parts: PartsOf, who: WhoAsks, file_id: str) -> Response:
    """Return how many bytes of an upload have come."""
    found = await parts.uploads.look(file_id, who)
    if isinstance(found, files.Upload):
        found = resumed.Begun(
            id=found.id,
            size=found.size,
            received=found.size,
            content_type=found.content_type,
            name=found.name,
        )
    return ok(render.begun(found))


def _check_length(request: Request, limit: int) -> None:
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > limit:
        raise TooLargeError.because(f"the body may have at most {limit} bytes")


def _stands(found: files.Upload | resumed.Begun) -> Response:
    if isinstance(found, files.Upload):
        return ok(render.upload(found), status=201)
    return ok(render.begun(found), status=202)


def word(text: str, loc: str) -> str:
    """Return a content type or name that a client gave.

    Raises:
        InvalidError: It is long, or holds what cannot be printed.
    """
    if len(text) > MAX_WORDS or not text.isprintable():
        msg = f"it must be at most {MAX_WORDS} printable characters"
        raise InvalidError.because(msg, loc=loc, kind="bad-name")
    return text


@router.get(
    "/files/{file_id}",
    summary="Download a file",
    response_class=FileResponse,
    responses=DOCUMENTS | documented(404, 416),
)
async def download(parts: PartsOf, who: WhoAsks, file_id: str) -> Response:
    """Return an uploaded file; ranges are served."""
    found = await asyncio.to_thread(files.find, parts.blobs, file_id)
    if found is None or not who.owns(found.tenant):
        raise UnknownError.because(f"there is no file {file_id[:80]!r}")
    return blob_response(
        parts.blobs,
        files.ref(found.id),
        found.size,
        content_type=found.content_type,
        name=found.name,
    )
