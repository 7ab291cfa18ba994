"""Where large payloads of a part are in the blob store."""

from pathlib import PurePath

from blueengine.runtime.part import Output, Part, Route
from blueengine.transport.blobs import node_prefix, result_ref


def route_ref(part: Part, route: Route, file: str) -> str:
    """Reference under which a file of a worker's outbox is sent to a reader."""
    session, attempt, node = part.key
    # unique among all that is on its way to that node
    return f"{node_prefix(session, attempt, route.node)}/{node}-{PurePath(file).name}"


def stored_ref(part: Part, output: Output, file: str) -> str:
    """Reference under which a file of a worker's outbox is kept as a result."""
    session, attempt, node = part.key
    return result_ref(session, output.channel, f"{attempt}-{node}-{PurePath(file).name}")
