"""The hot routes without the framework around them.

FastAPI's routing, exit stacks and dependency solving cost as much as all of a submit. Its routes
stay, as the document of these and for every other method; here a POST to one of a few fixed paths
goes straight to the function that serves it.
"""

from collections.abc import Awaitable, Callable, Mapping
from types import SimpleNamespace

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from apps.restful.api import problems
from apps.restful.service.parts import Parts
from blueengine.errors import BlueEngineError

Handler = Callable[[Request, Parts], Awaitable[Response]]


class Shortcut:
    """Serves some POST paths by itself and passes on everything else."""

    def __init__(self, app: ASGIApp, parts: Parts, handlers: Mapping[str, Handler]) -> None:
        """Stand before ``app``."""
        self._app = app
        self._parts = parts
        self._handlers = {
            path: (handler, SimpleNamespace(path=path)) for path, handler in handlers.items()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request or pass it on."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        found = self._handlers.get(scope["path"])
        if found is None:
            await self._app(scope, receive, send)
            return
        handler, scope["route"] = found
        try:
            response = await handler(Request(scope, receive, send), self._parts)
        except BlueEngineError as exc:
            response = problems.answer(exc)
        except ClientDisconnect:
            response = Response(status_code=problems.CLIENT_GONE)
        except Exception:
            await problems.internal()(scope, receive, send)
            raise  # the server logs it
        await response(scope, receive, send)
