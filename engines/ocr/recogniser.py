"""The only file that knows rapidocr's recogniser.

rapidocr has no public call for "read these crops": its model is loaded lazily by a private
method, which is called here and nowhere else. It would also download a model that it does not
find (so the model in its wheel is named), and take all cores when asked for more threads than
there are (so they are capped).
"""

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import rapidocr
from rapidocr.ch_ppocr_rec import TextRecInput

from blueengine import Fail

Pixels = npt.NDArray[np.uint8]
Box = list[list[float]]
"""Four corners ``[x, y]``, clockwise from the top left."""

# A box that much taller than wide holds text that runs upwards.
_UPRIGHT_FROM = 1.5
# No print is that much longer than high (some 400 letters): a ruling, on which the model would
# spend seconds, and memory that grows with the square of its length.
_LONGEST = 200


class Recogniser:
    """Reads one box at a time. One instance belongs to one thread."""

    def __init__(self, *, threads: int) -> None:
        threads = min(threads, os.cpu_count() or 1)
        cv2.setNumThreads(threads)
        engine: Any = rapidocr.RapidOCR(
            params={
                "Rec.model_path": str(_packed_model()),
                "EngineConfig.onnxruntime.intra_op_num_threads": threads,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                "Global.log_level": "warning",
            }
        )
        self._read = engine._load_rec_model()  # noqa: SLF001 - see the head of this file

    def read(self, pixels: Pixels, box: Box) -> tuple[str, float]:
        """Read one box of an RGB image: its text and how sure the model is, from 0 to 1.

        Box by box on purpose: a batch pads all to the widest (measured: slower, and twice the
        memory), and between two boxes the session can be stopped.
        """
        crop = _cut_out(pixels, np.asarray(box, dtype=np.float32))
        if crop.shape[1] > _LONGEST * crop.shape[0]:
            return "", 0.0
        result = self._read(TextRecInput(img=[crop]))
        return result.txts[0].strip(), round(float(result.scores[0]), 4)


def _cut_out(pixels: Pixels, corners: npt.NDArray[np.float32]) -> Pixels:
    """Cut a quadrilateral out and lay it straight, in OpenCV's channel order."""
    top, right, bottom, left = (
        float(np.linalg.norm(corners[a] - corners[b])) for a, b in ((0, 1), (1, 2), (2, 3), (3, 0))
    )
    width, height = max(1, int(max(top, bottom))), max(1, int(max(left, right)))
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
    straight = cv2.warpPerspective(
        pixels,
        cv2.getPerspectiveTransform(corners, target),
        (width, height),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if height >= width * _UPRIGHT_FROM:
        straight = np.rot90(straight)
    # The models were trained on OpenCV's channel order. Flipping the crop is cheaper than the page.
    return np.ascontiguousarray(straight[:, :, ::-1], dtype=np.uint8)


def _packed_model() -> Path:
    folder = Path(rapidocr.__file__).parent / "models"
    models = sorted(folder.glob("*_rec_*.onnx"))
    if not models:
        raise Fail(
            f"rapidocr holds no recognition model in {folder}: "
            "install the version that blueengine[ocr] asks for"
        )
    return models[-1]
