"""Video: files, URLs and single frames, there and back; written and read again."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blueengine import DataTypeError, Frame, Image, Video, VideoWriter
from blueengine.datatypes import base
from tests.unit.datatypes.helpers import there_and_back

COUNT, RATE = 20, 10


def picture(number: int) -> Any:
    """Return a gray picture whose brightness is its number."""
    return np.full((48, 64, 3), 40 + 8 * number, np.uint8)


def number_of(frame: Frame) -> int:
    return round((float(frame.array.mean()) - 40) / 8)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of video, ten pictures a second."""
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    with VideoWriter(path, rate=RATE) as out:
        for number in range(COUNT):
            out.write(picture(number))
    return path


def test_what_was_written_is_read_with_its_times(clip: Path) -> None:
    frames = [(f.index, round(f.time, 3), number_of(f)) for f in Video(clip).frames()]
    assert frames == [(n, n / RATE, n) for n in range(COUNT)]


def test_every_start_and_end_choose_frames_by_time(clip: Path) -> None:
    video = Video(clip)
    assert [number_of(f) for f in video.frames(every=0.5)] == [0, 5, 10, 15]
    assert [number_of(f) for f in video.frames(start=1.5)] == [15, 16, 17, 18, 19]
    assert [f.index for f in video.frames(start=1.5)] == [15, 16, 17, 18, 19]
    assert [number_of(f) for f in video.frames(start=0.3, end=0.8, every=0.2)] == [3, 5, 7]


def test_a_frame_is_an_image_that_becomes_an_array_when_it_is_looked_at(clip: Path) -> None:
    frame = next(Video(clip).frames())
    assert isinstance(frame, Image)
    assert frame._array is None
    assert frame.array.shape == (48, 64, 3)
    assert frame._array is not None


def test_a_video_travels_as_its_file(clip: Path) -> None:
    back = there_and_back("Video", Video(clip, meta={"camera": 3}))
    assert (back.source, back.name, back.content_type) == (clip, "clip.mp4", "video/mp4")
    assert back.meta == {"camera": 3}
    assert there_and_back("Video", str(clip)).source == clip


def test_a_url_travels_as_itself() -> None:
    back = there_and_back("Video", Video("rtsp://camera.example/door", meta={"door": 1}))
    assert (back.is_url, back.source, back.meta) == (
        True,
        "rtsp://camera.example/door",
        {"door": 1},
    )


@pytest.mark.parametrize("stored", [False, True])
def test_a_frame_travels_as_an_image_with_its_time(clip: Path, stored: bool) -> None:
    frame = list(Video(clip).frames())[7]
    frame.meta["seen"] = "cat"
    back = there_and_back("Video", frame, stored=stored)
    assert isinstance(back, Frame)
    assert (back.time, back.index, back.meta) == (pytest.approx(0.7), 7, {"seen": "cat"})
    assert back.content_type == ("image/jpeg" if stored else "")
    assert number_of(back) == 7


def test_the_format_of_frames_may_be_set() -> None:
    kind = base.get("Video", {"FORMAT": "webp", "QUALITY": 80})
    meta = kind.encode(Frame(picture(1), time=0.5), stored=False).meta
    assert meta is not None
    assert meta.content_type == "image/webp"


def test_frames_of_a_varying_rate_keep_their_times(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.5, 0.55, 2.0]
    with VideoWriter(tmp_path / "out.mp4") as out:
        for number, time in enumerate(times):
            out.write(Frame(picture(number), time=time))
    video = there_and_back("Video", out.close())
    assert [round(f.time, 3) for f in video.frames()] == times


def test_decoded_frames_are_written_again_without_becoming_arrays(
    clip: Path, tmp_path: Path
) -> None:
    with VideoWriter(tmp_path / "copy.mp4") as out:
        for frame in Video(clip).frames(start=1.0):
            out.write(frame)
            assert frame._array is None
    assert [number_of(f) for f in Video(tmp_path / "copy.mp4").frames()] == [*range(10, 20)]


@pytest.mark.parametrize("shape", [(49, 63), (49, 63, 4)])
def test_gray_alpha_and_odd_sizes_can_be_written(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with VideoWriter(tmp_path / "odd.mp4") as out:
        out.write(np.full(shape, 200, np.uint8))
    [frame] = Video(tmp_path / "odd.mp4").frames()
    assert frame.array.shape == (48, 62, 3)


def test_a_writer_that_is_left_by_an_exception_keeps_that_exception(tmp_path: Path) -> None:
    def breaks_off() -> None:
        with VideoWriter(tmp_path / "half.mp4") as out:
            out.write(picture(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        breaks_off()


def test_an_empty_video_can_be_closed(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "empty.mp4"):
        pass


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (7, "takes Video, Frame, a path or a URL, not int"),
        ("no/such/file.mp4", "is no file"),
        ("file:///etc/passwd", "URL begins with one of http"),
        ("concat://a|b", "URL begins with one of http"),
    ],
)
def test_what_is_no_video_is_refused(value: Any, words: str) -> None:
    with pytest.raises(DataTypeError, match=words):
        base.get("Video").encode(value, stored=False)


def test_a_file_that_is_no_video_is_named_when_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "not.mp4").write_text("no video")
    with pytest.raises(DataTypeError, match=r"not\.mp4"):
        list(Video(tmp_path / "not.mp4").frames())


def test_wrong_pictures_are_named(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4") as out:
        out.write(Frame(picture(1), time=1.0))
        with pytest.raises(DataTypeError, match="picture 1 is at 1 s, not behind the last"):
            out.write(Frame(picture(2), time=1.0))
        with pytest.raises(DataTypeError, match="picture 1 is 10x10, the first was 64x48"):
            out.write(np.zeros((10, 10), np.uint8))
    with pytest.raises(DataTypeError, match=r"cannot write .* as nonsense"):
        VideoWriter(tmp_path / "x.mp4", codec="nonsense")
