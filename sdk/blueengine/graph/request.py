"""What a client asks for, before it is checked: plain records, whatever edge they came in by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from blueengine.datatypes.names import JSON


@dataclass(frozen=True, slots=True)
class ChannelAsked:
    """A data channel."""

    name: str
    type: str = JSON
    interested: bool = False
    """Its messages are stored and returned."""


@dataclass(frozen=True, slots=True)
class PortAsked:
    """One input or output of an engine. Without a link it is left out of the plan."""

    name: str
    type: str = JSON
    link_to: str | None = None


@dataclass(frozen=True, slots=True)
class EngineAsked:
    """An engine's place in the graph."""

    id: str
    name: str = ""
    """Of the node; empty: as the id."""
    inputs: Sequence[PortAsked] = ()
    outputs: Sequence[PortAsked] = ()

    @property
    def node(self) -> str:
        """The node's name."""
        return self.name or self.id


@dataclass(frozen=True, slots=True)
class StartAsked:
    """One message of start data."""

    channel: str
    payload: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The channels and engines of a graph: what stays the same when a workflow is run again."""

    channels: Sequence[ChannelAsked] = ()
    engines: Sequence[EngineAsked] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """A graph of engines."""

    shape: Shape
    start_data: Sequence[StartAsked] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    rank: int = 0
    interactive: bool = False
    """The client pushes more input while it runs."""
    record: bool = False
    """Each engine records what it receives, so that it can be replayed."""

    def fed(self, payloads: Sequence[Any]) -> "Workflow":
        """Return it with these payloads in place of those it has, one for one."""
        pairs = zip(self.start_data, payloads, strict=True)
        return replace(
            self, start_data=[StartAsked(start.channel, payload) for start, payload in pairs]
        )


@dataclass(frozen=True, slots=True)
class SinglePort:
    """A port of a single engine; ``payloads`` holds its start data, if any."""

    type: str = JSON
    interested: bool = False
    payloads: Sequence[Any] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleEngine:
    """One engine and what to give it."""

    engine: str
    inputs: Mapping[str, SinglePort] = field(default_factory=dict)
    outputs: Mapping[str, SinglePort] = field(default_factory=dict)
    results: Sequence[str] = ()
    """Ports whose messages are stored, beside those that are ``interested``."""
    labels: Mapping[str, str] = field(default_factory=dict)
    rank: int = 0
    interactive: bool = False
    """The client pushes more input while it runs."""
    record: bool = False
    """Each engine records what it receives, so that it can be replayed."""

    def fed(self, payloads: Sequence[Any]) -> "SingleEngine":
        """Return it with these payloads in place of those it has, one for one."""
        left = iter(payloads)
        inputs = {
            name: replace(port, payloads=tuple(next(left) for _ in port.payloads))
            for name, port in self.inputs.items()
        }
        return replace(self, inputs=inputs)
