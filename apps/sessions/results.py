"""Stored messages as clients see them, in answers and in webhooks alike."""

from typing import Any, Final
from urllib.parse import quote

import orjson

from blueengine.datatypes.names import BYTES, FILE, IMAGE, JSON, TEXT, VIDEO
from blueengine.errors import DecodeError
from blueengine.wire import codec
from blueengine.wire.envelope import Meta, Stored

API: Final = "/api/v1"

CONTENT_TYPES: Final = {
    JSON: "application/json",
    TEXT: "text/plain; charset=utf-8",
    BYTES: "application/octet-stream",
    IMAGE: "application/octet-stream",
    FILE: "application/octet-stream",
    VIDEO: "application/octet-stream",
}
"""Of a message that does not say; an image that does not is a raw array, see its meta."""


def result(session: str, channel: str, index: int, item: Stored) -> Any:
    """Return one stored message: JSON and text as they are, others by their URL."""
    if not item.blob:
        if item.type == JSON:
            return orjson.Fragment(item.payload)
        if item.type == TEXT:
            return item.payload.decode(errors="replace")
    return {
        "url": f"{results_url(session, channel)}/{index}/blob",
        "contentType": content_type(item),
        "size": item.size or len(item.payload),
        "meta": meta_view(meta(item)),
    }


def meta(item: Stored) -> Meta:
    """Return the facts beside a stored message."""
    return facts(item.meta)


def facts(raw: bytes) -> Meta:
    """Return encoded facts; none where they cannot be read."""
    try:
        return codec.decode(Meta, raw) if raw else Meta()
    except DecodeError:
        return Meta()


def content_type(item: Stored) -> str:
    """Return the media type of a stored message."""
    return meta(item).content_type or default_content_type(item.type)


def default_content_type(kind: str) -> str:
    """Return the media type of a message of this type that does not say."""
    return CONTENT_TYPES.get(kind, CONTENT_TYPES[BYTES])


def meta_view(known: Meta) -> dict[str, Any]:
    """Return facts as clients see them."""
    said = {
        "name": known.name,
        "shape": known.shape,
        "dtype": known.dtype,
        "sha256": known.sha256,
    }
    return {**known.facts, **{name: value for name, value in said.items() if value}}


def results_url(session: str, channel: str) -> str:
    """Return where the results of a channel are paged through."""
    return f"{API}/sessions/{session}/results/{quote(channel)}"
