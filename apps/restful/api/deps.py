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


async def _parts(connection: HTTPConnection) -> Parts:
    return parts_of(connection)


async def _who(connection: HTTPConnection) -> Who:
    return who_of(connection)


# FastAPI would call a plain function in a thread, and wait for it: two were a third of what a GET costs
PartsOf = Annotated[Parts, Depends(_parts)]
WhoAsks = Annotated[Who, Depends(_who)]
