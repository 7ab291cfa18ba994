"""``blueengine engine``: for those who write engines."""

from pathlib import Path
from typing import Annotated

import typer

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
    from blueengine.runtime.launch import run_file

    raise typer.Exit(run_file(file))
