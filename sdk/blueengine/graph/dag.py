"""From what a client asks for to the plan of a session, or to a complete list of faults.

Everything is checked before anything is stored. A fault says where it is in the request (a JSON
pointer), what is wrong in words, and its kind for programs. Names are held to one plain alphabet
because they become parts of Redis keys and of the texts that the scripts split.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from blueengine.datatypes.names import ALL, JSON, canonical
from blueengine.graph.payload import Misfit, Payload, fit
from blueengine.graph.request import (
    ChannelAsked,
    EngineAsked,
    PortAsked,
    Shape,
    SingleEngine,
    SinglePort,
    StartAsked,
    Workflow,
)
from blueengine.wire.plan import Channel, Node, Plan
from blueengine.wire.spec import CONTROL, STATUS, EngineSpec

MAX_ENGINES: Final = 100
MAX_CHANNELS: Final = 1000
MAX_RANK: Final = 65535

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ALWAYS_IN: Final = {CONTROL: JSON}
_ALWAYS_OUT: Final = {STATUS: JSON}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a request."""

    loc: str
    """JSON pointer into the request."""
    msg: str
    type: str
    """Stable word for programs, e.g. ``cycle``."""


class Feeding(msgspec.Struct, frozen=True):
    """One message of start data that fits its channel."""

    channel: str
    type: str
    payload: Payload
    loc: str
    """Where it stands in the request."""


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What a request means. There is a plan exactly when there is no fault."""

    plan: Plan | None
    feedings: Sequence[Feeding]
    faults: Sequence[Fault]


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A shape without a fault: what a plan takes from it, for any start data."""

    nodes: dict[str, Node]
    channels: dict[str, Channel]
    types: Mapping[str, str | None]
    written: frozenset[str]


def is_name(text: str) -> bool:
    """Say whether ``text`` may name an engine, a node, a port or a channel."""
    return _NAME.fullmatch(text) is not None


def pointer(*parts: str | int) -> str:
    """Return the JSON pointer of a member (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def check_shape(shape: Shape, *, specs: Mapping[str, EngineSpec]) -> Graph | None:
    """Return what is found in a shape without a fault, to be used again; None when it has one."""
    check = _Graph(specs)
    graph = None if check.too_many(shape) else check.graph(shape)
    return None if check.faults else graph


def check_workflow(
    asked: Workflow, *, specs: Mapping[str, EngineSpec], graph: Graph | None = None
) -> Checked:
    """Return the plan of a graph, or every fault in it.

    Args:
        asked: The request.
        specs: Registered engines by id. One that is not there is taken as it is asked for.
        graph: What ``check_shape`` found with these specs, if it was asked before.
    """
    return _Graph(specs).check(asked, graph)


def check_single(asked: SingleEngine, *, specs: Mapping[str, EngineSpec]) -> Checked:
    """Return the plan of one engine with a channel for each of its ports; see check_workflow.

    A channel is named as its port. A port name that is both an input and an output means the
    output; the input's channel then gets another name.
    """
    return _Single(specs).check(asked)


class _Check:
    """The faults found so far, and the checks that both kinds of request share."""

    def __init__(self, specs: Mapping[str, EngineSpec]) -> None:
        self.specs = specs
        self.faults: list[Fault] = []
        self.feedings: list[Feeding] = []

    def fault(self, kind: str, msg: str, *loc: str | int) -> None:
        self.faults.append(Fault(pointer(*loc), msg, kind))

    def name(self, what: str, text: str, *loc: str | int) -> None:
        if _NAME.fullmatch(text) is None:
            shown = text if len(text) <= 80 else text[:77] + "…"
            self.fault(
                "bad-name",
                f"{what} {shown!r} must be 1 to 64 letters, digits, '_', '.' or '-'",
                *loc,
            )

    def kind(self, text: str, *loc: str | int) -> str | None:
        known = canonical(text)
        if known is None:
            self.fault("unknown-type", f"{text!r} is no type; known: {', '.join(ALL)}", *loc)
        return known

    def rank(self, rank: int) -> None:
        if not -MAX_RANK <= rank <= MAX_RANK:
            self.fault("bad-rank", f"rank must be between -{MAX_RANK} and {MAX_RANK}", "rank")

    def spec_port(
        self, engine: str, way: str, port: str, kind: str | None, *loc: str | int
    ) -> None:
        """Check a port against the engine's registered spec (``way``: input | output)."""
        always = _ALWAYS_IN if way == "input" else _ALWAYS_OUT
        spec = self.specs.get(engine)
        known = (
            always if spec is None else always | (spec.inputs if way == "input" else spec.outputs)
        )
        has = known.get(port)
        if has is None:
            if spec is not None:
                ports = ", ".join(sorted(known))
                self.fault(
                    "differs-from-spec",
                    f"engine {engine!r} has no {way} {port!r}; it has: {ports}",
                    *loc,
                )
        elif kind is not None and has != kind:
            self.fault(
                "differs-from-spec",
                f"{way} {port!r} of engine {engine!r} is of type {has}, not {kind}",
                *loc,
                "type",
            )

    def feed(self, channel: str, kind: str, value: Any, *loc: str | int) -> None:
        try:
            payload = fit(kind, value)
        except Misfit as exc:
            self.fault(
                "bad-payload", f"channel {channel!r}: {exc}", *loc, *([exc.key] if exc.key else [])
            )
        else:
            self.feedings.append(Feeding(channel, kind, payload, pointer(*loc)))

    def done(
        self,
        asked: SingleEngine | Workflow,
        nodes: dict[str, Node],
        channels: dict[str, Channel],
    ) -> Checked:
        if asked.interactive and not self.faults:
            self._pushable(nodes)
        if self.faults:
            return Checked(plan=None, feedings=self.feedings, faults=self.faults)
        fed = tuple(dict.fromkeys([feeding.channel for feeding in self.feedings]))
        plan = Plan(
            nodes=nodes,
            channels=channels,
            fed=fed,
            interactive=asked.interactive,
            record=asked.record,
            labels=dict(asked.labels),
        )
        return Checked(plan=plan, feedings=self.feedings, faults=())

    def _pushable(self, nodes: Mapping[str, Node]) -> None:
        written = {channel for node in nodes.values() for channel in node.writes.values()}
        if all(channel in written for node in nodes.values() for channel in node.reads.values()):
            msg = "an interactive session needs an input that no engine writes, to be pushed to"
            self.fault("nothing-to-push-to", msg, "interactive")


class _Graph(_Check):
    """The check of a graph of engines."""

    def check(self, asked: Workflow, graph: Graph | None) -> Checked:
        self.rank(asked.rank)
        if graph is None:
            if self.too_many(asked.shape):
                return self.done(asked, {}, {})
            graph = self.graph(asked.shape)
        self._start_data(asked.start_data, graph.types, graph.written)
        return self.done(asked, graph.nodes, graph.channels)

    def graph(self, shape: Shape) -> Graph:
        """Check channels and engines; what is found is of use when there is no fault."""
        types = self._channels(shape.channels)
        nodes = self._nodes(shape.engines, types)
        for names in cycles(nodes, [engine.node for engine in shape.engines]):
            shown = " → ".join([*names, names[0]])
            self.fault("cycle", f"the engines form a cycle: {shown}", "engines")
        return Graph(
            nodes={engine.node: node for engine, node in zip(shape.engines, nodes, strict=True)},
            channels={c.name: Channel(types[c.name] or "", c.interested) for c in shape.channels},
            types=types,
            written=frozenset(channel for node in nodes for channel in node.writes.values()),
        )

    def too_many(self, asked: Shape) -> bool:
        """Report sizes that are not checked any further."""
        before = len(self.faults)
        if not asked.engines:
            self.fault("no-engines", "a session needs at least one engine", "engines")
        for what, many, limit in (
            ("engines", asked.engines, MAX_ENGINES),
            ("dataChannels", asked.channels, MAX_CHANNELS),
        ):
            if len(many) > limit:
                self.fault("too-many", f"{len(many)} {what}; at most {limit} are taken", what)
        return any(fault.type == "too-many" for fault in self.faults[before:])

    def _channels(self, asked: Sequence[ChannelAsked]) -> dict[str, str | None]:
        """Return channel name -> canonical type, None where the type is unknown."""
        known: dict[str, str | None] = {}
        for at, channel in enumerate(asked):
            self.name("channel", channel.name, "dataChannels", at, "name")
            kind = self.kind(channel.type, "dataChannels", at, "type")
            if channel.name in known:
                msg = f"two channels are named {channel.name!r}"
                self.fault("duplicate-name", msg, "dataChannels", at, "name")
            else:
                known[channel.name] = kind
        return known

    def _nodes(
        self, engines: Sequence[EngineAsked], channels: Mapping[str, str | None]
    ) -> list[Node]:
        nodes: list[Node] = []
        seen: set[str] = set()
        for at, engine in enumerate(engines):
            self.name("engine id", engine.id, "engines", at, "id")
            if engine.name:
                self.name("engine name", engine.name, "engines", at, "name")
            if engine.node in seen:
                msg = f"two engines are named {engine.node!r}; give one of them another name"
                self.fault("duplicate-name", msg, "engines", at, "name")
            seen.add(engine.node)
            nodes.append(
                Node(
                    engine=engine.id,
                    reads=self._ports(engine, "input", engine.inputs, channels, at),
                    writes=self._ports(engine, "output", engine.outputs, channels, at),
                )
            )
        return nodes

    def _ports(
        self,
        engine: EngineAsked,
        way: str,
        ports: Sequence[PortAsked],
        channels: Mapping[str, str | None],
        at: int,
    ) -> dict[str, str]:
        """Return port -> channel of the linked ports."""
        links: dict[str, str] = {}
        named: set[str] = set()
        for index, port in enumerate(ports):
            loc = ("engines", at, way + "s", index)
            self.name("port", port.name, *loc, "name")
            kind = self.kind(port.type, *loc, "type")
            if port.name in named:
                self._twice(engine, way, port, links, loc)
                continue
            named.add(port.name)
            self.spec_port(engine.id, way, port.name, kind, *loc)
            if port.link_to is None:
                continue
            links[port.name] = port.link_to
            if port.link_to not in channels:
                msg = f"{way} {port.name!r} of {engine.node!r} is linked to the unknown channel {port.link_to!r}"
                self.fault("unknown-channel", msg, *loc, "linkTo")
                continue
            has = channels[port.link_to]
            if kind is not None and has is not None and kind != has:
                msg = (
                    f"{way} {port.name!r} of {engine.node!r} is of type {kind}, "
                    f"but channel {port.link_to!r} is of type {has}"
                )
                self.fault("type-mismatch", msg, *loc, "linkTo")
        return links

    def _twice(
        self,
        engine: EngineAsked,
        way: str,
        port: PortAsked,
        links: Mapping[str, str],
        loc: tuple[str | int, ...],
    ) -> None:
        if port.link_to is not None and port.name in links:
            msg = f"{way} {port.name!r} of {engine.node!r} is linked twice: to {links[port.name]!r} and {port.link_to!r}"
            self.fault("port-linked-twice", msg, *loc, "linkTo")
        else:
            msg = f"{way} {port.name!r} of {engine.node!r} stands twice"
            self.fault("duplicate-name", msg, *loc, "name")

    def _start_data(
        self,
        asked: Sequence[StartAsked],
        channels: Mapping[str, str | None],
        written: frozenset[str],
    ) -> None:
        for at, start in enumerate(asked):
            name = start.channel
            if name not in channels:
                msg = f"start data for the unknown channel {name!r}"
                self.fault("unknown-channel", msg, "startData", at, "channelName")
                continue
            if name in written:
                msg = f"channel {name!r} is written by an engine, so it takes no start data"
                self.fault("start-data-for-written-channel", msg, "startData", at, "channelName")
            kind = channels[name]
            if kind is not None:
                self.feed(name, kind, start.payload, "startData", at, "payload")


class _Single(_Check):
    """The check of one engine and its ports."""

    def check(self, asked: SingleEngine) -> Checked:
        self.rank(asked.rank)
        self.name("engine id", asked.engine, "engineId")
        if len(asked.inputs) + len(asked.outputs) > MAX_CHANNELS:
            msg = f"more than {MAX_CHANNELS} inputs and outputs"
            self.fault("too-many", msg, "inputs")
            return self.done(asked, {}, {})
        outputs = dict(asked.outputs)
        for at, port in enumerate(asked.results):
            self._result(asked, outputs, at, port)
        channels: dict[str, Channel] = {}
        writes = self._outputs(asked, outputs, channels)
        reads = self._inputs(asked, channels, taken=outputs.keys() | asked.inputs.keys())
        node = Node(engine=asked.engine, reads=reads, writes=writes)
        return self.done(asked, {asked.engine: node}, channels)

    def _result(
        self, asked: SingleEngine, outputs: dict[str, SinglePort], at: int, port: str
    ) -> None:
        """Take a result channel that is not among the outputs from the engine's spec."""
        if port in outputs or port in asked.inputs:
            return
        spec = self.specs.get(asked.engine)
        kind = (_ALWAYS_OUT | (spec.outputs if spec else {})).get(port)
        if kind is not None:
            outputs[port] = SinglePort(kind, interested=True)
            return
        msg = f"result channel {port!r} is not among the outputs"
        self.fault("unknown-channel", msg, "resultChannels", at)

    def _outputs(
        self,
        asked: SingleEngine,
        outputs: Mapping[str, SinglePort],
        channels: dict[str, Channel],
    ) -> dict[str, str]:
        for name, port in outputs.items():
            kind = self._port(asked.engine, "output", name, port)
            channels[name] = Channel(kind, port.interested or name in asked.results)
        return {name: name for name in outputs}

    def _inputs(
        self, asked: SingleEngine, channels: dict[str, Channel], *, taken: Iterable[str]
    ) -> dict[str, str]:
        taken = set(taken)
        reads: dict[str, str] = {}
        for at, (name, port) in enumerate(asked.inputs.items()):
            kind = self._port(asked.engine, "input", name, port)
            channel = name
            if name in channels:
                channel = f"{name}.in" if len(name) <= 61 else f"in-{at}"
                while channel in taken:
                    channel = f"in-{at}-{len(taken)}"
                taken.add(channel)
            stored = port.interested or (name in asked.results and channel == name)
            channels[channel] = Channel(kind, stored)
            reads[name] = channel
            for payload in port.payloads:
                if kind:
                    self.feed(channel, kind, payload, "inputs", name, "payload")
        return reads

    def _port(self, engine: str, way: str, name: str, port: SinglePort) -> str:
        loc = (way + "s", name)
        self.name("port", name, *loc)
        kind = self.kind(port.type, *loc, "type")
        self.spec_port(engine, way, name, kind, *loc)
        return kind or ""


def cycles(nodes: Sequence[Node], names: Sequence[str]) -> list[list[str]]:
    """Return cycles that share no node, each as node names in the order the data flows.

    There is none exactly when the graph has no cycle.
    """
    after = _successors(nodes)
    left = set(range(len(nodes)))
    found: list[list[str]] = []
    while _strip(after, left):
        walk: list[int] = []
        at = min(left)
        while at not in walk:
            walk.append(at)
            at = min(after[at] & left)
        cycle = walk[walk.index(at) :]
        first = cycle.index(min(cycle))
        found.append([names[i] for i in cycle[first:] + cycle[:first]])
        left.difference_update(cycle)
    return found


def _successors(nodes: Sequence[Node]) -> list[set[int]]:
    """Return for each node those that read a channel it writes."""
    readers: dict[str, set[int]] = {}
    for index, node in enumerate(nodes):
        for channel in node.reads.values():
            readers.setdefault(channel, set()).add(index)
    return [
        set().union(*[readers.get(channel, ()) for channel in node.writes.values()])
        for node in nodes
    ]


def _strip(after: Sequence[set[int]], left: set[int]) -> set[int]:
    """Take nodes out of ``left`` that lead to none in it, until none does; return it."""
    while ends := [index for index in left if not (after[index] & left)]:
        left.difference_update(ends)
    return left
