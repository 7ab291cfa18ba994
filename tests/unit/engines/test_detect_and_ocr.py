"""The two reading engines, with their real models, on a page of the sample and on bad input."""

import socket
from types import SimpleNamespace

import numpy as np
import pytest

from blueengine import Fail, Image
from engines.detect_text import steps as detect_steps
from engines.detect_text.settings import Settings as DetectSettings
from engines.detect_text.settings import from_environment as detect_settings
from engines.ocr import steps as ocr_steps
from engines.ocr.settings import Settings as OcrSettings
from engines.ocr.settings import from_environment as ocr_settings

# Two models and a page take some four seconds, and other tests may have the second core.
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def models():
    """Both models, loaded while the network is cut: whatever needs a download fails here."""

    def no_network(*_args: object) -> None:
        raise AssertionError("an engine tried to reach the network")

    quiet = SimpleNamespace(info=lambda *_args: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", no_network)
        patch.setattr(socket, "getaddrinfo", no_network)
        yield SimpleNamespace(
            detector=detect_steps.init(SimpleNamespace(logger=quiet)),
            recogniser=ocr_steps.init(SimpleNamespace(logger=quiet)),
        )


@pytest.fixture
def detecting(context, models):
    context.init_data = models.detector
    context.start_data = detect_steps.start(context)
    return context


@pytest.fixture
def blank() -> Image:
    return Image(np.full((200, 300, 3), 255, dtype=np.uint8), meta={"page": 1, "pages": 1})


class PlainReader:
    """Stands in for the recogniser: reads each box as its number."""

    def __init__(self) -> None:
        self.asked = 0

    def read(self, _pixels, _box):
        self.asked += 1
        return f"box {self.asked}", 0.9


@pytest.fixture
def reading(context):
    context.init_data = PlainReader()
    return context


def boxes_of(count: int, **changes) -> dict:
    boxes = [[[10, y], [90, y], [90, y + 8], [10, y + 8]] for y in range(0, count * 10, 10)]
    return {"page": 1, "boxes": boxes, "width": 300, "height": 200} | changes


# --- the real models ----------------------------------------------------------------------------


def test_a_page_is_read_exactly_as_printed(detecting, models, pages, truth):
    invoice = next(pages)

    found = detect_steps.detect(detecting, {"Image": invoice})["Boxes"]
    assert (found["page"], found["width"], found["height"]) == (1, 1191, 1684)
    assert len(found["boxes"]) == len(found["rows"])
    assert all(len(box) == 4 and len(point) == 2 for box in found["boxes"] for point in box)
    assert detecting.told == [(1, 4, "page 1 of 4")]

    detecting.init_data, detecting.told = models.recogniser, []
    text = ocr_steps.recognise(detecting, {"Image": invoice, "Boxes": found})["Text"]
    assert text["page"] == 1
    assert text["text"].splitlines() == truth[0]
    assert [line["text"] for line in text["lines"]] == text["text"].replace("\t", "\n").splitlines()
    assert [line["box"] for line in text["lines"]] == found["boxes"]
    assert min(line["score"] for line in text["lines"]) > 0.9
    assert detecting.told == [(1, 4, "page 1 of 4")]


def test_two_columns_are_found_one_after_the_other(detecting, pages):
    next(pages)
    found = detect_steps.detect(detecting, {"Image": next(pages)})["Boxes"]
    lefts = [box[0][0] for box in found["boxes"]]
    middle = found["width"] / 2
    # Two lines of heading, nine and nine lines of prose, a closing line.
    assert [left > middle for left in lefts] == [False] * 11 + [True] * 9 + [False]


def test_a_page_without_text_has_no_boxes(detecting, blank):
    found = detect_steps.detect(detecting, {"Image": blank})["Boxes"]
    assert found == {"page": 1, "boxes": [], "rows": [], "width": 300, "height": 200}


def test_images_that_name_no_page_are_counted(detecting):
    images = [Image(np.full((64, 64, 3), 255, dtype=np.uint8)) for _ in range(2)]
    pages = [detect_steps.detect(detecting, {"Image": image})["Boxes"]["page"] for image in images]
    assert pages == [1, 2]


def test_a_ruling_is_not_read(models):
    pixels = np.zeros((20, 2000, 3), dtype=np.uint8)
    ruling = [[0, 4], [1999, 4], [1999, 6], [0, 6]]
    assert models.recogniser.read(pixels, ruling) == ("", 0.0)


@pytest.mark.parametrize(
    "box",
    [
        [[5, 5], [5, 5], [5, 5], [5, 5]],
        [[0, 0], [9, 9], [4, 4], [2, 2]],
        [[300, 200], [300, 200], [300, 200], [300, 200]],
    ],
)
def test_a_box_without_an_inside_breaks_nothing(models, blank, box):
    text, score = models.recogniser.read(blank.array, box)
    assert isinstance(text, str)
    assert 0 <= score <= 1


# --- what is asked of the messages --------------------------------------------------------------


def test_boxes_of_one_row_are_joined_by_tabs(reading, blank):
    message = boxes_of(4, rows=[0, 0, 1, 2])
    text = ocr_steps.recognise(reading, {"Image": blank, "Boxes": message})["Text"]["text"]
    assert text == "box 1\tbox 2\nbox 3\nbox 4"


def test_without_rows_each_box_is_a_line(reading, blank):
    text = ocr_steps.recognise(reading, {"Image": blank, "Boxes": boxes_of(2)})["Text"]["text"]
    assert text == "box 1\nbox 2"


def test_a_page_without_boxes_gives_an_empty_text(reading, blank):
    text = ocr_steps.recognise(reading, {"Image": blank, "Boxes": boxes_of(0)})["Text"]
    assert text == {"page": 1, "lines": [], "text": ""}


def test_a_box_in_which_nothing_is_read_is_left_out(reading, blank):
    reading.init_data.read = lambda _pixels, box: ("" if box[0][1] == 10 else "word", 0.5)
    text = ocr_steps.recognise(reading, {"Image": blank, "Boxes": boxes_of(3)})["Text"]
    assert [line["box"][0][1] for line in text["lines"]] == [0, 20]
    assert text["text"] == "word\nword"


def test_boxes_of_another_page_fail_the_session(reading, blank):
    with pytest.raises(Fail, match="the image is page 1 and the boxes are of page 2"):
        ocr_steps.recognise(reading, {"Image": blank, "Boxes": boxes_of(1, page=2)})


def test_boxes_of_another_picture_fail_the_session(reading, blank):
    with pytest.raises(Fail, match="300 x 200 pixels and its boxes were found on 600 x 400"):
        ocr_steps.recognise(reading, {"Image": blank, "Boxes": boxes_of(1, width=600, height=400)})


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ([], "this message is something else"),
        ({"page": 1}, "this message is something else"),
        ({"boxes": []}, "this message has no page number"),
        (boxes_of(1, boxes=[[[0, 0], [1, 1]]]), "box 1 of page 1 is not four corners"),
        (boxes_of(1, boxes=["here"]), "box 1 of page 1 is not four corners"),
        (boxes_of(1, boxes=[[[0, 0], [1e9, 0], [1e9, 9], [0, 9]]]), "inside the image"),
        (boxes_of(1, boxes=[[[0, 0], [float("nan"), 0], [9, 9], [0, 9]]]), "inside the image"),
        (boxes_of(3, rows=[0]), "3 boxes but rows"),
    ],
)
def test_a_malformed_message_fails_with_what_is_wrong(reading, blank, message, words):
    with pytest.raises(Fail, match=words):
        ocr_steps.recognise(reading, {"Image": blank, "Boxes": message})


def test_a_session_stopped_in_the_middle_of_a_page_sends_nothing_of_it(reading, blank):
    reader = reading.init_data

    def stopped_at_the_second(pixels, box):
        reading.cancelled = reader.asked == 1
        return PlainReader.read(reader, pixels, box)

    reader.read = stopped_at_the_second
    assert ocr_steps.recognise(reading, {"Image": blank, "Boxes": boxes_of(9)}) == {}
    assert reader.asked == 2
    assert reading.told == []


# --- settings -----------------------------------------------------------------------------------


def test_settings_left_out_have_defaults():
    assert detect_settings({}) == DetectSettings(threads=1, max_side=1280)
    assert ocr_settings({"OCR_THREADS": ""}) == OcrSettings(threads=1)


def test_settings_are_read():
    environment = {"OCR_THREADS": "2", "DETECT_MAX_SIDE": "2000"}
    assert detect_settings(environment) == DetectSettings(threads=2, max_side=2000)
    assert ocr_settings(environment) == OcrSettings(threads=2)


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5", "257", "²"])
def test_a_wrong_number_of_threads_is_named_with_its_range(value):
    for settings in (detect_settings, ocr_settings):
        with pytest.raises(Fail, match=r"OCR_THREADS is .* a whole number from 1 to 256"):
            settings({"OCR_THREADS": value})


def test_a_wrong_size_is_named_with_its_range():
    with pytest.raises(Fail, match=r"DETECT_MAX_SIDE is '100': .* from 320 to 4000"):
        detect_settings({"DETECT_MAX_SIDE": "100"})
