"""What was worked out last from parts of requests, found again by their bytes."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

MOST: Final = 512
LARGEST: Final = 64 * 1024
"""Bytes; what has a longer key is not kept, so the memory for all of them is bounded."""

Asked = TypeVar("Asked")
Known = TypeVar("Known")


class Recent(Generic[Asked, Known]):
    """Keeps what was used last. Callers: any task of one loop."""

    def __init__(self, know: Callable[[Asked], Known]) -> None:
        """Know nothing; ``know`` makes what is kept of something that is asked."""
        self._know = know
        self._known: dict[bytes, Known] = {}

    def find(self, key: bytes) -> Known | None:
        """Return what is known by this key, if it was seen."""
        known = self._known.pop(key, None)
        if known is not None:
            self._known[key] = known  # used last
        return known

    def add(self, key: bytes, asked: Asked) -> Known:
        """Keep what is asked in place of what was not used for longest."""
        known = self._know(asked)
        if len(key) <= LARGEST:
            if len(self._known) >= MOST:
                del self._known[next(iter(self._known))]
            self._known[key] = known
        return known
