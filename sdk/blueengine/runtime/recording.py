"""The recording of a part: what it received, in the blob store, for as long as the session is kept.

Each line is written as its message comes, so that what an engine received before it crashed is there.
A large payload is not copied: it gets a further name. Trouble ends the recording, never the session.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from blueengine.errors import BlueEngineError
from blueengine.transport.blobs import BlobFolder, recorded_blob, recorded_ref
from blueengine.wire import codec, recording
from blueengine.wire.envelope import Meta

LARGEST: Final = 256 << 20
"""Bytes of payload that are recorded of one engine's part in one session."""


class Recording:
    """Caller: the parent's event loop."""

    def __init__(
        self, blobs: BlobFolder | None, key: tuple[str, int, str], on_cut: Callable[[str], None]
    ) -> None:
        """Record the part ``key`` (session, attempt, node); ``on_cut`` is told why it ends early."""
        self._blobs = blobs
        self._key = key
        self._on_cut = on_cut
        self._file: int | None = None
        self._size = self._files = 0
        self._is_open = True

    def take(  # noqa: PLR0917 - the fields of a message
        self, channel: str, sender: str, payload: bytes, meta: bytes, blob: str, size: int
    ) -> None:
        """Record a message."""
        if not self._is_open:
            return
        if self._blobs is None:
            self._end("BLOB_DIR is not set for this engine")
            return
        self._size += size
        if self._size > LARGEST:
            self._end(f"it is longer than {LARGEST >> 20} MiB")
            return
        number = None
        try:
            if blob:
                number = self._files
                self._blobs.link(blob, recorded_blob(*self._key, number))
                self._files += 1
            entry = recording.Received(
                channel,
                sender,
                time.time_ns() // 1000,
                size,
                payload,
                number,
                codec.decode(Meta, meta) if meta else None,
            )
            self._write(entry)
        except (OSError, BlueEngineError) as exc:
            self._end(str(exc))

    def take_all(  # noqa: PLR0917 - the fields of a run
        self, channel: str, sender: str, payloads: list[bytes], meta: bytes, blob: str, size: int
    ) -> None:
        """Record messages that came together, of ``size`` bytes in all."""
        for payload in payloads:
            self.take(channel, sender, payload, meta, blob, len(payload) or size)

    def close(self) -> None:
        """Record nothing more."""
        self._is_open = False
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, entry: recording.Received | recording.Cut) -> None:
        if self._blobs is None:
            return
        if self._file is None:
            path = self._blobs.path(recorded_ref(*self._key))
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        data = recording.line(entry)
        while data:
            data = data[os.write(self._file, data) :]

    def _end(self, why: str) -> None:
        with suppress(OSError):
            self._write(recording.Cut(why))
        self.close()
        self._on_cut(why)
