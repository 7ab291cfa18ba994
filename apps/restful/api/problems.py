"""Errors to status codes: one table, and the shape every refusal has."""

import logging
import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from apps.restful.api.responses import refusal
from apps.restful.api.schemas import ErrorEnvelope
from apps.restful.service import errors
from apps.sessions.vault import SealedError
from blueengine.errors import BlueEngineError, DecodeError, ReadOnlyStoreError, StoreAwayError
from blueengine.graph.dag import Fault, pointer
from blueengine.transport.blobs import BlobError, BlobsAwayError

log = logging.getLogger(__name__)

STATUS: Final[dict[type[BlueEngineError], int]] = {
    errors.MalformedError: 400,
    errors.UnauthorizedError: 401,
    errors.ForbiddenError: 403,
    errors.UnknownError: 404,
    BlobError: 404,
    errors.ConflictError: 409,
    errors.TooLargeError: 413,
    errors.MediaTypeError: 415,
    errors.RangeError: 416,
    errors.InvalidError: 422,
    errors.NoRoomError: 429,
    errors.TooManyError: 429,
    errors.BusyError: 503,
    BlobsAwayError: 503,
    StoreAwayError: 503,
    ReadOnlyStoreError: 503,
    SealedError: 503,
    errors.StorageFullError: 507,
}
"""The first class of an error's ancestry that stands here decides; any other error is a 500."""

SHOWN: Final = 200
"""Faults named in one answer."""

RETRY_AFTER: Final = "1"
CLIENT_GONE: Final = 499
"""For the counters only: nobody reads that answer."""

WORDS: Final = {
    400: "The body is not JSON: syntax, encoding, duplicate members, nesting.",
    401: "There is no valid API key in the request.",
    403: "The key may not do this.",
    404: "There is none.",
    409: "It contradicts what is there.",
    413: "The body is too large.",
    415: "The body is of a type this route does not read.",
    416: "The range is not in the file.",
    422: "The request cannot be meant; every fault is named.",
    429: "Too many requests or pending sessions, or no room for more input; see Retry-After.",
    503: "Redis or the blob store is away or refuses writes; see Retry-After.",
    507: "The blob folder is full.",
}
"""Status code -> what it means here."""


Documents = dict[int | str, dict[str, Any]]


def document(model: type[BaseModel], *, code: int = 200, says: str = "") -> Documents:
    """Return an answer as OpenAPI wants it."""
    return {code: {"model": model, "description": says or HTTPStatus(code).phrase}}


def documented(*codes: int) -> Documents:
    """Return these refusals as OpenAPI wants them."""
    return {code: {"model": ErrorEnvelope, "description": WORDS[code]} for code in codes}


def from_fault(fault: Fault) -> dict[str, str]:
    """Return a fault as clients get it."""
    return {"loc": fault.loc, "msg": fault.msg, "type": fault.type}


def from_pydantic(found: Sequence[Any], *, root: str = "") -> list[Fault]:
    """Return what pydantic found as faults."""
    faults = []
    for one in found:
        msg = "unknown member" if one["type"] == "extra_forbidden" else one["msg"]
        faults.append(Fault(root + pointer(*one["loc"]), msg, one["type"].replace("_", "-")))
    return faults


def status_of(error: BlueEngineError) -> int:
    """Return the status code that an error stands for."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def shown(error: BlueEngineError) -> list[dict[str, str]]:
    """Return what is wrong, as clients get it."""
    faults: Sequence[Fault] = (Fault("", str(error), error.code),)
    if isinstance(error, errors.RefusedError):
        faults = error.faults
    listed = [from_fault(fault) for fault in faults[:SHOWN]]
    if len(faults) > SHOWN:
        more = f"{len(faults) - SHOWN} more faults are not shown"
        listed.append(from_fault(Fault("", more, "more")))
    return listed


def answer(error: BlueEngineError) -> Response:
    """Return the answer that an error stands for."""
    status = status_of(error)
    if status == 500:
        log.error("%s: %s", type(error).__name__, error, exc_info=error)
        return internal()
    headers = {}
    if isinstance(error, errors.TooManyError):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    elif status in {429, 503}:
        headers["Retry-After"] = RETRY_AFTER
    elif status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="blueengine"'
    return refusal(status, str(error), shown(error), headers)


def install(app: FastAPI) -> None:
    """Have the app answer every error in this shape."""
    app.add_exception_handler(BlueEngineError, _on_ours)
    app.add_exception_handler(RequestValidationError, _on_parameters)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(ClientDisconnect, _on_gone)
    app.add_exception_handler(Exception, _on_bug)


async def _on_ours(_: Request, exc: Exception) -> Response:
    if not isinstance(exc, BlueEngineError):  # the table above says so; stated for the type checker
        raise exc
    if isinstance(exc, DecodeError):
        log.error("what is stored cannot be read: %s", exc)
    return answer(exc)


async def _on_parameters(_: Request, exc: Exception) -> Response:
    found = exc.errors() if isinstance(exc, RequestValidationError) else []
    return answer(errors.InvalidError(from_pydantic(found)))


async def _on_http(_: Request, exc: Exception) -> Response:
    status = exc.status_code if isinstance(exc, HTTPException) else 500
    headers = dict(exc.headers or {}) if isinstance(exc, HTTPException) else {}
    phrase = HTTPStatus(status).phrase
    word = phrase.lower().replace(" ", "-")
    return refusal(
        status, phrase.capitalize(), [from_fault(Fault("", phrase.capitalize(), word))], headers
    )


async def _on_gone(_: Request, __: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)


async def _on_bug(_: Request, __: Exception) -> Response:
    return internal()


def internal() -> Response:
    """Return the answer to what should never happen."""
    msg = "an error of the platform; its log says more"
    return refusal(500, msg, [from_fault(Fault("", msg, "internal"))])
