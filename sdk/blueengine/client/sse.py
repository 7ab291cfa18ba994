"""Server-sent events out of the bytes of a stream."""

from collections.abc import Iterator

from blueengine.client.answers import Event
from blueengine.client.http import decoded


class EventParser:
    """Takes a stream in pieces of any size. Lines end with LF or CR LF, as the platform sends them.

    A library's splitting into lines would not do: it also splits at what JSON may hold as it is,
    for example U+2028.
    """

    def __init__(self) -> None:
        """Begin before the first byte."""
        self._rest = b""
        self._id = ""
        self._name = ""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> Iterator[Event]:
        """Yield the events that are complete with this piece."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            if event := self._line(line.removesuffix(b"\r")):
                yield event

    def _line(self, line: bytes) -> Event | None:
        if line:
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                self._data.append(value)
            elif field == b"id":
                self._id = value.decode()
            elif field == b"event":
                self._name = value.decode()
            return None
        data, name, self._data, self._name = self._data, self._name, [], ""
        return Event(id=self._id, name=name, data=decoded(b"\n".join(data))) if data else None
