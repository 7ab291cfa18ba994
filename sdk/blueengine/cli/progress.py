"""How a session goes on, live: a table on a terminal, a line per event on anything else."""

import time
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from blueengine.client.answers import Event

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_WORDS = {
    "pending": "waits for a slot",
    "queuing": "is made ready",
    "processing": "works",
    "stopping": "is stopping",
}
"""What an engine does while its session is in this status."""


@dataclass
class Row:
    """What is known of one engine of the session."""

    name: str
    status: str = ""
    done: float = 0.0
    total: float = 0.0
    message: str = ""


class Board:
    """The state of a session as its events tell it."""

    def __init__(
        self, nodes: Sequence[str], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Show these engines, in this order."""
        self.rows = {name: Row(name) for name in nodes}
        self.status = ""
        self.results: dict[str, int] = {}
        self.note = ""
        """Why the session waits, when that is known."""
        self._clock = clock
        self._began = clock()

    @property
    def seconds(self) -> float:
        """Since the board was made."""
        return self._clock() - self._began

    def feed(self, event: Event) -> str:
        """Take an event; what to say about it in one line, or nothing."""
        data = event.data
        match event.name:
            case "status":
                return self._session(str(data.get("status", "")))
            case "part":
                row = self._row(data)
                row.status = str(data.get("status", ""))
                return f"{row.name} {row.status}"
            case "results":
                channel, count = str(data.get("channel", "")), int(data.get("count", 0))
                self.results[channel] = count
                return f"{channel}: {count} result{'s' * (count != 1)}"
            case "progress":
                return self._progress(self._row(data), data.get("body"))
            case "error" | "finish":
                return ""  # the part's status says it
            case _:
                return f"{self._row(data).name}: {event.name}"

    def _session(self, status: str) -> str:
        self.status, self.note = status, ""
        for row in self.rows.values():
            if status in _WORDS and row.status in {"", *_WORDS.values()}:
                row.status = _WORDS[status]
            if status == "pending":
                row.status, row.done, row.total, row.message = _WORDS[status], 0.0, 0.0, ""
        return f"session {status}"

    def _progress(self, row: Row, body: Any) -> str:
        if not isinstance(body, dict):
            return ""
        row.done, row.total = float(body.get("done") or 0), float(body.get("total") or 0)
        row.message = str(body.get("message") or "")
        amount = f"{row.done:g}/{row.total:g}" if row.total else f"{row.done:g}"
        return f"{row.name} {amount} {row.message}".rstrip()

    def _row(self, data: dict[str, Any]) -> Row:
        name = str(data.get("name", "?"))
        return self.rows.setdefault(name, Row(name))

    def table(self) -> "Table":
        """Return the board for a terminal."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for row in self.rows.values():
            share = 1.0 if row.status == "finished" else row.done
            total = 1.0 if row.status == "finished" else (row.total or None)
            moving = row.status == _WORDS["processing"]
            bar = ProgressBar(
                total=total if total or moving else 1.0,
                completed=share,
                width=24,
                pulse=moving and not total,
            )
            table.add_row(Text(f"  {row.name}"), bar, Text(row.status), Text(row.message))
        found = ", ".join(f"{channel} {count}" for channel, count in self.results.items())
        line = f"  {self.seconds:.1f} s  session {self.status or 'submitted'}"
        table.add_row(Text(line), Text(f"results: {found}" if found else ""))
        if self.note:
            table.add_row(Text(f"  {self.note}", overflow="fold"))
        return table


async def show(board: Board, events: AsyncIterator[Event], console: "Console | None") -> None:
    """Follow the events to their end, showing the board on ``console`` (None: show nothing)."""
    with _shown(board, console) as say:
        async for event in events:
            say(board.feed(event))


@contextmanager
def _shown(board: Board, console: "Console | None") -> Generator[Callable[[str], None], None, None]:
    if console is None:
        yield lambda _: None
    elif console.is_terminal:
        from rich.live import Live

        with Live(
            get_renderable=board.table, console=console, refresh_per_second=12, transient=False
        ):
            yield lambda _: None
    else:

        def say(text: str) -> None:
            if text:
                console.print(f"{board.seconds:7.2f} s  {text}", markup=False)

        yield say
