"""Which messages make one call of process_func. Pure.

Without ``required_channels`` every message is a call of its own. With them, a call takes the next
message of each required channel (first with first, second with second); messages of other
channels join the next call. The last message of a ``keep_channels`` channel is repeated in later
calls, and satisfies a requirement once it has come.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, Protocol, TypeVar

T = TypeVar("T")

AT_ONCE: Final = 64
"""Calls that are made at a time of what waits: it may be more than there is memory for."""


class Queue(Protocol[T]):
    """Where the messages of a channel wait for those of another."""

    def append(self, message: T, /) -> None:
        """Put a message behind all others."""

    def popleft(self) -> T:
        """Take the first."""

    def __len__(self) -> int:
        """Return how many wait."""


def _in_memory(_: str) -> Queue[Any]:
    return deque()


class Join(Generic[T]):
    """The messages of one session that wait at one step."""

    def __init__(
        self,
        required: Iterable[str] = (),
        keep: Iterable[str] = (),
        *,
        queue: Callable[[str], Queue[T]] = _in_memory,
    ) -> None:
        """Join by these channels; ``queue`` makes what the messages of one wait in."""
        self._required = tuple(dict.fromkeys(required))
        self._keep = frozenset(keep)
        self.single = not self._required and not self._keep
        """Whether every message is a call of its own."""
        self._queue = queue
        self._waiting = {name: queue(name) for name in self._required}
        self._kept: dict[str, T] = {}
        self._beside: dict[str, Queue[T]] = {}

    def offer(self, channel: str, message: T, at_most: int = AT_ONCE) -> list[dict[str, T]]:
        """Take a message; return calls it makes possible, in order, ``at_most`` so many: see ``more``."""
        if not self._required:
            if channel in self._keep:
                self._kept[channel] = message
            return [{**self._kept, channel: message}]
        if channel in self._keep:
            self._kept[channel] = message
        elif channel in self._waiting:
            self._waiting[channel].append(message)
        else:
            if channel not in self._beside:
                self._beside[channel] = self._queue(channel)
            self._beside[channel].append(message)
        calls: list[dict[str, T]] = []
        while self._complete():
            calls.append(self._take())
            if not self._goes_on() or len(calls) >= at_most:
                break
        return calls

    def more(self) -> list[dict[str, T]]:
        """Return further calls that are possible; none when ``offer`` and this have made them all."""
        calls: list[dict[str, T]] = []
        while self._goes_on() and self._complete() and len(calls) < AT_ONCE:
            calls.append(self._take())
        return calls

    def missing(self) -> list[str]:
        """Return the required channels of which no message is there."""
        return [n for n in self._required if n not in self._kept and not len(self._waiting[n])]

    def leftover(self) -> dict[str, int]:
        """Return how many messages of each required channel never found their partners."""
        return {name: len(queue) for name, queue in self._waiting.items() if len(queue)}

    def _goes_on(self) -> bool:
        """Whether a further call uses anything up; else one message would make calls without end."""
        return any(name not in self._keep for name in self._required) or any(
            map(len, self._beside.values())
        )

    def _complete(self) -> bool:
        return all(name in self._kept or len(self._waiting[name]) for name in self._required)

    def _take(self) -> dict[str, T]:
        call = dict(self._kept)
        for name in self._required:
            if name not in self._keep:
                call[name] = self._waiting[name].popleft()
        for name, queue in self._beside.items():
            if len(queue):
                call[name] = queue.popleft()
        return call
