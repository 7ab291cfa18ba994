"""The entry point of ``blueengine``: puts the commands together and turns errors into one line.

Exit codes: 0 all is well, 1 it failed, 2 the command was used wrongly. Only the module of the
command that is called is imported; help and shell completion import all of them.
"""

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from blueengine.errors import BlueEngineError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    import typer

GROUP: Final = "blueengine.commands"
"""Entry points of commands that come from outside the SDK."""
GROUPS: Final = {
    "sessions": "blueengine.cli.sessions",
    "engines": "blueengine.cli.engines",
    "engine": "blueengine.cli.engine",
    "webhooks": "blueengine.cli.webhooks",
    "keys": "blueengine.cli.keys",
    "tenants": "blueengine.cli.tenants",
}
"""Command -> module whose ``app`` holds its subcommands."""
COMMANDS: Final = {"run": "blueengine.cli.run_workflow", "new-engine": "blueengine.cli.new_engine"}
"""Command -> module with a function of that name."""
KEY_OPTION: Final = "--api-key"
KEY_VARIABLE: Final = "BLUEENGINE_API_KEY"
MISSING: Final = "error: this command needs more packages: pip install 'blueengine[cli]'\n"
OF_THE_EXTRA: Final = frozenset({"httpx", "rich", "typer"})

HELP: Final = """Run graphs of engines as sessions.

BLUEENGINE_URL names the platform. Where it wants a key, BLUEENGINE_API_KEY holds yours, or
--api-key KEY anywhere on the line (which others on this machine can see). NO_COLOR turns colours off.

Example: blueengine run workflows/hello.yml --input 'Input={"name": "Ada"}'
"""


def main() -> int:
    """Run the command line; the exit code."""
    try:
        words = take_key(sys.argv[1:])
        return run(build(words), words)
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] not in OF_THE_EXTRA:
            raise
        sys.stderr.write(MISSING)
        return 1


def take_key(words: Sequence[str]) -> list[str]:
    """Return the words without ``--api-key``, which is for every command; its value is kept."""
    left = list(words)
    end = left.index("--") if "--" in left else len(left)
    for at, word in enumerate(left[:end]):
        name, is_one, value = word.partition("=")
        if name == KEY_OPTION and (is_one or at + 1 < end):
            os.environ[KEY_VARIABLE] = value if is_one else left[at + 1]
            del left[at : at + (1 if is_one else 2)]
            break
    return left


def run(app: Callable[..., Any], words: Sequence[str] | None = None) -> int:
    """Run ``app`` on these words, or the arguments of this process; the exit code."""
    try:
        code = app(words, prog_name="blueengine", standalone_mode=True)
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    except BlueEngineError as exc:
        sys.stderr.write(f"error: {' '.join(str(exc).split())}\n")
        return 2 if exc.code == "usage" else 1
    except BrokenPipeError:  # `blueengine sessions ls | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code if isinstance(code, int) else 0


def build(words: Sequence[str] = ()) -> "typer.Typer":
    """Return the application with the command that ``words`` call, or with every command."""
    import typer

    app = typer.Typer(
        name="blueengine",
        help=HELP,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        callback=_root,
    )
    called = words[0] if words else ""
    known = called in GROUPS or called in COMMANDS
    outside = {} if known else _outside()
    for name in _only(called, sorted(outside, reverse=True)):
        app.command(name)(outside[name].load())
    for name in _only(called, COMMANDS):
        app.command(name)(getattr(import_module(COMMANDS[name]), name.replace("-", "_")))
    for name in _only(called, GROUPS):
        app.add_typer(import_module(GROUPS[name]).app, name=name)
    if not app.registered_commands and not app.registered_groups:
        return build()  # --help, a completion, a command that is not there
    return app


def _root() -> None:
    """Make the application one of subcommands, however many there are."""


def _only(called: str, names: Sequence[str] | dict[str, str]) -> list[str]:
    return [name for name in names if called in {"", name}]


def _outside() -> "dict[str, EntryPoint]":
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=GROUP)}


if __name__ == "__main__":
    sys.exit(main())
