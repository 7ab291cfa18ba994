"""The bodies of the two POST routes as the rules read them. What they do not name goes through.

A member that a newer platform knows is not for this client to refuse: it is sent as it stands, and
the platform says what it thinks of it.
"""

import re
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from blueengine.graph import request as asked
from blueengine.graph.dag import Fault, pointer

B = TypeVar("B", bound=msgspec.Struct)

Ports = Annotated[list["Port"], Meta(max_length=500)]
Labels = Annotated[
    dict[
        Annotated[str, Meta(min_length=1, max_length=64)],
        Annotated[str, Meta(max_length=256)],
    ],
    Meta(max_length=64),
]
_MONTH = 30 * 86_400.0


class _Body(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of all: names are written as in the JSON."""


class Port(_Body, frozen=True, kw_only=True):
    """An input or output of an engine in a graph."""

    name: str
    type: str = "JSON"
    link_to: str | None = None


class Engine(_Body, frozen=True, kw_only=True):
    """An engine's place in a graph."""

    id: str
    name: str = ""
    inputs: Ports = []
    outputs: Ports = []


class Channel(_Body, frozen=True, kw_only=True):
    """A data channel."""

    name: str
    type: str = "JSON"
    interested: bool = False


class Start(_Body, frozen=True, kw_only=True):
    """One message of start data."""

    channel_name: str
    payload: Any


class Retry(_Body, frozen=True, kw_only=True):
    """What to do when an engine dies."""

    max_attempts: Annotated[int, Meta(ge=1, le=100)] = 1


class Common(_Body, frozen=True, kw_only=True):
    """What both bodies have."""

    labels: Labels = {}
    rank: int = 0
    retry: Retry | None = None
    interactive: bool = False
    record: bool = False
    wait_time_second: Annotated[float, Meta(ge=0, le=_MONTH)] = 0
    timeout_second: Annotated[float, Meta(gt=0, le=_MONTH)] | None = None
    ttl_second: Annotated[float, Meta(ge=1, le=_MONTH)] | None = None


class WorkflowBody(Common, frozen=True, kw_only=True):
    """The body of process-workflow."""

    engines: list[Engine]
    data_channels: list[Channel] = []
    start_data: Annotated[list[Start], Meta(max_length=10_000)] = []

    def asked(self) -> asked.Workflow:
        """Return it as the rules take it."""
        return asked.Workflow(
            shape=asked.Shape(
                channels=[
                    asked.ChannelAsked(channel.name, channel.type, channel.interested)
                    for channel in self.data_channels
                ],
                engines=[
                    asked.EngineAsked(
                        engine.id,
                        engine.name,
                        [asked.PortAsked(p.name, p.type, p.link_to) for p in engine.inputs],
                        [asked.PortAsked(p.name, p.type, p.link_to) for p in engine.outputs],
                    )
                    for engine in self.engines
                ],
            ),
            start_data=[asked.StartAsked(s.channel_name, s.payload) for s in self.start_data],
            labels=self.labels,
            rank=self.rank,
            interactive=self.interactive,
            record=self.record,
        )


class InPort(_Body, frozen=True, kw_only=True):
    """An input of a single engine."""

    type: str = "JSON"
    payload: Any = msgspec.UNSET
    interested: bool = False


class OutPort(_Body, frozen=True, kw_only=True):
    """An output of a single engine."""

    type: str = "JSON"
    interested: bool = False


class SingleBody(Common, frozen=True, kw_only=True):
    """The body of process-single-engine."""

    engine_id: str
    inputs: dict[str, InPort] = {}
    outputs: dict[str, OutPort] = {}
    result_channels: Annotated[list[str], Meta(max_length=1000)] = []

    def asked(self) -> asked.SingleEngine:
        """Return it as the rules take it."""
        return asked.SingleEngine(
            engine=self.engine_id,
            inputs={
                name: asked.SinglePort(
                    port.type,
                    port.interested,
                    () if port.payload is msgspec.UNSET else (port.payload,),
                )
                for name, port in self.inputs.items()
            },
            outputs={n: asked.SinglePort(p.type, p.interested) for n, p in self.outputs.items()},
            results=self.result_channels,
            labels=self.labels,
            rank=self.rank,
            interactive=self.interactive,
            record=self.record,
        )


def read(model: type[B], value: object) -> B | Fault:
    """Return a body, or what is wrong with its shape."""
    try:
        return msgspec.convert(value, model)
    except msgspec.ValidationError as exc:
        said, _, place = str(exc).partition(" - at `$")
        parts = re.findall(r"[^.\[\]`]+", place)
        return Fault(pointer(*parts), said, "invalid")
