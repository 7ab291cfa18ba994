"""Bytes <-> wire models. A message of an unknown version or shape is a typed error, never a guess."""

from typing import TypeVar

import msgspec

from blueengine.errors import DecodeError

M = TypeVar("M", bound=msgspec.Struct)

_encoder = msgspec.msgpack.Encoder()
_decoders: dict[type[msgspec.Struct], msgspec.msgpack.Decoder[msgspec.Struct]] = {}


def encode(message: msgspec.Struct) -> bytes:
    """Return the message as MessagePack bytes."""
    return _encoder.encode(message)


def decode(model: type[M], raw: bytes) -> M:
    """Return the message in ``raw``.

    Raises:
        DecodeError: ``raw`` is no such message, or of a version this program does not know.
    """
    decoder = _decoders.get(model)
    if decoder is None:
        decoder = _decoders[model] = msgspec.msgpack.Decoder(model)
    try:
        message = decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise DecodeError(f"not a {model.__name__} this version understands: {exc}") from exc
    if not isinstance(message, model):  # the decoder's own promise, stated for the type checker
        raise DecodeError(f"decoded a {type(message).__name__}, wanted a {model.__name__}")
    return message
