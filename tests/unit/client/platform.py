"""A platform made up in a test: what it answers is a function of the request."""

from collections.abc import Callable
from typing import Any

import httpx

from blueengine.client import AsyncClient

SESSION = "session-process-workflow-0-1.0-x"
Answer = Callable[[httpx.Request], httpx.Response]


def client(answer: Answer, **options: Any) -> AsyncClient:
    """Return a client whose requests ``answer`` gets."""
    return AsyncClient("http://platform", transport=httpx.MockTransport(answer), **options)


def ok(data: object, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json={"status": "success", "message": "", "data": data})


def no(status: int, message: str = "", *faults: tuple[str, str], **headers: str) -> httpx.Response:
    errors = [{"loc": loc, "msg": msg, "type": "x"} for loc, msg in faults]
    body = {"status": "error", "message": message, "data": {"errors": errors}}
    return httpx.Response(
        status, json=body, headers={n.replace("_", "-"): v for n, v in headers.items()}
    )


def outcome(status: str, results: object = None, **more: object) -> dict[str, Any]:
    return {
        "sessionId": SESSION,
        "process": {"status": status, **more},
        "results": results or {},
    }


def script(*answers: httpx.Response | Exception) -> tuple[list[httpx.Request], Answer]:
    """Return (requests so far, what answers these in order)."""
    asked: list[httpx.Request] = []
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    return asked, answer
