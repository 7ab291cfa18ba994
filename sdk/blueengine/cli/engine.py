"""``blueengine engine``: for those who write engines."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="For those who write engines.")


@app.callback()
def _group() -> None:
    """For those who write engines."""


@app.command("run")
def run_engine(
    file: Annotated[Path, typer.Argument(help="The engine's .py file.")],
) -> None:
    """Run one instance of an engine, as `python engine.py` does.

    REDIS_URL or BLUEEDGE_COMM_CONFIG say where the platform is. SIGTERM or Ctrl-C drains it.

    Example: blueengine engine run engines/hello/engine.py
    """
    from blueengine.runtime.launch import run_file

    raise typer.Exit(run_file(file))
