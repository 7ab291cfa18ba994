"""Values of the author's functions as they go between worker and parent.

A payload too large for a frame goes to the session's outbox in the blob store, as a file.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from blueengine.datatypes import base
from blueengine.errors import DataTypeError
from blueengine.runtime import frames
from blueengine.runtime.forwards import Forwards
from blueengine.settings.engine import EngineSettings
from blueengine.transport.blobs import INLINE_LIMIT
from blueengine.wire import codec
from blueengine.wire.envelope import Meta
from blueengine.wire.spec import FORWARD


class Values:
    """Encodes and decodes for one worker."""

    def __init__(self, settings: EngineSettings) -> None:
        """Know the types of the engine's channels.

        Raises:
            DataTypeError: A type is known to nobody, or does not take its options.
        """
        self._inputs = {port: base.get(kind) for port, kind in settings.inputs.items()}
        self._outputs = {
            port: base.get(kind, settings.output_options.get(port))
            for port, kind in settings.outputs.items()
        }
        self._forwards = Forwards()
        self._files = 0

    def decode(self, item: frames.Item, payload: bytes, scratch: Callable[[], Path]) -> Any:
        """Return the value of a message of ``item``; ``scratch`` makes the session's temp folder."""
        if item.port == FORWARD:
            return self._forwards.read(payload, item.meta, item.file)
        file = Path(item.file) if item.file else None
        meta = codec.decode(Meta, item.meta) if item.meta else base.NO_META
        return self._inputs[item.port].decode(base.Incoming(payload, meta, file, scratch))

    def encode(self, begin: frames.Begin, port: str, value: Any) -> tuple[bytes, bytes, str, int]:
        """Return payload, meta, file and size of what is written to an output.

        Raises:
            DataTypeError: The value does not fit.
        """
        if port == FORWARD:
            payload, meta, file, size = self._forwards.write(value, begin.shared)
            if not file and begin.outbox and size > INLINE_LIMIT:
                file, payload = self._write_out(begin, base.Encoded(payload)), b""
            return payload, meta, file, size
        try:
            encoded = self._outputs[port].encode(value, stored=port in begin.stored)
        except DataTypeError as exc:
            raise DataTypeError(f"channel {port!r}: {exc}") from exc
        payload, file, size = encoded.payload, "", len(encoded.payload)
        if encoded.file is not None:
            size = encoded.file.stat().st_size
            if size <= INLINE_LIMIT or not begin.outbox:
                payload = encoded.file.read_bytes()
        if begin.outbox and size > INLINE_LIMIT:
            file, payload = self._write_out(begin, encoded), b""
        meta = codec.encode(encoded.meta) if encoded.meta else b""
        return payload, meta, file, size

    def _write_out(self, begin: frames.Begin, encoded: base.Encoded) -> str:
        folder = Path(begin.outbox)
        folder.mkdir(parents=True, exist_ok=True)
        self._files += 1
        path = folder / f"{os.getpid()}-{id(self)}-{self._files}"
        if encoded.file is not None:
            shutil.copyfile(encoded.file, path)
        else:
            path.write_bytes(encoded.payload)
        return str(path)
