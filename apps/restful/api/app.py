"""The application: routes, errors and document over the parts."""

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

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
from apps.restful.api.measure import Measure
from apps.restful.api.rules import Rules
from apps.restful.api.shortcut import Shortcut
from apps.restful.service.parts import Parts

VERSION = "0.1.0"


def build(parts: Parts) -> FastAPI:
    """Return the application that serves these parts; it opens and closes nothing.

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
    app.add_middleware(Shortcut, parts=parts, handlers=routes_sessions.SHORTCUTS)
    rules.check(iter_route_contexts(app.routes))
    app.add_middleware(Door, parts=parts, rules=Rules())
    app.add_middleware(Measure, metrics=parts.metrics)
    problems.install(app)
    openapi.install(app, rules.RULES)
    return app
