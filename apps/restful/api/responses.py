"""Answers: the envelope, as bytes."""

from typing import Any, Final

import orjson
from starlette.responses import Response

JSON_TYPE: Final = "application/json"
_JSON_HEADER: Final = (b"content-type", JSON_TYPE.encode())


class _Json(Response):
    """JSON, as bytes that nobody changes any more: its two headers need no looking for."""

    def __init__(self, body: bytes, status: int) -> None:
        self.status_code = status
        self.body = body
        self.background = None
        self.raw_headers = [(b"content-length", b"%d" % len(body)), _JSON_HEADER]


def ok(data: Any, *, message: str = "", status: int = 200) -> Response:
    """Return a successful answer."""
    body = orjson.dumps({"status": "success", "message": message, "data": data}, default=str)
    return _Json(body, status)


def refusal(
    status: int, message: str, errors: list[dict[str, str]], headers: dict[str, str] | None = None
) -> Response:
    """Return an answer that says no."""
    body = orjson.dumps({"status": "error", "message": message, "data": {"errors": errors}})
    return Response(body, status, headers, media_type=JSON_TYPE)
