"""``blueengine engine``: for those who write engines."""

from pathlib import Path
from typing import Annotated

import typer

from blueengine.cli import output
from blueengine.cli.output import Json, Url

app = typer.Typer(
    no_args_is_help=True,
    help="For those who write engines.\n\nExample: blueengine engine run engines/hello/engine.py",
)


@app.callback()
def _group() -> None:
    """For those who write engines."""


@app.command("run")
def run_engine(
    file: Annotated[Path, typer.Argument(help="The engine's .py file.")],
    *,
    reload: Annotated[
        bool, typer.Option("--reload", help="Restart when a file below its folder changes.")
    ] = False,
) -> None:
    """Run one instance of an engine, as `python engine.py` does.

    REDIS_URL or BLUEEDGE_COMM_CONFIG say where the platform is. SIGTERM or Ctrl-C drains it.

    Example: blueengine engine run engines/hello/engine.py --reload
    """
    if reload:
        from blueengine.cli.reload import run_reloading

        raise typer.Exit(run_reloading(file, say=lambda text: typer.echo(text, err=True)))
    from blueengine.runtime.start import run_file

    raise typer.Exit(run_file(file))


@app.command("replay")
def replay_session(
    session: Annotated[str, typer.Argument(metavar="SESSION", help="The session's id.")],
    file: Annotated[Path, typer.Argument(help="The engine's .py file.")],
    *,
    node: Annotated[str, typer.Option(help="Its name in the graph, if it is there twice.")] = "",
    url: Url = output.DEFAULT_URL,
    json: Json = False,
) -> None:
    """Run an engine here on what it received in a session, in this process: a debugger works.

    The channels it reads must have been kept: "interested": true. No platform's slot is taken, and
    nothing is sent to other engines.

    Example: blueengine engine replay session-process-workflow-0-1636105719.5-vv6gz93f engine.py
    """
    from blueengine.cli.replay import replay

    raise typer.Exit(replay(session, file, node=node, url=url, as_json=json))
