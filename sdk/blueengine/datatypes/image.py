"""Image: an array, a PIL image or encoded bytes in; an object that decodes on demand out.

numpy, OpenCV and Pillow (``pip install blueengine[image]``) are imported when first used.
"""

from typing import TYPE_CHECKING, Any, Final

from blueengine.datatypes import names
from blueengine.datatypes.base import Encoded, Incoming, register
from blueengine.errors import DataTypeError
from blueengine.wire.envelope import Meta

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.uint8]

_RAW: Final = "application/x-raw-image"
_SUFFIX: Final = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}


class Image:
    """An image on a channel.

    Attributes:
        meta: Facts the writer added, e.g. the page number.
        content_type: Format of ``bytes``: ``image/png``, ``image/jpeg``, … or empty while only the
            array is known.
    """

    def __init__(
        self, source: Any, meta: dict[str, Any] | None = None, *, content_type: str = ""
    ) -> None:
        """Wrap an array (height x width [x 3 RGB or 4 RGBA], uint8), a PIL image or encoded bytes.

        Args:
            source: The image.
            meta: Facts that travel with it.
            content_type: The format of encoded bytes (found out when left out), or the format an
                array is to be sent in; an array is sent raw without it.

        Raises:
            DataTypeError: It is none of these.
        """
        self.meta = dict(meta or {})
        self.content_type = content_type
        self._array: Array | None = None
        self._bytes: bytes | None = None
        if isinstance(source, (bytes, bytearray, memoryview)):
            self._bytes = bytes(source)
            self.content_type = content_type or _sniff(self._bytes)
        elif hasattr(source, "__array_interface__"):  # numpy arrays and PIL images
            import numpy as np

            if hasattr(source, "convert") and source.mode not in {"L", "RGB", "RGBA"}:
                source = source.convert("RGB")
            self._array = _checked(np.asarray(source))
        else:
            raise DataTypeError(
                f"an image is an array, a PIL image or encoded bytes, not {type(source).__name__}"
            )

    @property
    def array(self) -> "Array":
        """Height x width [x channels] array, RGB; decoded at first use."""
        if self._array is None:
            self._array = _decode(self._bytes or b"")
        return self._array

    @property
    def bytes(self) -> bytes:
        """Encoded bytes; an array is encoded as ``content_type`` (PNG when there is none)."""
        if self._bytes is None:
            self.content_type = self.content_type or "image/png"
            self._bytes = _encode(self.array, self.content_type)
        return self._bytes


def _checked(array: "NDArray[Any]") -> "Array":
    """Return the array, or say why it is no image; it is never bent into one."""
    import numpy as np

    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    if array.dtype != np.uint8:
        raise DataTypeError(f"an image is an array of uint8, not of {array.dtype}")
    if array.ndim not in {2, 3} or (array.ndim == 3 and array.shape[2] not in {3, 4}):
        raise DataTypeError(
            f"an image is an array of height x width [x 3 or 4], not of shape {array.shape}"
        )
    return array


def _sniff(data: bytes) -> str:
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "image/png"
    if data[:3] == b"\xff\xd8\xff":
        return "image/jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    raise DataTypeError("these bytes are no PNG, JPEG or WebP image; name their content_type")


def _decode(data: bytes) -> "Array":
    import cv2
    import numpy as np

    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if found is None:
        raise DataTypeError("the image cannot be decoded")
    return np.asarray(found, np.uint8)


def _encode(array: "Array", content_type: str) -> bytes:
    import cv2
    import numpy as np

    suffix = _SUFFIX.get(content_type)
    if suffix is None:
        raise DataTypeError(f"cannot write {content_type!r}; known: {', '.join(_SUFFIX)}")
    if array.ndim == 3:
        code = cv2.COLOR_RGBA2BGRA if array.shape[2] == 4 else cv2.COLOR_RGB2BGR
        array = np.asarray(cv2.cvtColor(array, code), np.uint8)
    fast = [cv2.IMWRITE_PNG_COMPRESSION, 1] if suffix == ".png" else []
    done, encoded = cv2.imencode(suffix, array, fast)
    if not done:
        raise DataTypeError(f"the image cannot be written as {content_type}")
    return encoded.tobytes()


class ImageType:
    """How images travel: arrays raw between engines, as PNG when a client may fetch them."""

    def encode(self, value: Any, *, stored: bool) -> Encoded:
        """Return the image encoded, or raw with its shape."""
        image = value if isinstance(value, Image) else Image(value)
        if image._bytes is not None or image.content_type or stored:  # noqa: SLF001 - its own room
            data = image.bytes
            return Encoded(data, Meta(content_type=image.content_type, facts=image.meta))
        array = image.array
        meta = Meta(content_type=_RAW, shape=array.shape, dtype=str(array.dtype), facts=image.meta)
        return Encoded(array.tobytes(), meta)

    def decode(self, message: Incoming) -> Image:
        """Return the image; encoded bytes are decoded when ``.array`` is first used."""
        meta, data = message.meta, message.read()
        if not meta.shape:
            return Image(data, meta.facts, content_type=meta.content_type or _sniff(data))
        import numpy as np

        try:
            array = np.frombuffer(data, np.dtype(meta.dtype)).reshape(meta.shape)
        except (TypeError, ValueError) as exc:
            raise DataTypeError(f"the raw image does not fit its shape: {exc}") from exc
        return Image(array, meta.facts)


register(names.IMAGE, ImageType())
