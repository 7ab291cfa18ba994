"""What ``pdf_to_image`` does; PDFium is loaded by `init`, in the worker process alone."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from blueengine import Context, Image
from engines.pdf_to_image.settings import Settings, from_environment


def init(context: Context) -> Settings:
    """Read the settings, and load PDFium so that the first session does not wait for it."""
    settings = from_environment(os.environ)
    from engines.pdf_to_image import document  # noqa: F401, PLC0415 - the parent stays light

    context.logger.info("rendering at %g pixels a point", settings.scale)
    return settings


def render(context: Context, inputs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the pages in order, each as soon as it is drawn; one page is in memory at a time."""
    from engines.pdf_to_image import document  # noqa: PLC0415 - the parent stays light

    settings: Settings = context.init_data
    file = inputs["File"]
    with document.opened(file.path, file.name, settings) as pdf:
        total = len(pdf)
        for number in range(1, total + 1):
            if context.cancelled:
                return
            pixels = pdf.render(number)
            height, width = pixels.shape[:2]
            meta = {
                "page": number,
                "pages": total,
                "width": width,
                "height": height,
                "scale": settings.scale,
            }
            yield {"Image": Image(pixels, meta=meta)}
            # After the page went out: backpressure may have held it back until now.
            context.progress(number, total, f"page {number} of {total}")
