"""Pages come out in order and one by one; each bad file is named, with what to do about it."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas

from blueengine import Fail, File
from engines.pdf_to_image import steps
from engines.pdf_to_image.settings import Settings, from_environment

# Page 2 is promised and not there; PDFium finds that out only when the page is asked for.
LACKS_PAGE_TWO = b"""%PDF-1.4
1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj
2 0 obj <</Type/Pages/Count 2/Kids[3 0 R 9 0 R]>> endobj
3 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 100 100]>> endobj
trailer <</Root 1 0 R>>
"""


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., File]:
    def make(content: bytes, name: str = "invoice.pdf") -> File:
        # As in a session: the path is the platform's, the name is the user's.
        path = tmp_path / "blob-1"
        path.write_bytes(content)
        return File(path, name=name, content_type="application/pdf")

    return make


@pytest.fixture
def ready(context):
    context.init_data = Settings()
    return context


def a_pdf(**options) -> bytes:
    buffer = io.BytesIO()
    canvas = Canvas(buffer, **options)
    canvas.drawString(50, 500, "Hello")
    canvas.save()
    return buffer.getvalue()


def failure(context, file: File) -> str:
    with pytest.raises(Fail) as caught:
        list(steps.render(context, {"File": file}))
    return str(caught.value)


def test_every_page_comes_out_once_and_in_order(ready, sample):
    images = [output["Image"] for output in steps.render(ready, {"File": sample})]

    assert [image.meta["page"] for image in images] == [1, 2, 3, 4]
    for image in images:
        assert image.array.shape == (1684, 1191, 3)
        assert image.array.dtype.name == "uint8"
        assert image.meta | {"page": 0} == {
            "page": 0,
            "pages": 4,
            "width": 1191,
            "height": 1684,
            "scale": 2.0,
        }


def test_progress_names_the_page(ready, sample):
    list(steps.render(ready, {"File": sample}))
    assert ready.told[1] == (2, 4, "page 2 of 4")
    assert len(ready.told) == 4


def test_colours_are_in_the_order_red_green_blue(ready, file):
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=(100, 100))
    canvas.setFillColorRGB(1, 0, 0)
    canvas.rect(0, 0, 100, 100, stroke=0, fill=1)
    canvas.save()
    (output,) = steps.render(ready, {"File": file(buffer.getvalue())})
    assert output["Image"].array[100, 100].tolist() == [255, 0, 0]


def test_the_scale_is_a_setting(context, sample, monkeypatch):
    monkeypatch.setenv("PDF_SCALE", "1")
    context.init_data = steps.init(context)
    image = next(steps.render(context, {"File": sample}))["Image"]
    assert image.array.shape == (842, 596, 3)
    assert image.meta["scale"] == 1.0


def test_a_page_is_drawn_only_when_the_one_before_was_taken(ready, sample):
    output = steps.render(ready, {"File": sample})
    next(output)
    assert ready.told == []
    next(output)
    assert ready.told == [(1, 4, "page 1 of 4")]


def test_a_stopped_session_ends_before_the_next_page(ready, sample):
    output = steps.render(ready, {"File": sample})
    next(output)
    ready.cancelled = True
    assert list(output) == []


def test_an_empty_file_is_said_to_be_empty(ready, file):
    assert "invoice.pdf is empty (0 bytes)" in failure(ready, file(b""))


def test_another_kind_of_file_is_said_to_be_no_pdf(ready, file):
    message = failure(ready, file(b"\x89PNG\r\n\x1a\n" + bytes(2000), name="scan.png"))
    assert "scan.png is not a PDF" in message


def test_a_pdf_that_needs_a_password_is_said_to_be_encrypted(ready, file):
    message = failure(ready, file(a_pdf(encrypt=StandardEncryption("secret"))))
    assert "invoice.pdf is encrypted and needs a password: remove it" in message


def test_a_pdf_that_only_forbids_printing_is_read(ready, file):
    locked = a_pdf(encrypt=StandardEncryption("", ownerPassword="owner", canPrint=0))
    (output,) = steps.render(ready, {"File": file(locked)})
    assert (output["Image"].array < 128).any()


@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_a_pdf_that_was_cut_off_is_said_to_be_damaged(ready, file, sample, part):
    whole = sample.path.read_bytes()
    message = failure(ready, file(whole[: int(len(whole) * part)]))
    assert "invoice.pdf cannot be read as a PDF, it is cut off or damaged: send it again" in message


def test_a_header_with_nonsense_behind_it_is_said_to_be_damaged(ready, file):
    assert "cut off or damaged" in failure(ready, file(b"%PDF-1.7\n" + b"\x00\xff" * 5000))


def test_a_page_that_cannot_be_read_is_named_after_those_before_it_went_out(ready, file):
    output = steps.render(ready, {"File": file(LACKS_PAGE_TWO)})
    assert next(output)["Image"].meta["page"] == 1
    with pytest.raises(Fail, match=r"page 2 of invoice\.pdf cannot be read"):
        next(output)


def test_a_page_of_absurd_size_is_refused_before_it_is_drawn(ready, file):
    message = failure(ready, file(a_pdf(pagesize=(14400, 14400))))
    assert "page 1 of invoice.pdf would be 28800 x 28800 pixels" in message
    assert "limit of 40000000 (PDF_MAX_PIXELS): lower PDF_SCALE (now 2)" in message


def test_settings_left_out_have_defaults():
    assert from_environment({"PDF_SCALE": " "}) == Settings(scale=2.0, max_pixels=40_000_000)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PDF_SCALE", "two"),
        ("PDF_SCALE", "0"),
        ("PDF_SCALE", "nan"),
        ("PDF_SCALE", "inf"),
        ("PDF_MAX_PIXELS", "-1"),
        ("PDF_MAX_PIXELS", "1e12"),
    ],
)
def test_a_wrong_setting_is_named_with_its_range(name, value):
    with pytest.raises(Fail, match=f"{name} is '{value}': set it to a number from"):
        from_environment({name: value})
