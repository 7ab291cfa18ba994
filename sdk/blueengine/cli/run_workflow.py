"""``blueengine run``: submit a workflow, watch it, get its results."""

import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from blueengine.cli import output
from blueengine.cli.output import Json, Url, UsageError
from blueengine.errors import BlueEngineError

if TYPE_CHECKING:
    from blueengine.client import AsyncClient, AsyncSession, Blob, Outcome
    from blueengine.client.aio import RunOptions
    from blueengine.client.jobs import Job

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
            help="Start data: JSON, plain text, or @FILE. Repeats, also for one channel.",
        ),
    ] = None,
    url: Url = output.DEFAULT_URL,
    timeout: Annotated[
        float, typer.Option(min=0, help="Stop the session after so many seconds; 0: never.")
    ] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Save the results in this folder.", file_okay=False)
    ] = None,
    record: Annotated[
        bool,
        typer.Option(
            "--record", help="Keep what each engine gets, for `blueengine engine replay`."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Submit a workflow, show how it goes on, print or save its results.

    The exit code is 0 when the session finished, 1 when it failed or was canceled, 2 when something
    is wrong with the command itself. Ctrl-C stops the session.

    Example: blueengine run workflows/hello.yml --input 'Input={"name": "Ada"}'

    Example: blueengine run workflows/ocr.yml --input Document=@scan.pdf --out texts

    Example: blueengine run workflows/ocr.yml --input Document=@scan.pdf --record
    """
    job = read_workflow(workflow)
    given = collect([parse_input(text, job) for text in inputs or ()])
    if out:
        make_folder(out)

    async def work(client: "AsyncClient") -> "tuple[Outcome, dict[str, list[str]] | None]":
        outcome = await _run(client, job, given, limit=timeout, record=record, quiet=json)
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


def read_workflow(path: Path) -> "Job":
    """Return what is in a workflow file.

    Raises:
        UsageError: It is no workflow.
    """
    from blueengine.client import WorkflowError, load

    try:
        return load(path)
    except WorkflowError as exc:
        raise UsageError(f"{exc}; see workflows/hello.yml for one") from exc


def parse_input(text: str, job: "Job") -> tuple[str, Any]:
    """Return (channel, value), the value being a Path when a file is to be uploaded.

    Raises:
        UsageError: There is no such channel, or no such file.
    """
    import orjson

    channel, equals, word = text.partition("=")
    types = job.inputs
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


def collect(given: "Iterable[tuple[str, Any]]") -> dict[str, Any]:
    """Return channel -> its messages, in the order they were given."""
    from blueengine.client import Many

    found: dict[str, list[Any]] = {}
    for channel, value in given:
        found.setdefault(channel, []).append(value)
    return {channel: Many(values) for channel, values in found.items()}


async def _run(
    client: "AsyncClient",
    job: "Job",
    given: dict[str, Any],
    *,
    limit: float,
    record: bool,
    quiet: bool,
) -> "Outcome":
    import asyncio

    from blueengine.cli import progress

    console = output.console(stderr=True)
    shown = console if console.is_terminal or not quiet else None
    options: RunOptions = {"record": True} if record else {}  # the file may say so, too
    session = await client.submit(job, given, **options)
    if shown:
        shown.print(session.id, markup=False)
    board = progress.Board(list(job.nodes))
    why = asyncio.create_task(_explain(session, board, shown), name="why")
    try:
        async with asyncio.timeout(limit or None):
            await progress.show(board, session.events(), shown)
            outcome = await session.wait()
    except (TimeoutError, asyncio.CancelledError) as exc:
        with suppress(BlueEngineError):  # it may have ended this moment
            await session.stop()
        if isinstance(exc, TimeoutError):
            raise BlueEngineError(
                f"the session did not end within {limit:g} s and was stopped; see why with: "
                f"blueengine sessions show {session.id}"
            ) from None
        raise
    finally:
        why.cancel()
        await asyncio.wait([why])
    return outcome


async def _explain(session: "AsyncSession", board: Any, shown: Any) -> None:
    """While the session waits, say what for."""
    import asyncio

    said = ""
    await asyncio.sleep(WHY_AFTER_SECONDS)
    while board.status in {"", "pending"}:
        with suppress(BlueEngineError):
            detail = await session.detail()
            if detail.pending:
                lacks = (f"{lack.engine}: {lack.satisfied_by}" for lack in detail.pending.lacking)
                board.note = "; ".join(lacks)
        if shown and not shown.is_terminal and board.note and board.note != said:
            shown.print(f"{board.seconds:7.2f} s  waits: {board.note}", markup=False)
            said = board.note
        await asyncio.sleep(WHY_EVERY_SECONDS)


async def save(client: "AsyncClient", outcome: "Outcome", folder: Path) -> dict[str, list[str]]:
    """Save results: values as one JSON file a channel, others as a file each; their paths."""
    import orjson

    from blueengine.client import Blob

    saved: dict[str, list[str]] = {}
    for channel, results in outcome.results.items():
        values: list[Any] = []
        saved[channel] = []
        for index, result in enumerate(results):
            if isinstance(result, Blob):
                path = folder / f"{channel}-{index}{_suffix(result)}"
                saved[channel].append(str(await client.download(result, path)))
            else:
                values.append(result)
        if values:
            path = folder / f"{channel}.json"
            path.write_bytes(orjson.dumps(values, option=orjson.OPT_INDENT_2))
            saved[channel].append(str(path))
    return saved


def _suffix(blob: "Blob") -> str:
    import mimetypes

    kind = blob.content_type.partition(";")[0]
    return Path(blob.name).suffix or mimetypes.guess_extension(kind) or ".bin"


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
    import orjson

    from blueengine.client import Blob

    for channel, results in outcome.results.items():
        for result in results:
            if isinstance(result, Blob):
                text = f"{result.content_type}, {output.size(result.size)} (save it with --out DIR)"
            elif isinstance(result, str):
                text = result
            else:
                text = orjson.dumps(result).decode()
            typer.echo(f"{channel}: {text}")
