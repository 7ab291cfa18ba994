"""Bodies in a stream of bytes: each with its length before it, four bytes of it."""

from collections.abc import Iterator
from typing import Final

LENGTH: Final = 4


def framed(body: bytes) -> bytes:
    """Return a body with its length before it."""
    return len(body).to_bytes(LENGTH, "big") + body


class Splitter:
    """Cuts a stream of bytes into the bodies that were framed."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._rest = bytearray()

    def feed(self, data: bytes | memoryview) -> Iterator[memoryview]:
        """Take more bytes; yield every body that is whole now, to be read before ``data`` changes."""
        if self._rest:
            self._rest += data
            if len(self._rest) < LENGTH + int.from_bytes(self._rest[:LENGTH], "big"):
                return  # a large body, far from whole: not copied again for each piece of it
            data = bytes(self._rest)
            self._rest.clear()
        view = memoryview(data)
        at, end = 0, len(data)
        while end - at >= LENGTH:
            stop = at + LENGTH + int.from_bytes(view[at : at + LENGTH], "big")
            if stop > end:
                break
            yield view[at + LENGTH : stop]
            at = stop
        self._rest += view[at:]
