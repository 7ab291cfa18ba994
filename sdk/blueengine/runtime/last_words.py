"""What a worker writes to standard error: passed on as it comes, with the last lines kept."""

import asyncio
import contextlib
import os
from collections import deque
from typing import Final

LINES: Final = 8
LONGEST: Final = 300
"""Characters kept of a line."""
PIECE: Final = 1 << 16


class LastWords(asyncio.Protocol):
    """Reads the pipe of one worker's standard error. Caller: the parent's event loop."""

    def __init__(self) -> None:
        """Nothing was heard."""
        self._rest = b""
        """The beginning of a line whose end has not come."""
        self._lines: deque[bytes] = deque(maxlen=LINES)
        self._pipe: asyncio.BaseTransport | None = None
        self._ended = asyncio.Event()

    async def heard(self, seconds: float) -> str:
        """Return the last lines once all has been read; a child of the worker may hold it open."""
        if self._pipe is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._ended.wait()
            self._pipe.close()
        return "\n".join(line.decode(errors="replace") for line in self._lines)

    # -- asyncio.Protocol -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Pass on what comes."""
        self._pipe = transport

    def data_received(self, data: bytes) -> None:
        """Pass on the lines that are whole, for others write to the same place."""
        whole, end, rest = (self._rest + data).rpartition(b"\n")
        if len(rest) > PIECE:
            whole, end, rest = whole + end + rest, b"", b""
        self._rest = rest
        self._note(whole + end)

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on the rest: nothing more will come."""
        self._note(self._rest)
        self._rest = b""
        self._ended.set()

    def _note(self, text: bytes) -> None:
        with contextlib.suppress(OSError):
            os.write(2, text)
        self._lines.extend(line[:LONGEST] for line in text.split(b"\n") if line.strip())
