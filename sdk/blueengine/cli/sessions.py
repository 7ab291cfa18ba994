"""``blueengine sessions``: list, look at and stop sessions."""

from typing import TYPE_CHECKING, Annotated

import typer

from blueengine.cli import output
from blueengine.cli.output import Json, Url

if TYPE_CHECKING:
    from blueengine.client.answers import Detail

app = typer.Typer(no_args_is_help=True, help="List, look at and stop sessions.")

SessionId = Annotated[str, typer.Argument(metavar="SESSION", help="The session's id.")]


@app.command("ls")
def list_sessions(
    *,
    status: Annotated[str, typer.Option(help="Only these: pending, processing, failed …")] = "",
    engine: Annotated[str, typer.Option(help="Only those that use this engine.")] = "",
    label: Annotated[str, typer.Option(help="Only those with this label, as name:value.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many.")] = 20,
    url: Url = output.DEFAULT_URL,
    json: Json = False,
) -> None:
    """List sessions, newest first.

    Example: blueengine sessions ls --status failed
    """
    page = output.with_client(
        url,
        lambda client: client.sessions(status=status, engine=engine, label=label, limit=limit),
    )
    if json:
        output.print_json(page.sessions)
        return
    rows = [
        (row.session_id, row.status, row.created_at, ",".join(row.engines)) for row in page.sessions
    ]
    output.print_table(("SESSION", "STATUS", "CREATED", "ENGINES"), rows)


@app.command("show")
def show_session(session: SessionId, *, url: Url = output.DEFAULT_URL, json: Json = False) -> None:
    """Show what is known of a session, and why it waits while it does.

    Example: blueengine sessions show session-process-workflow-0-1636105719.5759473-vv6gz93f
    """
    detail = output.with_client(url, lambda client: client.detail(session))
    if json:
        output.print_json(detail)
        return
    _print(detail)


@app.command("stop")
def stop_session(session: SessionId, *, url: Url = output.DEFAULT_URL, json: Json = False) -> None:
    """Stop a session: one that waits is canceled at once, one that runs is told to stop.

    Example: blueengine sessions stop session-process-workflow-0-1636105719.5759473-vv6gz93f
    """
    status = output.with_client(url, lambda client: client.stop(session))
    if json:
        output.print_json({"sessionId": session, "status": status})
    else:
        typer.echo(status)


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
