"""Video: a file or the URL of a stream as one message, or its frames as messages of their own.

PyAV (``pip install blueengine[video]``) is imported when first used. It decodes with several
threads, and a frame becomes an array only when somebody looks at it.
"""

import mimetypes
from collections.abc import Generator, Iterable, Mapping
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from blueengine.datatypes import names
from blueengine.datatypes.base import Encoded, Incoming, register
from blueengine.datatypes.file import FileType
from blueengine.datatypes.image import Image, ImageType
from blueengine.errors import DataTypeError
from blueengine.wire.envelope import Meta

if TYPE_CHECKING:
    import numpy as np
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from numpy.typing import NDArray

_SCHEMES: Final = ("http", "https", "rtsp", "rtsps", "rtmp", "rtmps", "srt", "udp")
_URL: Final = "text/uri-list"
_TIME: Final = "frameTime"
_INDEX: Final = "frameIndex"
MEDIA_TYPE: Final = "video/mp4"
_STREAM_TIMEOUT: Final = (10.0, 30.0)
"""Seconds to open a URL, and to wait for its next packet."""


class Frame(Image):
    """One picture of a video: an image that knows its time.

    Attributes:
        time: Seconds since the video's beginning.
        index: Its place in the video, from 0.
    """

    def __init__(
        self, source: Any, *, time: float, index: int = 0, meta: dict[str, Any] | None = None
    ) -> None:
        """Wrap what an ``Image`` may be made of, and its time."""
        super().__init__(source, meta)
        self.time = time
        self.index = index


_PLANAR: Final = ("yuv420p", "yuvj420p")
"""What nearly every video decodes to; half the bytes of an array."""


class _Decoded(Frame):
    """A frame whose array is made when it is first used.

    It is forwarded to another step as it was decoded, so that whoever looks at it makes the array.
    """

    def __init__(
        self,
        frame: "VideoFrame",
        *,
        time: float,
        index: int,
        meta: dict[str, Any] | None = None,
    ) -> None:
        self.meta = meta or {}
        self.content_type = ""
        self._array = None
        self._bytes = None
        self.time = time
        self.index = index
        self._frame: VideoFrame | None = frame

    @property
    def array(self) -> "NDArray[np.uint8]":
        """Height x width x 3 array, RGB; converted at first use."""
        if self._array is None and self._frame is not None:
            import numpy as np

            self._array = np.asarray(self._frame.to_ndarray(format="rgb24"), np.uint8)
            self._frame = None
        return super().array

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as planes; as an array when it is one already, or of another form."""
        frame = self._frame
        if frame is None or frame.format.name not in _PLANAR or frame.width % 2 or frame.height % 2:
            whole = partial(Frame, time=self.time, index=self.index, meta=self.meta)
            return whole, (self.array,)
        form = (frame.format.name, int(frame.colorspace), int(frame.color_range))
        return _from_planes, (frame.to_ndarray(), form, self.time, self.index, self.meta)


def _from_planes(
    planes: "NDArray[np.uint8]",
    form: tuple[str, int, int],
    time: float,
    index: int,
    meta: dict[str, Any],
) -> _Decoded:
    import av

    name, colorspace, color_range = form
    frame = av.VideoFrame.from_numpy_buffer(planes, format=name)
    frame.colorspace, frame.color_range = colorspace, color_range
    return _Decoded(frame, time=time, index=index, meta=meta)


class Video:
    """A video on a channel: a file, or the URL of a stream.

    Attributes:
        source: Path or URL. On the reader's side a file is read-only and there until the call ends.
        name: Its file name.
        content_type: E.g. ``video/mp4``; ``text/uri-list`` for a URL.
        meta: Facts the writer added.
    """

    def __init__(
        self,
        source: str | Path,
        *,
        name: str = "",
        content_type: str = "",
        meta: dict[str, Any] | None = None,
    ) -> None:
        """Name the video; nothing is read.

        Raises:
            DataTypeError: A URL is not of a scheme that carries video.
        """
        text = str(source)
        self.meta = dict(meta or {})
        self.is_url = isinstance(source, str) and "://" in text
        if self.is_url:
            if text.partition("://")[0].lower() not in _SCHEMES:
                raise DataTypeError(f"a video's URL begins with one of {', '.join(_SCHEMES)}")
            self.source: str | Path = text
            self.name, self.content_type = name, _URL
            return
        self.source = Path(source)
        self.name = name or self.source.name
        self.content_type = content_type or mimetypes.guess_type(self.name)[0] or MEDIA_TYPE

    def frames(
        self, *, every: float = 0.0, start: float = 0.0, end: float | None = None
    ) -> Generator[Frame, None, None]:
        """Yield the frames in the order they are shown.

        Args:
            every: Seconds between the frames wanted; 0: all of them.
            start: Seconds from the beginning; what is before is skipped, not decoded, in a file.
            end: Seconds from the beginning at which to stop.

        Raises:
            DataTypeError: It cannot be opened, has no picture, or breaks off.
        """
        import av
        from av.error import FFmpegError

        try:
            with self._open() as container:
                if not container.streams.video:
                    raise DataTypeError(f"{self.name or self.source} has no video stream")
                stream = container.streams.video[0]
                stream.thread_type = "AUTO"  # frames and slices: twice as fast as slices alone
                if start and not self.is_url:
                    container.seek(int(start * av.time_base), backward=True)
                began = float((stream.start_time or 0) * (stream.time_base or 0))
                rate = float(stream.average_rate or 0)
                yield from _wanted(container.decode(stream), began, rate, every, start, end)
        except (FFmpegError, OSError) as exc:
            raise DataTypeError(f"video {self.name or self.source}: {exc}") from exc

    def _open(self) -> "InputContainer":
        import av

        if self.is_url:
            return av.open(str(self.source), timeout=_STREAM_TIMEOUT)
        return av.open(str(self.source))


def _wanted(  # noqa: PLR0917 - private, and called in one place
    decoded: "Iterable[VideoFrame]",
    began: float,
    rate: float,
    every: float,
    start: float,
    end: float | None,
) -> Generator[Frame, None, None]:
    due = start
    for counted, frame in enumerate(decoded):
        # a stream's clock need not begin at 0, and need not be there
        time = frame.time - began if frame.pts is not None else counted / (rate or 25.0)
        if end is not None and time >= end:
            return
        if time + 1e-6 < due:
            continue
        if every:
            due += every * (1 + int((time - due) / every + 1e-6))
        index = round(time * rate) if rate and start else counted
        yield _Decoded(frame, time=time, index=index)


class VideoWriter:
    """Writes pictures to an MP4 file: ``with VideoWriter(path, rate=25) as out: out.write(frame)``.

    The size is that of the first picture. Frames with a time keep it, so a varying rate is kept.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        rate: float = 25,
        codec: str = "h264",
        options: Mapping[str, str] | None = None,
    ) -> None:
        """Write to ``path``.

        Args:
            path: A file to make; its suffix chooses the container, ``.mp4`` as a rule.
            rate: Pictures a second, where they carry no time.
            codec: What PyAV calls it: ``h264``, ``hevc``, ``vp9``, ``mpeg4`` …
            options: Passed on to the codec, e.g. ``{"crf": "23", "preset": "veryfast"}``.

        Raises:
            DataTypeError: There is no such codec, or the file cannot be made.
        """
        import av
        from av.error import FFmpegError

        self.path = Path(path)
        self._rate = Fraction(rate).limit_denominator(1001)
        self._last = -1
        self._count = 0
        self._is_open = True
        try:
            self._container = av.open(str(path), "w", options={"movflags": "faststart"})
            stream = self._container.add_stream(codec, rate=self._rate, options=dict(options or {}))
        except (FFmpegError, ValueError, OSError) as exc:
            raise DataTypeError(f"cannot write {path} as {codec}: {exc}") from exc
        if not isinstance(stream, av.VideoStream):
            raise DataTypeError(f"cannot write {path} as {codec}: that is not for pictures")
        self._stream = stream
        stream.thread_type = "AUTO"

    def write(self, picture: "Frame | Image | NDArray[np.uint8]") -> None:
        """Add a picture.

        Raises:
            DataTypeError: Its size differs from the first, or its time is not behind the last's.
        """
        from av.error import FFmpegError

        image = picture if isinstance(picture, Image) else Image(picture)
        frame = _av_frame(image)
        stream = self._stream
        if not self._count:
            # 4:2:0 pictures have even sides
            stream.width, stream.height = frame.width & ~1, frame.height & ~1
            stream.pix_fmt = "yuv420p"
            stream.time_base = stream.codec_context.time_base = Fraction(1, 90_000)
        elif (frame.width & ~1, frame.height & ~1) != (stream.width, stream.height):
            raise DataTypeError(
                f"picture {self._count} is {frame.width}x{frame.height}, the first"
                f" was {stream.width}x{stream.height}"
            )
        time = image.time if isinstance(image, Frame) else float(self._count / self._rate)
        frame.pts, frame.time_base = round(time * 90_000), Fraction(1, 90_000)
        if frame.pts <= self._last:
            raise DataTypeError(f"picture {self._count} is at {time:g} s, not behind the last")
        self._last = frame.pts
        self._count += 1
        try:
            self._container.mux(stream.encode(frame))
        except (FFmpegError, OSError) as exc:
            raise DataTypeError(f"{self.path}: {exc}") from exc

    def close(self) -> Video:
        """Write what is left and return the video, ready for a channel."""
        from av.error import FFmpegError

        if self._is_open:
            self._is_open = False
            try:
                if self._count:
                    self._container.mux(self._stream.encode(None))
                self._container.close()
            except (FFmpegError, OSError) as exc:
                raise DataTypeError(f"{self.path}: {exc}") from exc
        return Video(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        elif self._is_open:
            self._is_open = False
            self._container.close()


def _av_frame(image: Image) -> "VideoFrame":
    import av
    import numpy as np
    from av.video.frame import PictureType

    if isinstance(image, _Decoded) and image._frame is not None:  # noqa: SLF001 - its own room
        frame = image._frame  # noqa: SLF001 - never an array: the codec takes it as it is
        frame.pict_type = PictureType.NONE  # the codec chooses its own key frames
        return frame
    array = np.ascontiguousarray(image.array)
    form = "gray" if array.ndim == 2 else "rgba" if array.shape[2] == 4 else "rgb24"
    return av.VideoFrame.from_numpy_buffer(array, format=form)  # read in place, by the conversion


class VideoType:
    """How videos travel: a file as a file, a URL as itself, a frame as an image with its time.

    Options of a channel: those of images, for its frames.
    """

    def __init__(self, images: ImageType | None = None) -> None:
        """Send frames as ``images`` does."""
        self._images = images or ImageType()
        self._files = FileType()

    def configured(self, options: Mapping[str, Any]) -> "VideoType":
        """Return the type for a channel with these options."""
        return VideoType(self._images.configured(options))

    def encode(self, value: Any, *, stored: bool) -> Encoded:
        """Return the frame as an image, or the video by its path or URL."""
        if isinstance(value, Frame):
            facts = {**value.meta, _TIME: value.time, _INDEX: value.index}
            form = self._images.content_type or ("image/jpeg" if stored else "")
            image = Image(value.array, facts, content_type=form)
            return self._images.encode(image, stored=stored)
        video = Video(value) if isinstance(value, (str, Path)) else value
        if not isinstance(video, Video):
            raise DataTypeError(
                f"a Video channel takes Video, Frame, a path or a URL, not {type(video).__name__}"
            )
        meta = Meta(content_type=video.content_type, name=video.name, facts=video.meta)
        if video.is_url:
            return Encoded(str(video.source).encode(), meta)
        path = Path(video.source)
        if not path.is_file():
            raise DataTypeError(f"{path} is no file")
        return Encoded(meta=meta, file=path)

    def decode(self, message: Incoming) -> Video | Frame:
        """Return the frame or the video; nothing is decoded yet."""
        meta = message.meta
        if _TIME in meta.facts:
            image = self._images.decode(message)
            frame = Frame.__new__(Frame)
            frame.__dict__.update(image.__dict__)
            frame.time = float(frame.meta.pop(_TIME))
            frame.index = int(frame.meta.pop(_INDEX, 0))
            return frame
        if meta.content_type == _URL:
            try:
                return Video(message.read().decode().strip(), meta=meta.facts)
            except UnicodeDecodeError as exc:
                raise DataTypeError(f"the message is no URL: {exc}") from exc
        file = self._files.decode(message)
        return Video(file.path, name=file.name, content_type=file.content_type, meta=file.meta)


register(names.VIDEO, VideoType())
