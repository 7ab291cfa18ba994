"""Messages of several sessions that wait for each other, to be one call of process_func."""

from typing import Generic, TypeVar

T = TypeVar("T")


class Batch(Generic[T]):
    """What waits, in the order it came."""

    def __init__(self, size: int) -> None:
        """Be full with ``size`` items."""
        self._size = size
        self._items: list[tuple[int, T]] = []
        self.number = 0
        """Grows with each batch taken, so that who waits for one knows whether it is gone."""

    def __len__(self) -> int:
        return len(self._items)

    def add(self, no: int, item: T) -> bool:
        """Add an item of a session; whether the batch is full now."""
        self._items.append((no, item))
        return len(self._items) >= self._size

    def take(self) -> list[T]:
        """Take everything and begin anew."""
        items = [item for _, item in self._items]
        self._items.clear()
        self.number += 1
        return items

    def drop(self, no: int) -> int:
        """Forget what belongs to a session; how many items that was."""
        kept = [entry for entry in self._items if entry[0] != no]
        dropped = len(self._items) - len(kept)
        self._items = kept
        return dropped
