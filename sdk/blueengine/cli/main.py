"""The entry point of ``blueengine``: puts the commands together and turns errors into one line.

Exit codes: 0 all is well, 1 it failed, 2 the command was used wrongly.
"""

import os
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final

from blueengine.errors import BlueEngineError

if TYPE_CHECKING:
    import typer

GROUP: Final = "blueengine.commands"
MISSING: Final = "error: this command needs more packages: pip install 'blueengine[cli]'\n"


def main() -> int:
    """Run the command line; the exit code."""
    try:
        app = build()
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] not in {"httpx", "rich", "typer"}:
            raise
        sys.stderr.write(MISSING)
        return 1
    return run(app)


def run(app: Callable[..., Any]) -> int:
    """Run ``app`` on the arguments of this process; the exit code."""
    try:
        code = app(prog_name="blueengine", standalone_mode=True)
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    except BlueEngineError as exc:
        sys.stderr.write(f"error: {exc}\n")
        return 2 if exc.code == "usage" else 1
    except BrokenPipeError:  # `blueengine sessions ls | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code if isinstance(code, int) else 0


def build() -> "typer.Typer":
    """Return the application with every command."""
    import typer

    from blueengine.cli import engine, engines, new_engine, run_workflow, sessions

    app = typer.Typer(
        name="blueengine",
        help="Run graphs of engines as sessions.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name, reverse=True):
        app.command(point.name)(point.load())
    app.command("run")(run_workflow.run)
    app.command("new-engine")(new_engine.new_engine)
    app.add_typer(sessions.app, name="sessions")
    app.add_typer(engines.app, name="engines")
    app.add_typer(engine.app, name="engine")
    return app


if __name__ == "__main__":
    sys.exit(main())
