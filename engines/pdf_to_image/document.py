"""The only file that knows PDFium: opens a PDF, renders a page, says clearly what is wrong.

PDFium is not thread-safe; a worker process calls it from one thread, and runs one session at a
time. A damaged file that makes PDFium itself crash takes its worker along, not the instance.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pypdfium2
from pypdfium2 import raw

from blueengine import Fail
from engines.pdf_to_image.settings import Settings

# Readers accept a header anywhere in the first 1024 bytes; so does PDFium.
_HEADER = b"%PDF-"
_HEADER_WITHIN = 1024

Pixels = npt.NDArray[np.uint8]


class Document:
    """An open PDF. Every fault is a `Fail` that names the file and what to do."""

    def __init__(self, pdf: Any, name: str, settings: Settings) -> None:
        self._pdf = pdf
        self._name = name
        self._settings = settings

    def __len__(self) -> int:
        """Count the pages."""
        return len(self._pdf)

    def render(self, number: int) -> Pixels:
        """Render page ``number`` (1 is the first) as RGB, with annotations and form fields."""
        try:
            page = self._pdf[number - 1]
        except pypdfium2.PdfiumError as error:
            raise self._page_is_broken(number) from error
        try:
            self._check_size(number, page.get_size())
            bitmap = page.render(scale=self._settings.scale, rev_byteorder=True)
            # Rows are padded to four bytes, and the pixels belong to the bitmap: take a copy.
            return np.array(bitmap.to_numpy()[:, :, :3], dtype=np.uint8, order="C")
        except pypdfium2.PdfiumError as error:
            raise self._page_is_broken(number) from error
        finally:
            # Without this a long document keeps what every page decoded until the end.
            page.close()

    def _check_size(self, number: int, size: tuple[float, float]) -> None:
        scale, limit = self._settings.scale, self._settings.max_pixels
        width, height = (max(1, round(side * scale)) for side in size)
        if width * height > limit:
            raise Fail(
                f"page {number} of {self._name} would be {width} x {height} pixels, more than the "
                f"limit of {limit} (PDF_MAX_PIXELS): lower PDF_SCALE (now {scale:g}), "
                "or send the page in a smaller format"
            )

    def _page_is_broken(self, number: int) -> Fail:
        return Fail(
            f"page {number} of {self._name} cannot be read, the file seems damaged: "
            "save or print the document to a new PDF and send that"
        )


@contextmanager
def opened(path: Path, name: str, settings: Settings) -> Iterator[Document]:
    """Open the PDF at ``path``, called ``name`` in messages, and close it at the end."""
    _check_header(path, name)
    try:
        # By path, so that PDFium reads what it needs and the file is never whole in memory.
        pdf = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        raise _cannot_open(name, error) from error
    try:
        # What a person typed into a form is drawn only after this. Does nothing without a form.
        pdf.init_forms()
        yield Document(pdf, name, settings)
    finally:
        pdf.close()


def _check_header(path: Path, name: str) -> None:
    with path.open("rb") as file:
        head = file.read(_HEADER_WITHIN)
    if not head:
        raise Fail(f"{name} is empty (0 bytes): the upload was probably cut off, send it again")
    if _HEADER not in head:
        raise Fail(f"{name} is not a PDF (it does not begin with %PDF-): send a PDF file")


def _cannot_open(name: str, error: pypdfium2.PdfiumError) -> Fail:
    if error.err_code == raw.FPDF_ERR_PASSWORD:
        return Fail(f"{name} is encrypted and needs a password: remove it and send the file again")
    if error.err_code == raw.FPDF_ERR_SECURITY:
        return Fail(f"{name} is encrypted in a way that is not supported: send it unprotected")
    return Fail(
        f"{name} cannot be read as a PDF, it is cut off or damaged: "
        "send it again, or save the document to a new PDF and send that"
    )
