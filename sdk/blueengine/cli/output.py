"""What commands share: the URL option, running a coroutine, printing."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import orjson
import typer

from blueengine.errors import BlueEngineError

if TYPE_CHECKING:
    from rich.console import Console

    from blueengine.client.http import Client

T = TypeVar("T")

DEFAULT_URL: Final = "http://127.0.0.1:8080"

Url = Annotated[
    str, typer.Option("--url", envvar="BLUEENGINE_URL", show_envvar=True, help="The platform.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


class UsageError(BlueEngineError):
    """The command was used wrongly: exit code 2."""

    code = "usage"


def console(*, stderr: bool = False) -> "Console":
    """Return a console: colours on a terminal unless NO_COLOR is set."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=True)


def with_client(url: str, work: "Callable[[Client], Coroutine[Any, Any, T]]") -> T:
    """Run ``work`` with a client of the platform at ``url``."""
    from blueengine.client.http import Client

    async def run() -> T:
        async with Client(url) as client:
            return await work(client)

    return asyncio.run(run())


def print_json(value: object) -> None:
    """Print JSON: indented for a person, one line for a pipe."""
    option = orjson.OPT_INDENT_2 if sys.stdout.isatty() else 0
    sys.stdout.write(orjson.dumps(value, option=option, default=_plain).decode() + "\n")


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under titles; plain columns, so that they can be cut and searched."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    last = len(widths) - 1
    for row in (titles, *rows):
        cells = [
            cell if at == last else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


def milliseconds(value: float | None) -> str:
    """Return a duration as a person reads it."""
    if value is None:
        return "-"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.2f} s"


def size(count: float) -> str:
    """Return a number of bytes as a person reads it."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def _plain(value: object) -> object:
    import msgspec

    return msgspec.to_builtins(value)
