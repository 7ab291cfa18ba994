"""``blueengine run``: submit a workflow, watch it, get its results."""

import asyncio
import contextlib
import mimetypes
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson
import typer

from blueengine.cli import output
from blueengine.cli.output import Json, Url, UsageError
from blueengine.errors import BlueEngineError, SettingsError

if TYPE_CHECKING:
    from blueengine.client.answers import Outcome
    from blueengine.client.http import Client

INLINE_TYPES: Final = {"json", "text"}
"""Types whose messages are values; those of others are uploaded."""
WHY_AFTER_SECONDS: Final = 2.0
WHY_EVERY_SECONDS: Final = 5.0


def run(
    workflow: Annotated[
        Path, typer.Argument(metavar="WORKFLOW.yml", help="The body of process-workflow, as YAML.")
    ],
    *,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            "-i",
            metavar="CHANNEL=VALUE",
            help="Start data: JSON, plain text, or @FILE. Repeats.",
        ),
    ] = None,
    url: Url = output.DEFAULT_URL,
    timeout: Annotated[
        float, typer.Option(min=0, help="Stop the session after so many seconds; 0: never.")
    ] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Save the results in this folder.", file_okay=False)
    ] = None,
    json: Json = False,
) -> None:
    """Submit a workflow, show how it goes on, print or save its results.

    The exit code is 0 when the session finished, 1 when it failed or was canceled, 2 when something
    is wrong with the command itself. Ctrl-C stops the session.

    Example: blueengine run workflows/hello.yml --input 'Input={"name": "Ada"}'

    Example: blueengine run workflows/ocr.yml --input Document=@scan.pdf --out texts
    """
    body = read_workflow(workflow)
    given = [parse_input(text, body) for text in inputs or ()]
    if out:
        make_folder(out)

    async def work(client: "Client") -> "tuple[Outcome, dict[str, list[str]] | None]":
        outcome = await _run(client, body, given, limit=timeout, quiet=json)
        return outcome, await save(client, outcome, out) if out else None

    try:
        outcome, saved = output.with_client(url, work)
    except KeyboardInterrupt:
        raise typer.Exit(1) from None
    _report(outcome, saved, as_json=json)
    raise typer.Exit(0 if outcome.status == "finished" else 1)


def make_folder(path: Path) -> None:
    """Make a folder, before anything is computed for it.

    Raises:
        UsageError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise UsageError(f"--out {path}: {exc.strerror}") from exc


def read_workflow(path: Path) -> dict[str, Any]:
    """Return the body in a YAML file.

    Raises:
        UsageError: It is no workflow.
    """
    from blueengine.settings.system import read_yaml

    try:
        body = read_yaml(path)
    except SettingsError as exc:
        raise UsageError(str(exc)) from exc
    if not isinstance(body.get("engines"), list) and "engineId" not in body:
        raise UsageError(
            f"{path} is no workflow: it has no list `engines`; see workflows/hello.yml for one"
        )
    return body


def parse_input(text: str, body: Mapping[str, Any]) -> tuple[str, Any]:
    """Return (channel, value), the value being a Path when a file is to be uploaded.

    Raises:
        UsageError: There is no such channel, or no such file.
    """
    channel, equals, word = text.partition("=")
    types = channel_types(body)
    if not equals or channel not in types:
        known = ", ".join(types) or "none"
        raise UsageError(f"--input {text}: write CHANNEL=VALUE; channels of this workflow: {known}")
    kind = types[channel].lower()
    if word.startswith("@"):
        path = Path(word[1:]).expanduser()
        if not path.is_file():
            raise UsageError(f"--input {text}: there is no file {path}")
        if kind not in INLINE_TYPES:
            return channel, path
        word = path.read_text(encoding="utf-8")
    if kind == "text":
        return channel, word
    try:
        return channel, orjson.loads(word)
    except orjson.JSONDecodeError:
        return channel, word


def channel_types(body: Mapping[str, Any]) -> dict[str, str]:
    """Return the channels of a workflow that may get start data, and their types."""
    if "engineId" in body:
        ports = body.get("inputs") or {"Control": {}}
        return {str(name): str((port or {}).get("type", "JSON")) for name, port in ports.items()}
    channels = body.get("dataChannels") or []
    return {
        str(channel.get("name")): str(channel.get("type", "JSON"))
        for channel in channels
        if isinstance(channel, dict)
    }


async def submit(
    client: "Client", body: Mapping[str, Any], given: Sequence[tuple[str, Any]]
) -> "Outcome":
    """Upload what is a file, and submit; what is given wins over start data of that channel."""
    full = dict(body)
    values = []
    for channel, value in given:
        if isinstance(value, Path):
            upload = await client.upload(value)
            kind = mimetypes.guess_type(value.name)[0]
            value = {"fileId": upload.file_id, "name": value.name}
            if kind:
                value["contentType"] = kind
        values.append((channel, value))
    if "engineId" in full:
        ports = {name: dict(port or {}) for name, port in (full.get("inputs") or {}).items()}
        for channel, value in values:
            ports.setdefault(channel, {"type": "JSON"})["payload"] = value
        full["inputs"] = ports
    else:
        replaced = {channel for channel, _ in values}
        kept = [
            item for item in full.get("startData") or [] if item.get("channelName") not in replaced
        ]
        full["startData"] = kept + [
            {"channelName": channel, "payload": value} for channel, value in values
        ]
    return await client.submit(full)


async def _run(
    client: "Client",
    body: Mapping[str, Any],
    given: Sequence[tuple[str, Any]],
    *,
    limit: float,
    quiet: bool,
) -> "Outcome":
    from blueengine.cli import progress

    console = output.console(stderr=True)
    shown = console if console.is_terminal or not quiet else None
    submitted = await submit(client, body, given)
    session = submitted.session_id
    if shown:
        shown.print(session, markup=False)
    board = progress.Board(node_names(body))
    why = asyncio.create_task(_explain(client, session, board, shown), name="why")
    try:
        async with asyncio.timeout(limit or None):
            await progress.show(board, client.events(session), shown)
            outcome = await client.wait(session)
    except (TimeoutError, asyncio.CancelledError) as exc:
        with contextlib.suppress(BlueEngineError):  # it may have ended this moment
            await client.stop(session)
        if isinstance(exc, TimeoutError):
            raise BlueEngineError(
                f"the session did not end within {limit:g} s and was stopped; see why with: "
                f"blueengine sessions show {session}"
            ) from None
        raise
    finally:
        why.cancel()
        await asyncio.wait([why])
    return outcome


async def _explain(client: "Client", session: str, board: Any, shown: Any) -> None:
    """While the session waits, say what for."""
    said = ""
    await asyncio.sleep(WHY_AFTER_SECONDS)
    while board.status in {"", "pending"}:
        with contextlib.suppress(BlueEngineError):
            detail = await client.detail(session)
            if detail.pending:
                lacks = (f"{lack.engine}: {lack.satisfied_by}" for lack in detail.pending.lacking)
                board.note = "; ".join(lacks)
        if shown and not shown.is_terminal and board.note and board.note != said:
            shown.print(f"{board.seconds:7.2f} s  waits: {board.note}", markup=False)
            said = board.note
        await asyncio.sleep(WHY_EVERY_SECONDS)


def node_names(body: Mapping[str, Any]) -> list[str]:
    """Return the names of a workflow's engines, in order."""
    if "engineId" in body:
        return [str(body["engineId"])]
    return [
        str(engine.get("name") or engine.get("id", "?"))
        for engine in body["engines"]
        if isinstance(engine, dict)
    ]


async def save(client: "Client", outcome: "Outcome", folder: Path) -> dict[str, list[str]]:
    """Save results: values as one JSON file a channel, others as a file each; their paths."""
    saved: dict[str, list[str]] = {}
    for channel in outcome.results:
        values: list[Any] = []
        saved[channel] = []
        index = 0
        async for result in client.results(outcome.session_id, channel):
            if is_reference(result):
                path = folder / f"{channel}-{index}{_suffix(result)}"
                await client.download(result["url"], path)
                saved[channel].append(str(path))
            else:
                values.append(result)
            index += 1
        if values:
            path = folder / f"{channel}.json"
            path.write_bytes(orjson.dumps(values, option=orjson.OPT_INDENT_2))
            saved[channel].append(str(path))
    return saved


def is_reference(result: Any) -> bool:
    """Whether a result is one that is fetched by its URL."""
    return isinstance(result, dict) and result.keys() == {"url", "contentType", "size", "meta"}


def _suffix(result: Mapping[str, Any]) -> str:
    name = Path(str((result.get("meta") or {}).get("name") or "")).suffix
    return name or mimetypes.guess_extension(str(result["contentType"]).partition(";")[0]) or ".bin"


def _report(outcome: "Outcome", saved: dict[str, list[str]] | None, *, as_json: bool) -> None:
    error = outcome.process.error
    if as_json:
        facts: dict[str, Any] = {"sessionId": outcome.session_id, "status": outcome.status}
        if error:
            facts["error"] = error
        facts |= {"saved": saved} if saved is not None else {"results": outcome.results}
        output.print_json(facts)
        return
    if saved is not None:
        for paths in saved.values():
            for path in paths:
                typer.echo(path)
    else:
        _print_results(outcome)
    if outcome.status != "finished":
        why = f": {error.message}" if error else ""
        sys.stderr.write(
            f"error: the session {'was ' * (outcome.status == 'canceled')}{outcome.status}{why}; see: "
            f"blueengine sessions show {outcome.session_id}\n"
        )


def _print_results(outcome: "Outcome") -> None:
    for channel, results in outcome.results.items():
        for result in results:
            if is_reference(result):
                text = f"{result['contentType']}, {output.size(result['size'])} (save it with --out DIR)"
            elif isinstance(result, str):
                text = result
            else:
                text = orjson.dumps(result).decode()
            typer.echo(f"{channel}: {text}")
