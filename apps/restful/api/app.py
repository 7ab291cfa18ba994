"""The application: routes, errors and document over the parts."""

from fastapi import FastAPI

from apps.restful.api import (
    openapi,
    problems,
    routes_engines,
    routes_files,
    routes_input,
    routes_ops,
    routes_sessions,
)
from apps.restful.api.measure import Measure
from apps.restful.api.shortcut import Shortcut
from apps.restful.service.parts import Parts

VERSION = "0.1.0"


def build(parts: Parts) -> FastAPI:
    """Return the application that serves these parts; it opens and closes nothing."""
    app = FastAPI(
        title="BlueEngine",
        version=VERSION,
        summary="Run graphs of processing engines as sessions.",
        telemetry={"tracing": False, "metrics": False, "logs": False},
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.parts = parts
    for router in (
        routes_sessions.router,
        routes_engines.router,
        routes_files.router,
        routes_input.router,
        routes_ops.router,
    ):
        app.include_router(router)
    app.add_middleware(Shortcut, parts=parts, handlers=routes_sessions.SHORTCUTS)
    app.add_middleware(Measure, metrics=parts.metrics)
    problems.install(app)
    openapi.install(app)
    return app
