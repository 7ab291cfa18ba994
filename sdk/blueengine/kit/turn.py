"""What is put off until all that came in one read has been looked at, so that it shares a write."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any


class Turn:
    """A turn of the event loop that may be ended early.

    What is put off within ``with turn:`` is done at the end of the block, without the round
    through the loop that ``call_soon`` takes; anything else in the loop's next turn. Caller:
    tasks and callbacks of one event loop; a block never awaits.
    """

    def __init__(self) -> None:
        """Nothing is put off."""
        self._todo: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self._depth = 0
        self._due = False

    def soon(self, do: Callable[..., object], *args: Any) -> None:
        """Call ``do`` at the end of this turn, in the order of these calls."""
        self._todo.append((do, args))
        if not self._depth and not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._end)

    def __enter__(self) -> None:
        self._depth += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._depth == 1:
                self._do_all()
        finally:
            self._depth -= 1

    def _end(self) -> None:
        self._due = False
        with self:
            pass

    def _do_all(self) -> None:
        while self._todo:
            todo, self._todo = self._todo, []
            for at, (do, args) in enumerate(todo):
                try:
                    do(*args)
                except BaseException:
                    self._todo[:0] = todo[at + 1 :]
                    if not self._due:
                        self._due = True
                        asyncio.get_running_loop().call_soon(self._end)
                    raise
