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


class LastWords:
    """Reads one worker's standard error. Caller: the parent's event loop."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        """Begin to pass on what comes."""
        self._stream = stream
        self._lines: deque[bytes] = deque(maxlen=LINES)
        self._pump = asyncio.get_running_loop().create_task(self._pass_on(), name="worker-stderr")

    async def _pass_on(self) -> None:
        rest = b""
        while data := await self._stream.read(PIECE):
            whole, end, rest = (rest + data).rpartition(b"\n")
            if len(rest) > PIECE:
                whole, end, rest = whole + end + rest, b"", b""
            self._note(whole + end)  # whole lines, for others write to the same place
        self._note(rest)

    def _note(self, text: bytes) -> None:
        with contextlib.suppress(OSError):
            os.write(2, text)
        self._lines.extend(line[:LONGEST] for line in text.split(b"\n") if line.strip())

    async def heard(self, seconds: float) -> str:
        """Return the last lines once all has been read; a child of the worker may hold it open."""
        await asyncio.wait([self._pump], timeout=seconds)
        if not self._pump.done():
            self._pump.cancel()
            await asyncio.wait([self._pump])
        return "\n".join(line.decode(errors="replace") for line in self._lines)
