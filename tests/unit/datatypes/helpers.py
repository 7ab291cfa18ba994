"""Over the line and back, as two engines would see it."""

from pathlib import Path
from typing import Any

from blueengine.datatypes import base
from blueengine.wire import codec
from blueengine.wire.envelope import Meta


def nowhere() -> Path:
    raise AssertionError("no scratch folder is needed")


def there_and_back(kind: str, value: Any, *, stored: bool = False, scratch: Path | None = None) -> Any:  # fmt: skip
    """Encode the value, carry payload and meta as bytes, decode it."""
    encoded = base.get(kind).encode(value, stored=stored)
    meta = codec.decode(Meta, codec.encode(encoded.meta)) if encoded.meta else base.NO_META
    return decode(kind, encoded.payload, meta, encoded.file, scratch)


def decode(
    kind: str,
    payload: bytes,
    meta: Meta = base.NO_META,
    file: Path | None = None,
    scratch: Path | None = None,
) -> Any:
    incoming = base.Incoming(payload, meta, file, (lambda: scratch) if scratch else nowhere)
    return base.get(kind).decode(incoming)
