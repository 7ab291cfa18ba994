"""Files: upload and download, streamed both ways."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from apps.restful.api import render, schemas
from apps.restful.api.deps import PartsOf, WhoAsks
from apps.restful.api.download import DOCUMENTS, file_response
from apps.restful.api.problems import document, documented
from apps.restful.api.responses import ok
from apps.restful.service import files
from apps.restful.service.errors import (
    InvalidError,
    MediaTypeError,
    TooLargeError,
    UnknownError,
)
from blueengine.graph.payload import MAX_WORDS

router = APIRouter(prefix="/api/v1", tags=["files"])


@router.post(
    "/files",
    summary="Upload a file",
    status_code=201,
    responses=document(schemas.Envelope[schemas.UploadView], code=201)
    | documented(413, 415, 422, 507),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
            },
        }
    },
)
async def upload(
    request: Request,
    parts: PartsOf,
    who: WhoAsks,
    name: Annotated[str, Query(description="Its file name.")] = "",
    x_file_name: Annotated[str, Header(description="Its file name, where not in `name`.")] = "",
) -> Response:
    """Store the body as it is; its Content-Type is kept with it.

    For example `curl --data-binary @scan.pdf -H 'Content-Type: application/pdf' …/files?name=scan.pdf`.
    The `fileId` in the answer is start data for any binary channel.
    """
    kind = request.headers.get("content-type", "")
    if kind.lower().startswith("multipart/"):
        msg = "send the file itself as the body (curl --data-binary @file), not a form"
        raise MediaTypeError.because(msg, loc="/header/Content-Type")
    said = request.headers.get("content-length", "")
    limit = who.limit(parts.settings.max_upload)
    if said.isdecimal() and int(said) > limit:
        raise TooLargeError.because(f"an upload may have at most {limit} bytes")
    saved = await files.save(
        parts.blobs,
        request.stream(),
        content_type=word(kind, "/header/Content-Type"),
        name=word((name or x_file_name).rpartition("/")[2], "/query/name"),
        tenant=who.tenant,
        limit=limit,
        entropy=parts.entropy,
    )
    return ok(render.upload(saved), status=201)


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
    responses=DOCUMENTS | documented(404),
)
async def download(parts: PartsOf, who: WhoAsks, file_id: str) -> Response:
    """Return an uploaded file; ranges are served."""
    found = await asyncio.to_thread(files.find, parts.blobs, file_id)
    if found is None or not who.owns(found.tenant):
        raise UnknownError.because(f"there is no file {file_id[:80]!r}")
    path = parts.blobs.path(files.ref(found.id))
    return file_response(path, content_type=found.content_type, name=found.name)
