"""The message on channel Boxes, as this engine takes it: read strictly, refused in clear words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blueengine import Fail

_SHAPE = '{"page": 1, "boxes": [[[x, y], [x, y], [x, y], [x, y]], ...]}'


@dataclass(frozen=True, slots=True, kw_only=True)
class PageBoxes:
    """The boxes of one page, in reading order."""

    page: int
    boxes: list[list[list[float]]]
    rows: list[int]
    """For each box the printed row it stands in; boxes of one row are cells of one line."""


def read(message: Any, meta: Mapping[str, Any], *, width: int, height: int) -> PageBoxes:
    """Check a Boxes message against the image it was joined with.

    A lost or doubled message would pair every later page with the boxes of another one, and the
    text would be nonsense without any error; so page and size have to agree.
    """
    if not isinstance(message, dict) or not isinstance(message.get("boxes"), list):
        raise Fail(f"Boxes takes {_SHAPE}; this message is something else")
    page = message.get("page")
    if not isinstance(page, int):
        raise Fail(f"Boxes takes {_SHAPE}; this message has no page number")
    if meta.get("page", page) != page:
        raise Fail(
            f"the image is page {meta['page']} and the boxes are of page {page}: "
            "Image and Boxes must carry the same pages in the same order"
        )
    of = (message.get("width", width), message.get("height", height))
    if of != (width, height):
        raise Fail(
            f"the image of page {page} is {width} x {height} pixels and its boxes were found on "
            f"{of[0]} x {of[1]}: link Image here to the channel that the detector reads"
        )
    boxes = message["boxes"]
    for number, box in enumerate(boxes, 1):
        if not _is_box(box, width, height):
            raise Fail(f"box {number} of page {page} is not four corners [x, y] inside the image")
    rows = message.get("rows", list(range(len(boxes))))
    if not isinstance(rows, list) or len(rows) != len(boxes):
        raise Fail(f"page {page} has {len(boxes)} boxes but rows does not have one number for each")
    return PageBoxes(page=page, boxes=boxes, rows=rows)


def _is_box(box: Any, width: int, height: int) -> bool:
    return (
        isinstance(box, list)
        and len(box) == 4
        and all(
            isinstance(point, list)
            and len(point) == 2
            and _is_within(point[0], width)
            and _is_within(point[1], height)
            for point in box
        )
    )


def _is_within(value: Any, most: int) -> bool:
    # A far corner would ask for a crop of any size, so this also bounds memory. NaN is in no range.
    return isinstance(value, int | float) and 0 <= value <= most
