"""What commands share: options, a client of the platform, and how things are printed.

On a terminal tables have colours and fit the width; on a pipe they are plain columns, whole, to be
cut and searched. ``--json`` is for scripts: indented for a person, one line for a pipe.
"""

import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from blueengine.errors import BlueEngineError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from blueengine.client import AsyncClient

T = TypeVar("T")

DEFAULT_URL: Final = "http://127.0.0.1:8080"
COMPLETION_SECONDS: Final = 1.0

Url = Annotated[
    str, typer.Option("--url", envvar="BLUEENGINE_URL", show_envvar=True, help="The platform.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Show it again and again until Ctrl-C.")]
WATCH_SECONDS: Final = 2.0

STYLES: Final = {
    "finished": "green",
    "failed": "bold red",
    "canceled": "yellow",
    "stopping": "yellow",
    "processing": "cyan",
    "queuing": "cyan",
    "ready": "cyan",
    "starting": "cyan",
    "pending": "dim",
    "dead": "bold red",
    "delivered": "green",
    "revoked": "yellow",
}
"""Words that have a colour wherever they stand alone in a cell."""


class UsageError(BlueEngineError):
    """The command was used wrongly: exit code 2."""

    code = "usage"


def console(*, stderr: bool = False) -> "Console":
    """Return a console: colours on a terminal unless NO_COLOR is set."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=True)


def with_client(url: str, work: "Callable[[AsyncClient], Coroutine[Any, Any, T]]") -> T:
    """Run ``work`` with a client of the platform at ``url``."""
    import asyncio

    from blueengine.client import AsyncClient

    async def run() -> T:
        async with AsyncClient(url) as client:
            return await work(client)

    return asyncio.run(run())


def completed(
    work: "Callable[[AsyncClient], Coroutine[Any, Any, Iterable[str]]]", incomplete: str
) -> list[str]:
    """Return words of the platform that begin so, for the shell; none when it is not there."""
    import asyncio
    import os

    async def briefly(client: "AsyncClient") -> Iterable[str]:
        async with asyncio.timeout(COMPLETION_SECONDS):
            return await work(client)

    try:
        found = with_client(os.environ.get("BLUEENGINE_URL") or DEFAULT_URL, briefly)
    except (BlueEngineError, TimeoutError):
        return []
    return [word for word in found if word.startswith(incomplete)]


def is_terminal() -> bool:
    """Say whether what is printed is read by a person."""
    return sys.stdout.isatty()


def print_json(value: object) -> None:
    """Print JSON: indented for a person, one line for a pipe."""
    import orjson

    option = orjson.OPT_INDENT_2 if is_terminal() else 0
    sys.stdout.write(orjson.dumps(value, option=option, default=_plain).decode() + "\n")


def print_json_line(value: object) -> None:
    """Print one line of JSON at once, for what goes on and on."""
    import orjson

    sys.stdout.write(orjson.dumps(value, default=_plain).decode() + "\n")
    sys.stdout.flush()


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under titles."""
    if is_terminal():
        console().print(table(titles, rows))
        return
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    last = len(widths) - 1
    for row in (titles, *rows):
        cells = [
            cell if at == last else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> "Table":
    """Return rows under titles for a terminal; the first column is always whole."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold")
    for at, title in enumerate(titles):
        made.add_column(title, no_wrap=at == 0, overflow="fold")
    for row in rows:
        made.add_row(*[Text(cell, style=STYLES.get(cell, "")) for cell in row])
    return made


def watch(url: str, look: "Callable[[AsyncClient], Coroutine[Any, Any, RenderableType]]") -> None:
    """Show what ``look`` returns, anew every few seconds, until Ctrl-C.

    Raises:
        UsageError: There is no terminal to show it on.
    """
    import asyncio

    from rich.live import Live

    if not is_terminal():
        raise UsageError("--watch needs a terminal; without it, repeat the command with --json")

    async def run(client: "AsyncClient") -> None:
        with Live(await look(client), console=console(), auto_refresh=False) as live:
            while True:
                await asyncio.sleep(WATCH_SECONDS)
                live.update(await look(client), refresh=True)

    try:
        with_client(url, run)
    except KeyboardInterrupt:
        return


def milliseconds(value: float | None) -> str:
    """Return a duration as a person reads it."""
    if value is None:
        return "-"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.2f} s"


def age(then: str) -> str:
    """Return how long ago a time of the platform is, in its largest unit."""
    from datetime import datetime

    from blueengine.kit.clock import SystemClock

    seconds = max(0, int(SystemClock().unix() - datetime.fromisoformat(then).timestamp()))
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


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
