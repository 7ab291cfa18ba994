"""Answers: the envelope, as bytes."""

from typing import Any, Final

import orjson
from starlette.responses import Response

JSON_TYPE: Final = "application/json"


def ok(data: Any, *, message: str = "", status: int = 200) -> Response:
    """Return a successful answer."""
    body = orjson.dumps({"status": "success", "message": message, "data": data}, default=str)
    return Response(body, status, media_type=JSON_TYPE)


def refusal(
    status: int, message: str, errors: list[dict[str, str]], headers: dict[str, str] | None = None
) -> Response:
    """Return an answer that says no."""
    body = orjson.dumps({"status": "error", "message": message, "data": {"errors": errors}})
    return Response(body, status, headers, media_type=JSON_TYPE)
