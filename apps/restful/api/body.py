"""Request bodies: bounded, strictly JSON, checked once.

JSON is taken strictly because two parsers that read one body differently are how checks are
walked round: no NaN, no invalid UTF-8, no duplicate members, no nesting that cannot be written
back.
"""

from typing import Any, Final, NoReturn, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.types import Scope

from apps.restful.api.problems import from_pydantic
from apps.restful.service.errors import (
    InvalidError,
    MalformedError,
    MediaTypeError,
    TooLargeError,
)

M = TypeVar("M", bound=BaseModel)

_JSON: Final = ("application/json", "")


def header(scope: Scope, name: bytes) -> str:
    """Return the first header of this name (in small letters), or nothing.

    Starlette's mapping of them is made anew for each request, at ten times the cost of a look.
    """
    for known, value in scope["headers"]:
        if known == name:
            return str(value, "latin-1")
    return ""


async def read_bytes(request: Request, *, limit: int) -> bytes:
    """Return the body.

    Raises:
        TooLargeError: It has more than ``limit`` bytes, or says so.
        ClientDisconnect: The client left in the middle of it.
    """
    said = header(request.scope, b"content-length")
    if said.isdecimal() and int(said) > limit:
        _too_large(limit)
    pieces, size, more = [], 0, True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        pieces.append(message["body"])
        size += len(message["body"])
        if size > limit:
            _too_large(limit)
        more = message["more_body"]
    return b"".join(pieces)


def is_json(content_type: str) -> bool:
    """Say whether a body of this type, or of none, is read as JSON."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind in _JSON or kind.endswith("+json")


async def read_json(request: Request, *, limit: int) -> Any:
    """Return the JSON value in the body.

    Raises:
        MediaTypeError: It is said to be something else.
        TooLargeError: See ``read_bytes``.
        MalformedError: It is no JSON, or only a lenient reader would take it.
    """
    kind = header(request.scope, b"content-type")
    if kind not in _JSON and not is_json(kind):
        raise MediaTypeError.because(
            f"this route reads application/json, not {kind[:80]}", loc="/header/Content-Type"
        )
    return parse(await read_bytes(request, limit=limit))


def parse(raw: bytes) -> Any:
    """Return the JSON value in ``raw``.

    Raises:
        MalformedError: See the module.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise MalformedError.because(f"the body is no JSON: {exc}") from exc
    try:
        plain = orjson.dumps(value)
    except (TypeError, orjson.JSONEncodeError) as exc:
        raise MalformedError.because(f"the body cannot be taken: {exc}") from exc
    # Members that stand twice are gone from `plain`, and with each of them a colon. Without an
    # escape the strings are the same in both, so that all colons may be counted.
    count = _colons if b"\\" in raw else _all_colons
    if count(raw) != count(plain):
        raise MalformedError.because("an object in the body has two members of one name")
    return value


def validate(model: type[M], value: Any) -> M:
    """Return the body as a model.

    Raises:
        InvalidError: Its shape is wrong; every fault is named.
    """
    try:
        return model.model_validate(value)
    except ValidationError as exc:
        found = exc.errors(include_url=False, include_context=False, include_input=False)
        raise InvalidError(from_pydantic(found)) from exc


def _all_colons(raw: bytes) -> int:
    return raw.count(b":")


def _colons(raw: bytes) -> int:
    """Count the colons outside strings: one a member."""
    raw = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    return sum([part.count(b":") for part in raw.split(b'"')[::2]])


def _too_large(limit: int) -> NoReturn:
    raise TooLargeError.because(f"the body may have at most {limit} bytes")
