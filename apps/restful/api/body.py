"""Request bodies: bounded, strictly JSON, checked once.

JSON is taken strictly because two parsers that read one body differently are how checks are
walked round: no NaN, no invalid UTF-8, no duplicate members, no nesting that cannot be written back.
"""

import hashlib
from typing import Any, Final, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from apps.restful.api.problems import from_pydantic
from apps.restful.service.errors import (
    InvalidError,
    MalformedError,
    MediaTypeError,
    TooLargeError,
)

M = TypeVar("M", bound=BaseModel)

MAX_KEY: Final = 255


async def read_bytes(request: Request, *, limit: int) -> bytes:
    """Return the body.

    Raises:
        TooLargeError: It has more than ``limit`` bytes, or says so.
    """
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > limit:
        raise TooLargeError.because(f"the body may have at most {limit} bytes")
    message = await request.receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False) and message["type"] == "http.request":
        return body if len(body) <= limit else _too_large(limit)
    pieces, size = [body], len(body)
    request._receive = _chain(message, request.receive)  # noqa: SLF001 - see below
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            _too_large(limit)
        pieces.append(piece)
    return b"".join(pieces)
