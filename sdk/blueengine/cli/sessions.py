"""``blueengine sessions``: list, look at and stop sessions."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from blueengine.cli import output
from blueengine.cli.output import Json, Url, UsageError, Watch
from blueengine.wire.lifecycle import Status

if TYPE_CHECKING:
    from rich.table import Table

    from blueengine.client import AsyncClient
    from blueengine.client.answers import Detail, Row

app = typer.Typer(
    no_args_is_help=True,
    help="List, look at and stop sessions.\n\nExample: blueengine sessions ls --status failed",
)

TITLES: Final = ("SESSION", "STATUS", "CREATED", "ENGINES")
ON_TERMINAL: Final = ("SESSION", "STATUS", "AGE", "ENGINES")
"""An id fills most of a line; what is left is for a short word."""
COMPLETIONS: Final = 50


def complete_session(incomplete: str) -> list[str]:
    """Return the newest sessions' ids for the shell."""

    async def ids(client: "AsyncClient") -> list[str]:
        return [row.session_id for row in (await client.page(limit=COMPLETIONS)).sessions]

    return output.completed(ids, incomplete)


SessionId = Annotated[
    str,
    typer.Argument(metavar="SESSION", help="The session's id.", autocompletion=complete_session),
]


@app.command("ls")
def list_sessions(
    *,
    status: Annotated[Status | None, typer.Option(help="Only these.")] = None,
    engine: Annotated[str, typer.Option(help="Only those that use this engine.")] = "",
    label: Annotated[
        list[str] | None, typer.Option(help="Only those with this label, as name:value. Repeats.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 20,
    watch: Watch = False,
    url: Url = output.DEFAULT_URL,
    json: Json = False,
) -> None:
    """List sessions, newest first.

    Example: blueengine sessions ls --status failed

    Example: blueengine sessions ls --label team:blue --watch
    """
    labels = dict(map(_label, label or ()))

    async def found(client: "AsyncClient") -> "list[Row]":
        rows = client.sessions(status=status or "", engine=engine, labels=labels, limit=limit)
        return [row async for row in rows]

    if watch:

        async def look(client: "AsyncClient") -> "Table":
            return output.table(ON_TERMINAL, _rows(await found(client), output.age))

        output.watch(url, look)
        return
    rows = output.with_client(url, found)
    if json:
        output.print_json(rows)
    elif output.is_terminal():
        output.print_table(ON_TERMINAL, _rows(rows, output.age))
    else:
        output.print_table(TITLES, _rows(rows, str))


def _label(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise UsageError(f"--label {text}: write NAME:VALUE")
    return name, value


def _rows(rows: "Sequence[Row]", when: Callable[[str], str]) -> list[Sequence[str]]:
    return [
        (row.session_id, row.status, when(row.created_at), ",".join(row.engines)) for row in rows
    ]


@app.command("show")
def show_session(
    session: SessionId,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show its course live until it has ended.")
    ] = False,
    url: Url = output.DEFAULT_URL,
    json: Json = False,
) -> None:
    """Show what is known of a session, and why it waits while it does.

    Example: blueengine sessions show session-process-workflow-0-1636105719.5759473-vv6gz93f
    """

    async def work(client: "AsyncClient") -> "Detail":
        from blueengine.cli import progress

        found = client.session(session)
        detail = await found.detail()
        if follow:
            board = progress.Board([part.name for part in detail.sub_sessions])
            await progress.show(
                board, found.events(), None if json else output.console(stderr=True)
            )
            detail = await found.detail()
        return detail

    try:
        detail = output.with_client(url, work)
    except KeyboardInterrupt:
        raise typer.Exit(1) from None
    if json:
        output.print_json(detail)
    else:
        _print(detail)


@app.command("stop")
def stop_session(session: SessionId, *, url: Url = output.DEFAULT_URL, json: Json = False) -> None:
    """Stop a session: one that waits is canceled at once, one that runs is told to stop.

    Example: blueengine sessions stop session-process-workflow-0-1636105719.5759473-vv6gz93f
    """
    status = output.with_client(url, lambda client: client.session(session).stop())
    if json:
        output.print_json({"sessionId": session, "status": status})
    else:
        typer.echo(status)


@app.command("logs")
def session_logs(
    session: SessionId,
    *,
    engine: Annotated[str, typer.Option(help="Only this engine, by its name in the session.")] = "",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the session has ended.")
    ] = False,
    url: Url = output.DEFAULT_URL,
    json: Json = False,
) -> None:
    """Show what engines wrote about a session with context.logger, the last thousand lines or so.

    With --json it is one object a line.

    Example: blueengine sessions logs session-process-workflow-0-1636105719.5759473-vv6gz93f -f
    """

    async def work(client: "AsyncClient") -> None:
        async for line in client.session(session).logs(engine=engine, follow=follow):
            if json:
                output.print_json_line(line)
            else:
                typer.echo(f"{line.at}  {line.level:7}  {line.name}: {line.message}")

    try:
        output.with_client(url, work)
    except KeyboardInterrupt:
        raise typer.Exit(1) from None


def _print(detail: "Detail") -> None:
    attempt = f" (attempt {detail.attempt} of {detail.max_attempts})" * (detail.max_attempts > 1)
    typer.echo(f"{detail.session_id}: {detail.status}{attempt}")
    for name, value in detail.labels.items():
        typer.echo(f"  label {name}: {value}")
    if detail.pending:
        typer.echo(f"  waits behind {detail.pending.position} others")
        for lack in detail.pending.lacking:
            typer.echo(f"  {lack.engine}: {lack.satisfied_by}")
    if detail.error:
        typer.echo(f"  {detail.error.code}: {detail.error.message}")
        if detail.error.traceback:
            typer.echo(detail.error.traceback.rstrip())
    typer.echo("")
    output.print_table(
        ("ENGINE", "STATUS", "INSTANCE", "CALLS", "IN", "OUT", "BUSY"),
        [
            (
                part.name,
                part.status,
                part.instance or "-",
                str(part.calls),
                f"{part.messages_in} ({output.size(part.bytes_in)})",
                f"{part.messages_out} ({output.size(part.bytes_out)})",
                output.milliseconds(part.busy_ms),
            )
            for part in detail.sub_sessions
        ],
    )
    typer.echo("")
    output.print_table(
        ("AFTER", "STATUS"),
        [(output.milliseconds(step.after_ms), step.status) for step in detail.timeline],
    )
