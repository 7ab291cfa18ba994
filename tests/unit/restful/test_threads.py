"""What FastAPI would call in a thread: it waits for that, which costs about as much as an answer."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from scripts import write_openapi

APP = write_openapi.app()
ROUTES = [r for r in iter_route_contexts(APP.routes) if getattr(r, "dependant", None)]


def called(dependant: Dependant) -> Iterator[Callable[..., Any]]:
    """Yield the function of a route or dependency, and those of all it depends on."""
    if dependant.call:
        yield dependant.call
    for other in dependant.dependencies:
        yield from called(other)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: str(route.name))
def test_a_route_and_what_it_depends_on_are_called_in_the_loop(route: Any) -> None:
    functions = list(called(route.dependant))
    assert [f.__name__ for f in functions if not inspect.iscoroutinefunction(f)] == []


def test_errors_are_answered_in_the_loop() -> None:
    handlers = APP.exception_handlers.values()
    assert [h.__name__ for h in handlers if not inspect.iscoroutinefunction(h)] == []


def test_the_routes_are_looked_at() -> None:
    assert len(ROUTES) > 30
