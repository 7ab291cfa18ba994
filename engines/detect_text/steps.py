"""What ``detect_text`` does; the model is loaded by `init`, in the worker process alone."""

import itertools
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from blueengine import Context
from engines.detect_text.reading_order import in_reading_order
from engines.detect_text.settings import from_environment

if TYPE_CHECKING:
    from engines.detect_text.detector import Detector


def init(context: Context) -> "Detector":
    """Load the detector, once for all sessions of this worker."""
    settings = from_environment(os.environ)
    from engines.detect_text.detector import Detector  # noqa: PLC0415 - the parent stays light

    context.logger.info("detector with %d thread(s)", settings.threads)
    return Detector(threads=settings.threads, max_side=settings.max_side)


def start(context: Context) -> Iterator[int]:
    """Count the images of the session, for those that do not say which page they are."""
    del context
    return itertools.count(1)


def detect(context: Context, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Find the boxes of one image; ``rows`` says for each box which printed row it stands in."""
    detector: Detector = context.init_data
    image = inputs["Image"]
    count = next(context.start_data)
    page = image.meta.get("page", count)
    # An image that no PDF engine made may not say how many there are.
    total = image.meta.get("pages", count)
    pixels = image.rgb
    height, width = pixels.shape[:2]
    boxes, rows = in_reading_order(detector.find(pixels), width)
    context.progress(count, total, f"page {page} of {total}")
    return {"Boxes": {"page": page, "boxes": boxes, "rows": rows, "width": width, "height": height}}
