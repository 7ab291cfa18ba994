"""Image: an array, a PIL image or encoded bytes in; an object that decodes on demand out.

numpy, OpenCV and Pillow (``pip install blueengine[image]``) are imported when first used.
"""

import copy
from collections.abc import Mapping
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
_FORMATS: Final = {"raw": "", "png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


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
        """Height x width [x channels] array: gray, RGB or RGBA; decoded at first use.

        A photograph is turned the way its EXIF orientation says.
        """
        if self._array is None:
            self._array = _decode(self._bytes or b"")
        return self._array

    @property
    def rgb(self) -> "Array":
        """Height x width x 3 array, whatever the image is: gray is repeated, alpha left out."""
        array = self.array
        if array.ndim == 2:
            import numpy as np

            return np.repeat(array[..., None], 3, axis=2)
        return array[..., :3]

    @property
    def bytes(self) -> bytes:
        """Encoded bytes; an array is encoded as ``content_type`` (PNG when there is none)."""
        if self._bytes is None:
            self.content_type = self.content_type or "image/png"
            self._bytes = _encode(self.array, self.content_type)
        return self._bytes

    def encoded(self, content_type: str, quality: int = 0) -> "Image":
        """Return this image with its bytes in a format; itself if it is encoded already.

        Args:
            content_type: ``image/png``, ``image/jpeg`` or ``image/webp``.
            quality: 1 to 100, for JPEG and WebP; 0: the library's own choice.

        Raises:
            DataTypeError: There is no such format.
        """
        if self._bytes is not None:
            return self
        made = copy.copy(self)
        made.content_type = content_type
        made._bytes = _encode(self.array, content_type, quality)  # noqa: SLF001 - of its own class
        return made


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

    # A JPEG has no alpha, but may say which way is up; OpenCV heeds that only when it may convert.
    is_jpeg = data[:3] == b"\xff\xd8\xff"
    flag = cv2.IMREAD_ANYCOLOR if is_jpeg else cv2.IMREAD_UNCHANGED
    found = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    if found is None:
        raise DataTypeError("the image cannot be decoded")
    if found.dtype == np.uint16:
        found = (found // 257).astype(np.uint8)
    if found.ndim == 3:
        code = cv2.COLOR_BGRA2RGBA if found.shape[2] == 4 else cv2.COLOR_BGR2RGB
        found = cv2.cvtColor(found, code)
    return np.asarray(found, np.uint8)


def _encode(array: "Array", content_type: str, quality: int = 0) -> bytes:
    import cv2
    import numpy as np

    suffix = _SUFFIX.get(content_type)
    if suffix is None:
        raise DataTypeError(f"cannot write {content_type!r}; known: {', '.join(_SUFFIX)}")
    if array.ndim == 3 and array.shape[2] == 4 and suffix == ".jpg":
        array = array[..., :3]  # JPEG has no alpha
    if array.ndim == 3:
        code = cv2.COLOR_RGBA2BGRA if array.shape[2] == 4 else cv2.COLOR_RGB2BGR
        array = np.asarray(cv2.cvtColor(array, code), np.uint8)
    how: list[int] = []
    if suffix == ".png":
        how = [cv2.IMWRITE_PNG_COMPRESSION, 1]  # fast
    elif quality:
        kind = cv2.IMWRITE_JPEG_QUALITY if suffix == ".jpg" else cv2.IMWRITE_WEBP_QUALITY
        how = [kind, quality]
    done, encoded = cv2.imencode(suffix, array, how)
    if not done:
        raise DataTypeError(f"the image cannot be written as {content_type}")
    return encoded.tobytes()


class ImageType:
    """How images travel: arrays raw between engines, as PNG when a client may fetch them.

    Options of a channel: ``FORMAT`` (``raw``, ``png``, ``jpeg``, ``webp``) in which arrays travel,
    and ``QUALITY`` (1 to 100) of ``jpeg`` and ``webp``.
    """

    def __init__(self, content_type: str = "", quality: int = 0) -> None:
        """Send arrays in this format, or raw."""
        self.content_type = content_type
        self._quality = quality

    def configured(self, options: Mapping[str, Any]) -> "ImageType":
        """Return the type for a channel with these options."""
        if unknown := options.keys() - {"FORMAT", "QUALITY"}:
            raise DataTypeError(f"{min(unknown)!r} is no option of images; known: FORMAT, QUALITY")
        form, quality = str(options.get("FORMAT", "raw")).lower(), options.get("QUALITY", 0)
        if form not in _FORMATS:
            raise DataTypeError(f"FORMAT {form!r} is none of {', '.join(_FORMATS)}")
        if "QUALITY" in options:
            if form not in {"jpeg", "webp"}:
                raise DataTypeError(f"QUALITY is for jpeg and webp, not for {form}")
            if not isinstance(quality, int) or not 1 <= quality <= 100:
                raise DataTypeError(f"QUALITY must be 1 to 100, not {quality!r}")
        return ImageType(_FORMATS[form], quality)

    def encode(self, value: Any, *, stored: bool) -> Encoded:
        """Return the image encoded, or raw with its shape."""
        image = value if isinstance(value, Image) else Image(value)
        form = image.content_type or self.content_type or ("image/png" if stored else "")
        if form:
            image = image.encoded(form, self._quality)
            return Encoded(image.bytes, Meta(content_type=image.content_type, facts=image.meta))
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
