"""Workflows that were submitted before: run again, only what differs is looked at.

Clients send the same graph with other start data over and over; reading, converting and checking
it costs more than all the rest of a submit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from apps.restful.service.recent import Recent
from blueengine.graph.dag import Graph, check_shape
from blueengine.graph.request import Shape
from blueengine.wire.spec import EngineSpec

MEMBERS: Final = ("dataChannels", "engines")


@dataclass(slots=True)
class KnownShape:
    """A shape, and what was found in it with the specs of some version."""

    shape: Shape
    _found: Graph | None = None
    _version: int = field(default=-3)  # one that no specs have

    def graph(self, specs: Mapping[str, EngineSpec], version: int) -> Graph | None:
        """Return what is found in it with these specs; None when there is a fault."""
        if version != self._version:
            self._found, self._version = check_shape(self.shape, specs=specs), version
        return self._found


class Shapes(Recent[Shape, KnownShape]):
    """The shapes seen last."""

    def __init__(self) -> None:
        """Know none."""
        super().__init__(KnownShape)

    def key(self, value: Mapping[str, Any]) -> bytes:
        """Return what stands for the shape in a request body."""
        return orjson.dumps([value.get(member) for member in MEMBERS])
