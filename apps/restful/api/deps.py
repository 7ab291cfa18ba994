"""How a route gets at the parts, and at who asks."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from apps.restful.api.door import who_of
from apps.restful.service.access import Who
from apps.restful.service.parts import Parts


def parts_of(connection: HTTPConnection) -> Parts:
    """Return the parts of the app that serves this connection."""
    parts = connection.app.state.parts
    if not isinstance(parts, Parts):
        raise TypeError("the app has no parts; see app.build")
    return parts


PartsOf = Annotated[Parts, Depends(parts_of)]
WhoAsks = Annotated[Who, Depends(who_of)]
