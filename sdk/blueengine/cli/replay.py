"""``blueengine engine replay``: run an engine again on what it received in a session.

A session with ``"record": true`` keeps what each engine received, in order, until its time to live is
over. Of any other session only channels that are ``interested`` are kept, and not the order between two
of them; their messages are sent by turns then.
"""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import orjson
import typer

from blueengine.cli import output
from blueengine.cli.output import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from blueengine.client import AsyncClient
    from blueengine.client.answers import Detail, Node
    from blueengine.testing import Outcome


Message = tuple[str, Any]
MESSAGES: Final = "messages"
"""The recording, in the folder it is downloaded to."""
_UNKNOWN: Final = "application/octet-stream"
"""What the gateway says of a message whose sender did not say."""


def replay(session: str, file: Path, *, node: str, url: str, as_json: bool) -> int:
    """Run the engine in ``file`` on what its node received in ``session``; the exit code."""
    from blueengine.testing import load, running

    engine = load(file)
    with tempfile.TemporaryDirectory(prefix="blueengine-replay-") as folder:

        async def fetch(client: "AsyncClient") -> tuple[list[str], Iterable[Message]]:
            detail = await client.session(session).detail()
            played = choose(detail, engine.settings.id, node)
            ports = [link.name for link in played.inputs]
            if detail.recorded:
                await fetch_recording(client, session, played, Path(folder))
                return ports, recorded(detail, played, Path(folder))
            return ports, by_turns(await kept(client, session, detail, played, Path(folder)))

        ports, messages = output.with_client(url, fetch)
        with running(engine, virtual_time=False) as run:
            driven = run.begin(inputs=ports)
            for port, value in messages:
                driven.send(port, value)
            outcome = driven.wait(timeout=24 * 3600)
            _report(outcome, as_json=as_json)
    return 0 if outcome.status == "finished" else 1


def choose(detail: "Detail", engine: str, name: str) -> "Node":
    """Return the node of the session's graph that this engine played.

    Raises:
        UsageError: There is none, or more than one and no ``name``.
    """
    played = [node for node in detail.dag.engines if node.id == engine and name in {"", node.name}]
    if len(played) == 1:
        return played[0]
    if not played:
        told = ", ".join(f"{node.name} ({node.id})" for node in detail.dag.engines)
        raise UsageError(f"engine {engine!r} took no part in this session; in it were: {told}")
    told = ", ".join(node.name for node in played)
    raise UsageError(f"engine {engine!r} played several parts; choose one with --node: {told}")


async def fetch_recording(client: "AsyncClient", session: str, node: "Node", folder: Path) -> None:
    """Download the recording of a node: its messages, and large payloads beside them."""
    from blueengine.wire import recording

    route = f"/api/v1/sessions/{quote(session, safe='')}/recordings/{quote(node.name, safe='')}"
    messages = await client.download(route, folder / MESSAGES)
    with messages.open("rb") as lines:
        for entry in recording.read(lines):
            if isinstance(entry, recording.Received) and entry.blob is not None:
                await client.download(f"{route}/{entry.blob}", folder / str(entry.blob))


def recorded(detail: "Detail", node: "Node", folder: Path) -> Iterator[Message]:
    """Yield (input port, message) of a downloaded recording, as the engine got them."""
    from blueengine.datatypes import base
    from blueengine.wire import recording

    types = {channel.name: channel.type for channel in detail.dag.data_channels}
    with (folder / MESSAGES).open("rb") as lines:
        for entry in recording.read(lines):
            if isinstance(entry, recording.Cut):
                typer.echo(f"the recording is not whole: {entry.cut}", err=True)
                return
            file = None if entry.blob is None else folder / str(entry.blob)
            message = base.Incoming(entry.payload, entry.meta or base.NO_META, file, lambda: folder)
            for link in node.inputs:
                if link.link_to == entry.channel:
                    yield link.name, base.get(types[entry.channel]).decode(message)


def by_turns(inputs: "Mapping[str, Sequence[Any]]") -> Iterator[Message]:
    """Yield the messages of several input ports, one of each at a time."""
    for turn in range(max(map(len, inputs.values()), default=0)):
        for port, values in inputs.items():
            if turn < len(values):
                yield port, values[turn]


async def kept(
    client: "AsyncClient", session: str, detail: "Detail", node: "Node", folder: Path
) -> dict[str, list[Any]]:
    """Return input port -> its messages in order, as the engine gets them.

    Raises:
        UsageError: A channel was not kept.
    """
    channels = {channel.name: channel for channel in detail.dag.data_channels}
    missing = sorted(
        {link.link_to for link in node.inputs if not channels[link.link_to].interested}
    )
    if missing:
        raise UsageError(
            f"the session did not keep what came on {', '.join(missing)}; submit it again with"
            ' "record": true, and replay the new session'
        )
    found: dict[str, list[Any]] = {}
    for link in node.inputs:
        kind = channels[link.link_to].type
        pages = client.session(session).results(link.link_to, follow=False)
        values = found[link.name] = []
        async for result in pages:
            path = folder / f"{link.name}-{len(values)}"
            values.append(await _value(client, kind, result, path))
    return found


async def _value(client: "AsyncClient", kind: str, result: Any, path: Path) -> Any:
    """Return a recorded message as the value that a reader gets."""
    from blueengine.client import Blob
    from blueengine.datatypes import base
    from blueengine.wire.envelope import Meta

    if not isinstance(result, Blob):
        return result
    path = await client.download(result, path)
    facts = dict(result.meta)
    meta = Meta(
        content_type="" if result.content_type == _UNKNOWN else result.content_type,
        name=str(facts.pop("name", "")),
        shape=tuple(facts.pop("shape", ())),
        dtype=str(facts.pop("dtype", "")),
        sha256=str(facts.pop("sha256", "")),
        facts=facts,
    )
    return base.get(kind).decode(base.Incoming(b"", meta, path, lambda: path.parent))


def _report(outcome: "Outcome", *, as_json: bool) -> None:
    shown = {
        channel: [_shown(value) for value in values] for channel, values in outcome.outputs.items()
    }
    if as_json:
        facts = {
            "status": outcome.status,
            "outputs": shown,
            "said": list(outcome.said),
            "error": outcome.error,
            "traceback": outcome.traceback,
        }
        output.print_json(facts)
        return
    for channel, values in shown.items():
        for value in values:
            typer.echo(f"{channel}: {orjson.dumps(value).decode()}")
    typer.echo(f"{outcome.status} after {outcome.calls} calls", err=True)
    if outcome.error:
        typer.echo(outcome.traceback or outcome.error, err=True)


def _shown(value: Any) -> Any:
    """Return a value that JSON can hold: binary ones as what they are."""
    if isinstance(value, (bytes, bytearray)):
        return f"{len(value)} bytes"
    if isinstance(value, (str, int, float, list, dict, type(None))):
        return value
    array = getattr(value, "array", None)
    return f"{type(value).__name__} {array.shape}" if array is not None else repr(value)
