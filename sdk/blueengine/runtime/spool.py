"""A queue of messages whose middle may lie on disk.

What a sender still counts against its window stays in memory, and is bounded by that window. What it
was given the room back for (because a session would wait for itself otherwise, see ``standstill``)
goes to files that have no name: they are gone with the process, whatever ends it. What a step forwarded
in shared memory is moved to a folder beside them, which goes with the part or the instance.
"""

import contextlib
import shutil
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

import msgspec

from blueengine.runtime import frames
from blueengine.runtime.part import (
    BLOB_SHARE,
    LEAST_WINDOW_MESSAGES,
    WINDOW_BYTES,
    WINDOW_MESSAGES,
    Message,
)
from blueengine.wire.plan import CLIENT
from blueengine.wire.spec import FORWARD

SEGMENT_BYTES: Final = 16 << 20
"""How much goes into one file; it is given back to the disk when all of it was read."""
READ_MESSAGES: Final = 64
"""How many are read at once."""
LONG_MESSAGES: Final = LEAST_WINDOW_MESSAGES // 2
LONG_BYTES: Final = WINDOW_BYTES * 3 // 4
"""Where so much waits, a sender may have no room: it may count what was consumed as well and was not
given back, because it was too little for a credit."""

_encoder = msgspec.msgpack.Encoder()
_Record = tuple[str, bytes, bytes, str, str, str, int, str]
_decoder = msgspec.msgpack.Decoder(_Record)


class Disk:
    """How much the queues of one part have on disk. Caller: the instance's loop."""

    def __init__(self, folder: Path, limit: int, *, memory: Path | None = None) -> None:
        """Use up to about ``limit`` bytes in ``folder``; files below ``memory`` take up memory."""
        self.folder = folder
        self.limit = limit
        self.used = 0
        self._memory = memory
        self._moved = ""
        self._open: set[IO[bytes]] = set()

    @property
    def is_full(self) -> bool:
        """Whether nothing more should be put there."""
        return self.used >= self.limit

    def begin(self) -> IO[bytes]:
        """Return a new file."""
        file = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115 - closed when it was read
        self._open.add(file)
        return file

    def take_in(self, file: str) -> str:
        """Return where a file is that takes up no memory: here, if it was below ``memory``.

        Raises:
            OSError: It cannot be moved.
        """
        if self._memory is None or not Path(file).is_relative_to(self._memory):
            return file
        self._moved = self._moved or tempfile.mkdtemp(prefix="waiting-", dir=self.folder)
        return shutil.move(file, self._moved)

    def end(self, file: IO[bytes]) -> None:
        """Give a file back to the disk."""
        self._open.discard(file)
        file.close()

    def close(self) -> None:
        """Give everything back."""
        for file in list(self._open):
            with contextlib.suppress(
                OSError
            ):  # what was to be written there is not wanted any more
                self.end(file)
        if self._moved:
            shutil.rmtree(self._moved, ignore_errors=True)


class _Segment:
    """One file: written to its end, read from its beginning."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.written = self.read = 0

    def put(self, record: bytes) -> None:
        self.file.seek(self.written)
        self.file.write(len(record).to_bytes(4, "big") + record)
        self.written += 4 + len(record)

    def get(self) -> bytes:
        self.file.seek(self.read)
        size = int.from_bytes(self.file.read(4), "big")
        record = self.file.read(size)
        self.read += 4 + size
        return record


class Spool:
    """Messages of one port, first in, first out.

    The oldest are in memory, behind them those on disk, then the newest, in memory again.
    """

    def __init__(self, disk: Disk) -> None:
        """Begin empty."""
        self._disk = disk
        self._oldest: deque[Message] = deque()
        self._oldest_bytes = 0
        self._segments: deque[_Segment] = deque()
        self._on_disk = 0
        self._newest: deque[Message] = deque()
        self._owed = self._owed_bytes = 0

    def __len__(self) -> int:
        """Return how many messages wait."""
        return len(self._oldest) + self._on_disk + len(self._newest)

    @property
    def is_long(self) -> bool:
        """Whether so much waits here that a sender may have no room."""
        return self._owed >= LONG_MESSAGES or self._owed_bytes >= LONG_BYTES

    @property
    def is_full(self) -> bool:
        """Whether a whole window waits here: a sender that has no other reader has no room."""
        return self._owed >= WINDOW_MESSAGES or self._owed_bytes >= WINDOW_BYTES

    def append(self, message: Message) -> None:
        """Put a message behind all others."""
        if _is_owed(message):
            self._owed += 1
            self._owed_bytes += message.size
        in_front = not self._on_disk and not self._newest and self._oldest_bytes < WINDOW_BYTES
        if in_front and len(self._oldest) < WINDOW_MESSAGES:
            self._oldest.append(message)
            self._oldest_bytes += message.size
        else:
            self._newest.append(message)

    def popleft(self) -> Message:
        """Take the oldest message.

        Raises:
            OSError: It cannot be read.
        """
        if not self._oldest:
            self._refill()
        message = self._oldest.popleft()
        self._oldest_bytes -= message.size
        if _is_owed(message):
            self._owed -= 1
            self._owed_bytes -= message.size
        elif message.own_file and message.sender != CLIENT:
            self._disk.used -= _file_bytes(message)
        return message

    def owed(self) -> list[Message]:
        """Return the messages that their senders still count, oldest first."""
        return [m for queue in (self._oldest, self._newest) for m in queue if _is_owed(m)]

    def given_back(self, message: Message) -> None:
        """Note that the sender of a message here has its room back; it counts for the disk now."""
        self._owed -= 1
        self._owed_bytes -= message.size
        if message.own_file:
            self._disk.used += _file_bytes(message)

    def spill(self, *, alone: bool) -> None:
        """Put on disk what need not be in memory.

        Args:
            alone: Nobody else has these messages, so a file of theirs is removed when they are read.

        Raises:
            OSError: It cannot be written.
        """
        while self._newest and self._newest[0].sender != CLIENT and not _is_owed(self._newest[0]):
            message = self._newest[0]
            if not self._segments or self._segments[-1].written >= SEGMENT_BYTES:
                self._segments.append(_Segment(self._disk.begin()))
            item = message.item
            file, own_file = item.file, message.own_file if alone else ""
            if own_file and item.port == FORWARD:
                file = own_file = self._disk.take_in(file)
            if message.own_file and not alone:
                self._disk.used -= _file_bytes(message)
            record = _encoder.encode(
                (
                    item.port,
                    item.payloads[0],
                    item.meta,
                    file,
                    message.channel,
                    message.sender,
                    message.size,
                    own_file,
                )
            )
            self._segments[-1].put(record)
            self._newest.popleft()
            self._on_disk += 1
            self._disk.used += len(record)

    def _refill(self) -> None:
        """Take the oldest of the disk, or what is behind it, into the front."""
        if not self._on_disk:
            self._oldest, self._newest = self._newest, self._oldest
        for message in self._read(min(READ_MESSAGES, self._on_disk)):
            self._oldest.append(message)
        self._oldest_bytes = sum(message.size for message in self._oldest)

    def _read(self, count: int) -> Iterator[Message]:
        for _ in range(count):
            segment = self._segments[0]
            record = segment.get()
            port, payload, meta, file, channel, sender, size, own_file = _decoder.decode(record)
            self._on_disk -= 1
            self._disk.used -= len(record)
            if segment.read == segment.written:
                self._segments.popleft()
                self._disk.end(segment.file)
            item = frames.Item(port, [payload], meta, file)
            yield Message(item, None, channel, sender, size, own_file, 1)


def _is_owed(message: Message) -> bool:
    return message.sender != CLIENT and (message.first or message).source is not None


def _file_bytes(message: Message) -> int:
    # what is forwarded may lie in memory, so it weighs what it is
    return message.size if message.item.port == FORWARD else message.size * BLOB_SHARE
