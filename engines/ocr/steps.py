"""What ``ocr`` does; the model is loaded by `init`, in the worker process alone."""

import itertools
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from blueengine import Context
from engines.ocr import boxes
from engines.ocr.settings import from_environment

if TYPE_CHECKING:
    from engines.ocr.recogniser import Recogniser

# Between the boxes of one printed row: cells of a table, a label and its value.
_BETWEEN_CELLS = "\t"


def init(context: Context) -> "Recogniser":
    """Load the recogniser, once for all sessions of this worker."""
    settings = from_environment(os.environ)
    from engines.ocr.recogniser import Recogniser  # noqa: PLC0415 - the parent stays light

    context.logger.info("recogniser with %d thread(s)", settings.threads)
    return Recogniser(threads=settings.threads)


def recognise(context: Context, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Read one page; nothing is sent for a page in whose middle the session was stopped."""
    recogniser: Recogniser = context.init_data
    image = inputs["Image"]
    pixels = image.rgb
    height, width = pixels.shape[:2]
    page = boxes.read(inputs["Boxes"], image.meta, width=width, height=height)
    lines: list[dict[str, Any]] = []
    rows: list[int] = []
    for box, row in zip(page.boxes, page.rows, strict=True):
        if context.cancelled:
            return {}
        text, score = recogniser.read(pixels, box)
        if text:  # a ruling or a speck that the detector took for text reads as nothing
            lines.append({"text": text, "score": score, "box": box})
            rows.append(row)
    # An image that no PDF engine made may not say how many there are.
    total = image.meta.get("pages", page.page)
    context.progress(page.page, total, f"page {page.page} of {total}")
    return {"Text": {"page": page.page, "lines": lines, "text": _joined(lines, rows)}}


def _joined(lines: list[dict[str, Any]], rows: list[int]) -> str:
    by_row = itertools.groupby(zip(lines, rows, strict=True), key=lambda pair: pair[1])
    return "\n".join(_BETWEEN_CELLS.join(line["text"] for line, _ in cells) for _, cells in by_row)
