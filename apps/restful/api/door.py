"""The door: who sends a request, may it, how often; what every answer carries; and counting them.

Plain ASGI and before everything else, the shortcut and WebSockets included. What is not in the
table of ``rules`` goes nowhere.
"""

import time
from collections.abc import Awaitable
from types import SimpleNamespace
from typing import Any, Final

from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from apps.restful.api import problems
from apps.restful.api.measure import NO_ROUTE, Measure
from apps.restful.api.responses import refusal
from apps.restful.api.rules import WEBSOCKET, Found, Rules
from apps.restful.api.times import when
from apps.restful.service.access import ANYONE, Who, check_scope
from apps.restful.service.errors import ForbiddenError, UnauthorizedError
from apps.restful.service.parts import Parts
from apps.restful.service.rate import Bucket
from apps.restful.service.read import unknown
from blueengine.errors import BlueEngineError
from blueengine.wire.access import OPERATOR, id_of

WHO: Final = "blueengine.who"
"""Where a request's scope holds who sends it."""
SESSION: Final = "blueengine.session"
"""Where a request's scope holds the session it is about."""

_TOLD: Final = frozenset({401, 403, 429})
"""Answers that go into the audit log, whatever was asked."""
_ANONYMOUS: Final = frozenset({401, 429})
_LINES_PER_SECOND: Final = 20.0
"""Of the audit log, for answers that anybody can have without end."""

_HEADERS_OF_PAGES: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
_HEADERS: Final = (
    *_HEADERS_OF_PAGES,
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
_NAMES: Final = frozenset(name for name, _ in _HEADERS)
_PAGES: Final = frozenset({"/docs", "/docs/oauth2-redirect", "/redoc"})
"""Pages for people; they load their scripts from elsewhere, which the policy would not allow."""


def who_of(connection: HTTPConnection) -> Who:
    """Return who sends a request."""
    who = connection.scope[WHO]
    if not isinstance(who, Who):
        raise TypeError("the request did not come through the door; see app.build")
    return who


class Door:
    """Lets a request in, or says why not."""

    def __init__(self, app: ASGIApp, parts: Parts, rules: Rules) -> None:
        """Stand before ``app``."""
        self._app = app
        self._parts = parts
        self._rules = rules
        self._measure = Measure(parts.metrics)
        self._open = not parts.settings.keys_needed
        self._lines = Bucket(_LINES_PER_SECOND, time.monotonic())
        self._left_out = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it."""
        answer = _Answer(scope["path"], send)
        began = time.perf_counter()
        try:
            if self._open:
                scope[WHO] = ANYONE
                await self._app(scope, receive, answer.send)
            else:
                await self._guard(scope, receive, answer)
        finally:
            if scope["type"] == "http":
                route = getattr(scope.get("route"), "path", NO_ROUTE)
                seconds = time.perf_counter() - began
                self._measure.count(scope["method"], route, answer.status or 500, seconds)

    async def _guard(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        """Let in who has a key for it, and write down what happened."""
        method = scope.get("method", WEBSOCKET)
        found = self._rules.find(method, scope["path"])
        code = ""
        try:
            if found is None:
                await _nowhere(self._rules.methods(scope["path"]))(scope, receive, answer.send)
                return
            try:
                await self._let_in(scope, found)
            except BlueEngineError as exc:
                code = exc.code
                scope.setdefault("route", SimpleNamespace(path=found.path))  # for the counters
                await problems.answer(exc)(scope, receive, answer.send)
            else:
                await self._app(scope, receive, answer.send)
        finally:
            if found is not None and (found.rule.writes or code or answer.status in _TOLD):
                self._write_down(scope, method, found, answer.status, code)

    async def _let_in(self, scope: Scope, found: Found) -> None:
        rule = found.rule
        if rule.scope is None:
            return
        who = scope[WHO] = await self._parts.keys.who(key_in(scope))
        check_scope(who, rule.scope)
        if rule.operator and who.tenant != OPERATOR:
            raise ForbiddenError.because(f"this is for keys of the tenant {OPERATOR!r} only")
        if found.session:
            scope[SESSION] = found.session
            if not await self._parts.owners.owns(who, found.session):
                raise unknown(found.session)

    def _write_down(self, scope: Scope, method: str, found: Found, status: int, code: str) -> None:
        if status in _ANONYMOUS and self._lines.take(time.monotonic()) > 0:
            self._left_out += 1
            return
        facts = line(self._parts, scope, method=method, route=found.path, status=status, code=code)
        if self._left_out:
            facts["left_out"], self._left_out = self._left_out, 0
        self._parts.audit.write(facts)


class _Answer:
    """What is said to a request, on its way out."""

    __slots__ = ("_path", "_send", "status")

    def __init__(self, path: str, send: Send) -> None:
        self._path = path
        self._send = send
        self.status = 0
        """0 until it begins."""

    def send(self, message: Message) -> Awaitable[None]:
        """Pass on a piece of it, the head with what every answer carries."""
        kind = message["type"]
        if kind in {"http.response.start", "websocket.http.response.start"}:
            self.status = message["status"]
            _add_headers(message["headers"], self._path)
        elif kind == "websocket.accept":
            self.status = 101
        return self._send(message)


def line(
    parts: Parts, scope: Scope, *, method: str, route: str, status: int, code: str = ""
) -> dict[str, Any]:
    """Return a line of the audit log; ``code`` is the error's, if it is one."""
    who: Who | None = scope.get(WHO)
    return {
        "time": when(int(parts.clock.unix() * 1e6)),
        "key": who.key if who else id_of(_key_or_nothing(scope)) or "",
        "tenant": who.tenant if who else "",
        "method": method,
        "route": route,
        "session": scope.get(SESSION, ""),
        "status": status,
        "outcome": code or _outcome(status),
        "from": scope["client"][0] if scope.get("client") else "",
    }


def _outcome(status: int) -> str:
    if status in {0, 500}:
        return "broken"
    return "ok" if status < 400 else "refused"


def key_in(scope: Scope) -> str:
    """Return the key in a request's headers.

    Raises:
        UnauthorizedError: There is none.
    """
    key = _key_or_nothing(scope)
    if not key:
        raise UnauthorizedError.because(
            "this gateway needs an API key: send `Authorization: Bearer <key>` or `X-API-Key: <key>`"
        )
    return key


def _key_or_nothing(scope: Scope) -> str:
    other = ""
    for name, value in scope["headers"]:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return str(value[7:].strip(), "latin-1")
        if name == b"x-api-key":
            other = str(value.strip(), "latin-1")
    return other


def _nowhere(methods: list[str]) -> Response:
    """Return the answer for what no route is for."""
    if not methods:
        return refusal(404, "Not found", [{"loc": "", "msg": "Not found", "type": "not-found"}])
    fault = {"loc": "", "msg": "Method not allowed", "type": "method-not-allowed"}
    return refusal(405, "Method not allowed", [fault], {"Allow": ", ".join(methods)})


def _add_headers(headers: list[tuple[bytes, bytes]], path: str) -> None:
    have = {name for name, _ in headers}
    wanted = _HEADERS if path not in _PAGES else _HEADERS_OF_PAGES
    if _NAMES.isdisjoint(have):
        headers += wanted
    else:
        headers += [header for header in wanted if header[0] not in have]
