"""Which messages make one call of process_func. Pure.

Without ``required_channels`` every message is a call of its own. With them, a call takes the next
message of each required channel (first with first, second with second); messages of other
channels join the next call. The last message of a ``keep_channels`` channel is repeated in later
calls, and satisfies a requirement once it has come.
"""

from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Join(Generic[T]):
    """The messages of one session that wait at one step."""

    def __init__(self, required: Iterable[str] = (), keep: Iterable[str] = ()) -> None:
        """Join by these channels."""
        self._required = tuple(dict.fromkeys(required))
        self._keep = frozenset(keep)
        self.single = not self._required and not self._keep
        """Whether every message is a call of its own."""
        self._waiting: dict[str, deque[T]] = {name: deque() for name in self._required}
        self._kept: dict[str, T] = {}
        self._beside: dict[str, deque[T]] = {}

    def offer(self, channel: str, message: T) -> list[dict[str, T]]:
        """Take a message; return the calls it makes possible, in order."""
        if not self._required:
            if channel in self._keep:
                self._kept[channel] = message
            return [{**self._kept, channel: message}]
        if channel in self._keep:
            self._kept[channel] = message
        elif channel in self._waiting:
            self._waiting[channel].append(message)
        else:
            self._beside.setdefault(channel, deque()).append(message)
        calls = []
        while self._complete():
            calls.append(self._take())
            if not self._goes_on():
                break
        return calls

    def leftover(self) -> dict[str, int]:
        """Return how many messages of each required channel never found their partners."""
        return {name: len(queue) for name, queue in self._waiting.items() if queue}

    def _goes_on(self) -> bool:
        """Whether a further call uses anything up; else one message would make calls without end."""
        return any(name not in self._keep for name in self._required) or any(self._beside.values())

    def _complete(self) -> bool:
        return all(name in self._kept or self._waiting[name] for name in self._required)

    def _take(self) -> dict[str, T]:
        call = dict(self._kept)
        for name in self._required:
            if name not in self._keep:
                call[name] = self._waiting[name].popleft()
        for name, queue in self._beside.items():
            if queue:
                call[name] = queue.popleft()
        return call
