"""The application: routes, errors and document over the parts."""

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.types import ASGIApp

from apps.restful.api import (
    openapi,
    problems,
    routes_engines,
    routes_files,
    routes_input,
    routes_keys,
    routes_logs,
    routes_ops,
    routes_recordings,
    routes_sessions,
    routes_socket,
    routes_tenants,
    routes_webhooks,
    rules,
)
from apps.restful.api.door import Door
from apps.restful.api.rules import Rules
from apps.restful.api.shortcut import Shortcut
from apps.restful.service.parts import Parts

VERSION = "0.1.0"


def served(parts: Parts) -> ASGIApp:
    """Return what a server calls: the application, behind the shortcut and the door.

    They stand before the application, not in it as its middleware, because FastAPI and Starlette wrap
    all of that in five layers of their own.

    Raises:
        RuleMissingError: See ``build``.
    """
    return Door(Shortcut(build(parts), parts, routes_sessions.SHORTCUTS), parts, Rules())


def build(parts: Parts) -> FastAPI:
    """Return the application over these parts: routes and document; it opens and closes nothing.

    Raises:
        RuleMissingError: No rule says who may use one of its routes.
    """
    app = FastAPI(
        title="BlueEngine",
        version=VERSION,
        summary="Run graphs of processing engines as sessions.",
        telemetry={"tracing": False, "metrics": False, "logs": False},
        # A redirect would be to where the request's own Host header says.
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.parts = parts
    for router in (
        routes_keys.router,
        routes_tenants.router,
        routes_sessions.router,
        routes_engines.router,
        routes_files.router,
        routes_logs.router,
        routes_recordings.router,
        routes_input.router,
        routes_socket.router,
        routes_ops.router,
        routes_webhooks.router,
    ):
        app.include_router(router)
    rules.check(iter_route_contexts(app.routes))
    problems.install(app)
    openapi.install(app, rules.RULES)
    return app
