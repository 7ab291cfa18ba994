"""Workflows in Python: built, read from files, checked with the platform's own rules, drawn.

A workflow is the body of ``process-workflow`` and nothing else: what is read from a file is written
back as it was, members this client does not know included.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Self

import msgspec
import orjson
import yaml

from blueengine.client import answers, body, mermaid
from blueengine.client.errors import WorkflowError
from blueengine.datatypes.names import JSON
from blueengine.graph.dag import Fault, check_workflow
from blueengine.wire.spec import CONTROL, STATUS, EngineSpec

_ALWAYS: Final = {"inputs": {CONTROL: JSON}, "outputs": {STATUS: JSON}}


class Node:
    """An engine's place in a workflow; made by ``Workflow.engine``."""

    def __init__(self, draft: "_Draft", entry: dict[str, Any], types: "_Types") -> None:
        """Stand for ``entry`` in a body."""
        self._draft = draft
        self._entry = entry
        self._types = types

    def __repr__(self) -> str:
        """Name it."""
        return f"Node({self.name!r})"

    @property
    def id(self) -> str:
        """The engine's id."""
        return str(self._entry["id"])

    @property
    def name(self) -> str:
        """Its name in this workflow."""
        return str(self._entry.get("name") or self._entry["id"])

    def link(
        self, output: str, to: "Node", input: str = "", *, type: str = "", channel: str = ""
    ) -> Self:
        """Link an output to an input of another engine.

        An output that is linked already keeps its channel: several engines may read it.

        Args:
            output: The port that writes.
            to: The engine that reads.
            input: Its port; named as the output when left out.
            type: Type of both ports, where the engines do not say it; JSON when nobody does.
            channel: Name of the channel; the output's name, or ``engine.output`` if that is taken.

        Raises:
            ValueError: The other engine is of another workflow.
        """
        if not to.is_in(self._draft):
            raise ValueError(f"{to.name!r} is an engine of another workflow")
        reader = input or output
        name = self._write(output, type, channel, otherwise=to.type_of_input(reader))
        to.reads(reader, name, type=type)
        return self

    def result(self, output: str, *, type: str = "", channel: str = "") -> Self:
        """Have what an output writes stored and returned; see ``link`` for the arguments."""
        name = self._write(output, type, channel)
        self._draft.keep(name)
        return self

    def reads(self, input: str, channel: str, *, type: str = "") -> Self:
        """Link an input to a channel by its name."""
        self._port("inputs", input, channel, type)
        return self

    def writes(self, output: str, channel: str, *, type: str = "") -> Self:
        """Link an output to a channel by its name."""
        self._port("outputs", output, channel, type)
        return self

    def is_in(self, draft: "_Draft") -> bool:
        """Say whether it is of this workflow."""
        return self._draft is draft

    def type_of_input(self, input: str) -> str:
        """Return the type of an input; empty when it is not known."""
        return self._types.port("inputs", input)

    def _write(self, output: str, type: str, channel: str, *, otherwise: str = "") -> str:
        """Link an output to its channel, which is made where there is none; the channel's name."""
        name = channel or self._channel_of(output) or self._free_name(output)
        if name not in self._draft.channels:
            kind = type or self._types.port("outputs", output) or otherwise
            self._draft.add_channel(name, kind or JSON)
        self._port("outputs", output, name, type)
        return name

    def _channel_of(self, output: str) -> str:
        for port in self._entry.get("outputs", ()):
            if port.get("name") == output and port.get("linkTo"):
                return str(port["linkTo"])
        return ""

    def _free_name(self, output: str) -> str:
        return output if output not in self._draft.channels else f"{self.name}.{output}"

    def _port(self, way: str, name: str, channel: str, type: str) -> None:
        ports = self._entry.setdefault(way, [])
        if any(port.get("name") == name and port.get("linkTo") == channel for port in ports):
            return
        kind = type or self._types.port(way, name) or self._draft.channels.get(channel, JSON)
        for port in ports:
            if port.get("name") == name and port.get("linkTo") is None:
                port |= {"type": kind, "linkTo": channel}
                return
        ports.append({"name": name, "type": kind, "linkTo": channel})


class _Draft:
    """The body of a workflow while it is made, shared by the workflow and its nodes."""

    def __init__(self, body: dict[str, Any], specs: Mapping[str, EngineSpec]) -> None:
        self.body = body
        self.specs = specs

    @property
    def channels(self) -> dict[str, str]:
        """Channel -> type."""
        found: Any = self.body.get("dataChannels") or []
        return {
            str(channel["name"]): str(channel.get("type", JSON))
            for channel in found
            if isinstance(channel, dict) and "name" in channel
        }

    @property
    def engines(self) -> list[dict[str, Any]]:
        """The entries of its engines, without what is none."""
        return [e for e in self.body["engines"] if isinstance(e, dict) and "id" in e]

    def add_channel(self, name: str, type: str, *, interested: bool = False) -> None:
        """Add a channel."""
        entry = {"name": name, "type": type, "interested": interested}
        self.body.setdefault("dataChannels", []).append(entry)

    def keep(self, channel: str) -> None:
        """Have what is on a channel stored."""
        for entry in self.body["dataChannels"]:
            if entry["name"] == channel:
                entry["interested"] = True


class Workflow:
    """A graph of engines; see ``docs/client.md`` for examples."""

    route: Final = "process-workflow"

    def __init__(self, engines: Iterable[answers.Engine] = ()) -> None:
        """Begin without an engine.

        Args:
            engines: What is known of engines (``client.engines()``): types of ports then need not
                be said, and ports that do not exist are found before anything is sent.
        """
        self._draft = _Draft({"dataChannels": [], "engines": []}, _specs(engines))

    def __repr__(self) -> str:
        """Say how large it is."""
        return f"Workflow({len(self.nodes)} engines, {len(self.channels)} channels)"

    def __eq__(self, other: object) -> bool:
        """Whether it says the same as another one."""
        return self.to_dict() == other.to_dict() if isinstance(other, Workflow) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it changes

    # -- building ---------------------------------------------------------------------------------

    def engine(
        self,
        id: str,
        name: str = "",
        *,
        inputs: Mapping[str, str] | None = None,
        outputs: Mapping[str, str] | None = None,
    ) -> Node:
        """Add an engine.

        Args:
            id: The engine's id.
            name: Its name in this workflow, which must be unique; the id when left out.
            inputs: Port -> type, where neither the links nor ``engines`` say it.
            outputs: The same of its outputs.
        """
        entry: dict[str, Any] = {"id": id, "name": name or id, "inputs": [], "outputs": []}
        self._draft.body["engines"].append(entry)
        types = _Types(self._draft.specs.get(id), inputs or {}, outputs or {})
        return Node(self._draft, entry, types)

    def channel(self, name: str, type: str = JSON, *, interested: bool = False) -> Self:
        """Add a data channel by its name; ``interested``: its messages are stored and returned."""
        self._draft.add_channel(name, type, interested=interested)
        return self

    def input(self, channel: str, to: Node, port: str = CONTROL, *, type: str = "") -> Self:
        """Add a channel that the client feeds, read by a port of an engine.

        Called again with the same channel it adds a reader.
        """
        if channel not in self.channels:
            self.channel(channel, type or to.type_of_input(port) or JSON)
        to.reads(port, channel, type=type)
        return self

    def start(self, channel: str, *values: Any) -> Self:
        """Add messages that are there from the start: JSON values, text, or ``{"fileId"}``.

        Files and images are given to ``client.submit``, which uploads them.
        """
        entries = [{"channelName": channel, "payload": value} for value in values]
        self._draft.body.setdefault("startData", []).extend(entries)
        return self

    # -- looking ----------------------------------------------------------------------------------

    @property
    def nodes(self) -> Mapping[str, Node]:
        """Its engines by their name in this workflow."""
        draft = self._draft
        nodes = [Node(draft, e, _Types(draft.specs.get(e["id"]), {}, {})) for e in draft.engines]
        return {node.name: node for node in nodes}

    @property
    def channels(self) -> Mapping[str, str]:
        """Channel -> type."""
        return self._draft.channels

    @property
    def inputs(self) -> Mapping[str, str]:
        """Channel -> type of those that no engine writes: they take start data."""
        written = {
            port.get("linkTo")
            for engine in self._draft.engines
            for port in engine.get("outputs") or ()
            if isinstance(port, dict)
        }
        return {name: kind for name, kind in self.channels.items() if name not in written}

    def faults(self) -> Sequence[Fault]:
        """Return everything that is wrong with it, each with a JSON pointer into ``to_dict()``."""
        found = body.read(body.WorkflowBody, self._draft.body)
        if isinstance(found, Fault):
            return [found]
        return check_workflow(found.asked(), specs=self._draft.specs).faults

    def check(self) -> Self:
        """Return it when the platform would take it.

        Raises:
            WorkflowError: It has faults: a cycle (with its engines in order), an unknown channel,
                types that differ on a link, a name used twice … all of them at once.
        """
        refuse(self.faults())
        return self

    def to_mermaid(self) -> str:
        """Return it as a Mermaid flowchart.

        Raises:
            WorkflowError: It is no workflow at all.
        """
        found = body.read(body.WorkflowBody, self._draft.body)
        if isinstance(found, Fault):
            raise WorkflowError("this workflow cannot be drawn", [found])
        return mermaid.draw(found)

    # -- files ------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return the body of process-workflow."""
        return copy.deepcopy(self._draft.body)

    def to_json(self) -> str:
        """Return it as JSON."""
        return orjson.dumps(self._draft.body, option=orjson.OPT_INDENT_2).decode()

    def to_yaml(self) -> str:
        """Return it as YAML, like the files in workflows/."""
        return yaml.safe_dump(self._draft.body, sort_keys=False, allow_unicode=True, width=100)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any], engines: Iterable[answers.Engine] = ()) -> Self:
        """Return the workflow in a body of process-workflow; it is not checked yet.

        Raises:
            WorkflowError: It is no workflow at all.
        """
        if not isinstance(found.get("engines"), list):
            raise WorkflowError("it is no workflow: it has no list `engines`")
        return cls._of(copy.deepcopy(dict(found)), _specs(engines))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return the workflow in JSON text; see ``from_dict``."""
        return cls.from_dict(parsed("JSON", text))

    @classmethod
    def from_yaml(cls, text: str | bytes) -> Self:
        """Return the workflow in YAML text; see ``from_dict``."""
        return cls.from_dict(parsed("YAML", text))

    # -- for the client ---------------------------------------------------------------------------

    def filled(self, given: Mapping[str, Sequence[Any]], options: Mapping[str, Any]) -> "Workflow":
        """Return it with this start data in place of its own for these channels, and options."""
        full = self.to_dict()
        kept = [
            entry
            for entry in full.get("startData") or []
            if not (isinstance(entry, dict) and entry.get("channelName") in given)
        ]
        added = [
            {"channelName": channel, "payload": value}
            for channel, values in given.items()
            for value in values
        ]
        return Workflow._of({**full, "startData": kept + added, **options}, self._draft.specs)

    @classmethod
    def _of(cls, body: dict[str, Any], specs: Mapping[str, EngineSpec]) -> Self:
        made = cls()
        made._draft = _Draft(body, specs)
        return made


class _Types:
    """The types of an engine's ports, as far as they are known."""

    def __init__(
        self, spec: EngineSpec | None, inputs: Mapping[str, str], outputs: Mapping[str, str]
    ) -> None:
        self._ports: dict[str, Mapping[str, str]] = {
            "inputs": {**(spec.inputs if spec else {}), **inputs},
            "outputs": {**(spec.outputs if spec else {}), **outputs},
        }

    def port(self, way: str, name: str) -> str:
        """Return the type of a port; empty when it is not known."""
        return self._ports[way].get(name) or _ALWAYS[way].get(name, "")


def _specs(engines: Iterable[answers.Engine]) -> dict[str, EngineSpec]:
    return {
        engine.id: EngineSpec(
            id=engine.id,
            name=engine.name,
            concurrency=engine.concurrency,
            inputs=engine.inputs,
            outputs=engine.outputs,
        )
        for engine in engines
    }


def parsed(form: str, text: str | bytes) -> Mapping[str, Any]:
    """Return the object in JSON or YAML text.

    Raises:
        WorkflowError: There is none.
    """
    try:
        found = msgspec.json.decode(text) if form == "JSON" else yaml.safe_load(text)
    except (msgspec.DecodeError, UnicodeDecodeError, yaml.YAMLError) as exc:
        mark = getattr(exc, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        raise WorkflowError(f"it is no valid {form}{line}") from exc
    if not isinstance(found, dict):
        raise WorkflowError("it is no workflow: it must hold names and values")
    return found


def refuse(faults: Sequence[Fault]) -> None:
    """Raise these faults, if there are any.

    Raises:
        WorkflowError: With all of them.
    """
    if faults:
        count = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise WorkflowError(f"the workflow has {count}", faults)
