"""Counting requests: plain ASGI, because a middleware that wraps responses costs more than a route."""

import time
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from apps.restful.service.metrics import Metrics

_NONE: Final = "(none)"


class Measure:
    """Counts each answer by route and code, and how long it took."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Stand before ``app``."""
        self._app = app
        self._metrics = metrics
        # What the labels stand for, kept: looking them up costs more than counting.
        self._counters: dict[tuple[str, str, int], tuple[Any, Any]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and count its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        code = 500
        began = time.perf_counter()

        async def counting(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, counting)
        finally:
            self._count(scope, code, time.perf_counter() - began)

    def _count(self, scope: Scope, code: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", _NONE)
        key = (scope["method"] if route != _NONE else "", route, code)
        found = self._counters.get(key)
        if found is None:
            found = self._counters[key] = (
                self._metrics.requests.labels(*key),
                self._metrics.seconds.labels(key[0], key[1]),
            )
        found[0].inc()
        found[1].observe(seconds)
