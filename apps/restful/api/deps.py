"""How a route gets at the parts."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from apps.restful.service.parts import Parts


def parts_of(connection: HTTPConnection) -> Parts:
    """Return the parts of the app that serves this connection."""
    parts = connection.app.state.parts
    if not isinstance(parts, Parts):
        raise TypeError("the app has no parts; see app.build")
    return parts


PartsOf = Annotated[Parts, Depends(parts_of)]
