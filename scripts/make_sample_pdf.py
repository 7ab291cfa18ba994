# ruff: noqa: INP001 - a script is run, never imported
"""Make samples/ocr-sample.pdf and its truth, samples/ocr-sample.txt.

    python scripts/make_sample_pdf.py [FOLDER]

The PDF comes out the same to the byte wherever this is run: no dates and ids in it, the fonts
every PDF reader has (none embedded), and page contents stored plain, since compressed bytes
differ between builds of zlib. The truth is written from the same lines as the pages: a block a
page, a printed row a line, a tab between the cells of a row, columns one after the other.
"""

import sys
from pathlib import Path

from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

_WIDTH, _HEIGHT = A4
_MARGIN = 56.0
_SANS, _BOLD, _SERIF = "Helvetica", "Helvetica-Bold", "Times-Roman"


class _Page:
    """Draws lines from the top down, and keeps each as the truth."""

    def __init__(self, canvas: Canvas) -> None:
        self._canvas = canvas
        self._y = _HEIGHT - 72.0
        self.truth: list[str] = []

    def space(self, points: float) -> None:
        self._y -= points

    def line(self, text: str, font: str = _SANS, size: float = 11.0) -> None:
        self._draw(_MARGIN, text, font, size)
        self._advance(size)
        self.truth.append(text)

    def row(self, cells: list[str], ends: list[float], font: str = _SANS) -> None:
        """Draw the first cell at the left margin, each other one so that it ends at its place."""
        size = 10.5
        self._draw(_MARGIN, cells[0], font, size)
        self._canvas.setFont(font, size)
        for cell, end in zip(cells[1:], ends, strict=True):
            self._canvas.drawRightString(end, self._y, cell)
        self._advance(size)
        self.truth.append("\t".join(cells))

    def rule(self) -> None:
        self._canvas.setLineWidth(0.6)
        self._canvas.line(_MARGIN, self._y + 7, _WIDTH - _MARGIN, self._y + 7)
        self.space(8)

    def columns(self, left: list[str], right: list[str]) -> None:
        size, top = 10.5, self._y
        for x, lines in ((_MARGIN, left), (_WIDTH / 2 + 14, right)):
            self._y = top
            for text in lines:
                self._draw(x, text, _SERIF, size)
                self._advance(size)
        self._y = top - max(len(left), len(right)) * size * 1.5
        self.truth += left + right

    def _draw(self, x: float, text: str, font: str, size: float) -> None:
        self._canvas.setFont(font, size)
        self._canvas.drawString(x, self._y, text)

    def _advance(self, size: float) -> None:
        self._y -= size * 1.5


_ITEM_ENDS = [355.0, 440.0, _WIDTH - _MARGIN]
_READING_ENDS = [270.0, 360.0, 450.0, _WIDTH - _MARGIN]


def _invoice(page: _Page) -> None:
    page.line("Northwind Harbour Supplies Ltd.", _BOLD, 18)
    page.line("14 Quay Street, Bristol BS1 6EA - Tel. 0117 496 0182", size=9)
    page.space(22)
    page.line("Invoice No. 2026-04817", _BOLD, 14)
    page.line("Date of issue: 17 November 2026")
    page.line("Customer: Tidewater Boatworks, Attn. Mrs. J. Okafor")
    page.line("Your order: TB/3391 of 9 November 2026")
    page.space(14)
    page.row(["Description", "Quantity", "Unit price", "Amount"], _ITEM_ENDS, _BOLD)
    page.rule()
    page.row(["Marine rope, 12 mm, white", "150", "1.85", "277.50"], _ITEM_ENDS)
    page.row(["Stainless shackle, size 8", "48", "6.20", "297.60"], _ITEM_ENDS)
    page.row(["Deck paint, grey, 5 litres", "6", "74.90", "449.40"], _ITEM_ENDS)
    page.row(["Fender, inflatable, 60 cm", "12", "31.25", "375.00"], _ITEM_ENDS)
    page.row(["Delivery to Pier 7", "1", "28.00", "28.00"], _ITEM_ENDS)
    page.rule()
    page.row(["Net total", "1,427.50"], _ITEM_ENDS[-1:])
    page.row(["VAT 20 %", "285.50"], _ITEM_ENDS[-1:])
    page.row(["Total to pay (GBP)", "1,713.00"], _ITEM_ENDS[-1:], _BOLD)
    page.space(16)
    page.line("Please pay within 30 days, quoting the invoice number.")
    page.line("Bank: Severn & Avon, sort code 20-45-77, account 7310 2964", size=10)


def _terms(page: _Page) -> None:
    page.line("Terms of Delivery", _BOLD, 16)
    page.line("These terms are part of every order placed with us after 1 January 2026.", size=10)
    page.space(18)
    page.columns(
        [
            "1. Goods leave our warehouse within",
            "three working days of the order. When",
            "an item is out of stock we write to you",
            "the same day and name a new date.",
            "2. Risk passes to the customer when the",
            "goods are handed over. Damage must be",
            "reported within 48 hours, with pictures.",
            "3. Returns are taken for 14 days if the",
            "packaging is whole and unopened.",
        ],
        [
            "4. Prices are in pounds sterling and do",
            "not include duties. A price quoted in",
            "writing holds for sixty days.",
            "5. Late payments bear interest of 8 per",
            "cent a year above the bank rate.",
            "6. Paint and solvents travel by road",
            "only; see safety sheet SDS-207, rev. 3.",
            "7. The law of England and Wales applies",
            "to all contracts made under these terms.",
        ],
    )
    page.space(18)
    page.line("Questions? Call 0117 496 0183 on weekdays, 8:30 to 17:00.")


def _report(page: _Page) -> None:
    page.line("Water Quality Report", _BOLD, 18)
    page.line("Harbour basin, October 2026", _SERIF, 13)
    page.space(14)
    page.line("Samples were taken at 06:30 on five days, at a depth of 1.5 m, and", _SERIF, 12)
    page.line("tested in the laboratory on the same day. Values in brackets lie", _SERIF, 12)
    page.line("outside the range that the port authority allows.", _SERIF, 12)
    page.space(12)
    page.row(["Date", "Temp. (C)", "pH", "Oxygen (mg/l)", "Salinity"], _READING_ENDS, _BOLD)
    page.rule()
    page.row(["2026-10-05", "14.2", "7.9", "8.35", "31.4"], _READING_ENDS)
    page.row(["2026-10-12", "13.6", "8.0", "8.61", "31.9"], _READING_ENDS)
    page.row(["2026-10-19", "12.8", "8.1", "8.97", "32.2"], _READING_ENDS)
    page.row(["2026-10-26", "12.1", "(8.6)", "9.12", "32.0"], _READING_ENDS)
    page.row(["2026-10-30", "11.7", "8.2", "9.24", "31.8"], _READING_ENDS)
    page.rule()
    page.space(8)
    page.line("The value of 26 October followed heavy rain; it was checked twice.")
    page.line("Next report: 15 December 2026. Reference WQ-2026/10-B.", size=10)


def _minutes(page: _Page) -> None:
    page.line("Minutes of the Quay Committee", _BOLD, 15)
    page.line("Thursday, 5 November 2026, 18:00 to 19:25, Room 2.14", size=10)
    page.space(16)
    page.line("Present: A. Lindqvist (chair), P. Moreau, S. Adeyemi, K. Brandt", size=10)
    page.space(10)
    page.line("1. Crane inspection", _BOLD, 12)
    page.line("The north crane passed; its limit stays at 12,500 kg until March.", _SERIF, 12)
    page.line("Cost of the test: $4,960, paid from budget line 33-A.", _SERIF, 12)
    page.space(10)
    page.line("2. Lighting", _BOLD, 12)
    page.line('Mr. Brandt asked: "Why are lamps 17 to 23 still dark?" The cable', _SERIF, 12)
    page.line("will be replaced in week 47. Expected saving: 18.4 % a year.", _SERIF, 12)
    page.space(10)
    page.line("3. Any other business", _BOLD, 12)
    page.line("The visitor count rose from 8,204 to 9,617 (+17 %).", _SERIF, 12)
    page.line("Next meeting: 3 December 2026, same place.", _SERIF, 12)


def make(folder: Path) -> None:
    """Write the PDF and its truth into ``folder``."""
    canvas = Canvas(str(folder / "ocr-sample.pdf"), pagesize=A4, invariant=True, pageCompression=0)
    canvas.setTitle("Sample for text recognition")
    blocks: list[str] = []
    for draw in (_invoice, _terms, _report, _minutes):
        page = _Page(canvas)
        draw(page)
        canvas.showPage()
        blocks.append("\n".join(page.truth))
    canvas.save()
    (folder / "ocr-sample.txt").write_text("\n\n".join(blocks) + "\n", encoding="utf-8")


if __name__ == "__main__":
    here = Path(__file__).resolve().parent.parent / "samples"
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else here)
