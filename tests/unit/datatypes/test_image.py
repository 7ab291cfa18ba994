"""Image: arrays, PIL images and encoded bytes, there and back."""

import io
from typing import Any

import numpy as np
import PIL.Image
import pytest

from blueengine import Image
from blueengine.datatypes import base
from blueengine.errors import DataTypeError
from blueengine.wire.envelope import Meta
from tests.unit.datatypes.helpers import decode, there_and_back

RED = np.zeros((4, 6, 3), np.uint8)
RED[..., 0] = 255
GRAY = np.arange(24, dtype=np.uint8).reshape(4, 6)
CLEAR = np.dstack([RED, np.full((4, 6), 7, np.uint8)])


def png(array: Any) -> bytes:
    out = io.BytesIO()
    PIL.Image.fromarray(array).save(out, "png")
    return out.getvalue()


@pytest.mark.parametrize(
    "array", [RED, GRAY, CLEAR, RED[::2, ::-1]], ids=["RGB", "gray", "RGBA", "slice"]
)
def test_an_array_comes_back_raw_and_equal(array: Any) -> None:
    back = there_and_back("Image", array)
    assert np.array_equal(back.array, array)
    assert back.content_type == ""


def test_facts_travel_with_it() -> None:
    assert there_and_back("Image", Image(RED, {"page": 3})).meta == {"page": 3}
    assert there_and_back("Image", Image(png(RED), {"page": 3})).meta == {"page": 3}


def test_an_array_is_png_where_a_client_may_fetch_it() -> None:
    back = there_and_back("Image", RED, stored=True)
    assert back.content_type == "image/png"
    assert np.array_equal(np.asarray(PIL.Image.open(io.BytesIO(back.bytes))), RED)
    assert np.array_equal(back.array, RED)


@pytest.mark.parametrize("array", [GRAY, CLEAR], ids=["gray", "alpha"])
def test_stored_gray_and_alpha_keep_their_form_in_the_bytes(array: Any) -> None:
    back = there_and_back("Image", array, stored=True)
    assert np.array_equal(np.asarray(PIL.Image.open(io.BytesIO(back.bytes))), array)
    assert np.array_equal(back.array, array)
    assert back.rgb.shape == (4, 6, 3)


def test_encoded_bytes_come_back_untouched() -> None:
    data = png(RED)
    back = there_and_back("Image", data)
    assert (back.bytes, back.content_type) == (data, "image/png")
    assert np.array_equal(back.array, RED)


@pytest.mark.parametrize(
    ("mode", "shape"),
    [("1", (4, 6)), ("L", (4, 6)), ("LA", (4, 6, 4)), ("P", (4, 6, 4)), ("RGBA", (4, 6, 4))],
)
def test_a_png_is_decoded_to_what_it_holds(mode: str, shape: tuple[int, ...]) -> None:
    out = io.BytesIO()
    PIL.Image.fromarray(CLEAR).convert(mode).save(out, "png")
    assert Image(out.getvalue()).array.shape == shape


def test_a_deep_png_is_brought_to_8_bits() -> None:
    out = io.BytesIO()
    PIL.Image.fromarray(GRAY.astype(np.uint16) * 257).save(out, "png")
    assert np.array_equal(Image(out.getvalue()).array, GRAY)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_photograph_is_turned_as_its_exif_says(mode: str) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    out = io.BytesIO()
    PIL.Image.fromarray(RED).convert(mode).save(out, "jpeg", exif=exif)
    assert Image(out.getvalue()).array.shape[:2] == (6, 4)


def test_a_jpeg_of_an_image_with_alpha_leaves_the_alpha_out() -> None:
    back = there_and_back("Image", Image(CLEAR, content_type="image/jpeg"))
    assert back.array.shape == (4, 6, 3)


@pytest.mark.parametrize(
    ("options", "content_type"),
    [
        ({"FORMAT": "raw"}, "application/x-raw-image"),
        ({"FORMAT": "JPEG", "QUALITY": 40}, "image/jpeg"),
        ({"FORMAT": "webp"}, "image/webp"),
        ({"FORMAT": "png"}, "image/png"),
    ],
)
def test_a_channel_may_say_how_arrays_travel(options: dict[str, Any], content_type: str) -> None:
    meta = base.get("Image", options).encode(RED, stored=False).meta
    assert meta is not None
    assert meta.content_type == content_type


def test_quality_makes_a_jpeg_smaller() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
    sizes = [
        len(base.get("Image", {"FORMAT": "jpeg", "QUALITY": q}).encode(noise, stored=False).payload)
        for q in (20, 95)
    ]
    assert sizes[0] < sizes[1] / 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"FORMAT": "tiff"}, "'tiff' is none of raw, png, jpeg, webp"),
        ({"QUALITY": 50}, "QUALITY is for jpeg and webp"),
        ({"FORMAT": "jpeg", "QUALITY": 101}, "QUALITY must be 1 to 100"),
        ({"FORMT": "jpeg"}, "'FORMT' is no option of images"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(DataTypeError, match=words):
        base.get("Image", options)


@pytest.mark.parametrize("kind", ["image/jpeg", "image/webp", "image/png"])
def test_an_array_may_be_sent_in_a_format(kind: str) -> None:
    back = there_and_back("Image", Image(np.full((8, 8, 3), 200, np.uint8), content_type=kind))
    assert back.content_type == kind
    assert abs(int(back.array[4, 4, 1]) - 200) < 4


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1", "CMYK"])
def test_a_pil_image_is_taken_in_every_mode(mode: str) -> None:
    image = PIL.Image.fromarray(RED).convert(mode)
    back = there_and_back("Image", image)
    assert back.array.shape[:2] == (4, 6)
    if mode == "RGBA":
        assert back.array.shape[2] == 4
    if mode in {"RGB", "P", "CMYK"}:
        assert back.array[0, 0].tolist() == [255, 0, 0]


def test_a_mask_becomes_black_and_white() -> None:
    assert there_and_back("Image", GRAY > 3).array.max() == 255


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("page.png", "not str"),
        (None, "not NoneType"),
        (7, "not int"),
        (b"no image", "no PNG, JPEG or WebP"),
        (b"", "no PNG, JPEG or WebP"),
        (RED / 255, "uint8, not of float64"),
        (RED.astype(np.int32), "uint8, not of int32"),
        (np.zeros(5, np.uint8), "not of shape (5,)"),
        (np.zeros((2, 2, 2), np.uint8), "not of shape (2, 2, 2)"),
        (np.zeros((1, 2, 2, 3), np.uint8), "not of shape (1, 2, 2, 3)"),
        (Image(RED, content_type="image/tiff"), "cannot write 'image/tiff'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_image_is_refused(value: Any, words: str) -> None:
    with pytest.raises(DataTypeError) as raised:
        base.get("Image").encode(value, stored=False)
    assert words in str(raised.value)


def test_bytes_that_cannot_be_decoded_are_refused_when_they_are_looked_at() -> None:
    back = there_and_back("Image", b"\x89PNG\r\n\x1a\n" + bytes(20))
    with pytest.raises(DataTypeError, match="cannot be decoded"):
        _ = back.array


@pytest.mark.parametrize(
    "meta",
    [Meta(shape=(4, 7, 3), dtype="uint8"), Meta(shape=(4, 6, 3), dtype="nonsense")],
)
def test_a_raw_payload_that_does_not_fit_its_shape_is_refused(meta: Meta) -> None:
    with pytest.raises(DataTypeError, match="does not fit its shape"):
        decode("Image", RED.tobytes(), meta)
