"""The only file that knows rapidocr's detector.

Three traps are closed here: rapidocr's flags stick from call to call (so this instance is used
for detection alone), it downloads a model that it does not find (so the model in its wheel is
named), and a number of threads above the number of cores makes it take all of them (so it is
capped).
"""

import os
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import rapidocr

from blueengine import Fail

Pixels = npt.NDArray[np.uint8]
Box = list[list[int]]
"""Four corners ``[x, y]``, clockwise from the top left."""


class Detector:
    """Finds the lines of text of an image. One instance belongs to one thread."""

    def __init__(self, *, threads: int, max_side: int) -> None:
        threads = min(threads, os.cpu_count() or 1)
        cv2.setNumThreads(threads)
        self._find = rapidocr.RapidOCR(
            params={
                "Det.model_path": str(_packed_model()),
                "EngineConfig.onnxruntime.intra_op_num_threads": threads,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                "Global.max_side_len": max_side,
                "Global.log_level": "warning",
            }
        )

    def find(self, pixels: Pixels) -> list[Box]:
        """Find the boxes of an RGB image, in its pixels and in no order that can be relied on."""
        # The models were trained on OpenCV's channel order.
        bgr = np.ascontiguousarray(pixels[:, :, ::-1])
        found = self._find(bgr, use_det=True, use_cls=False, use_rec=False)
        # A page without text is answered by another type, and without boxes.
        boxes = getattr(found, "boxes", None)
        if boxes is None:
            return []
        return [[[round(float(x)), round(float(y))] for x, y in box] for box in boxes]


def _packed_model() -> Path:
    folder = Path(rapidocr.__file__).parent / "models"
    models = sorted(folder.glob("*_det_*.onnx"))
    if not models:
        raise Fail(
            f"rapidocr holds no detection model in {folder}: "
            "install the version that blueengine[detect-text] asks for"
        )
    return models[-1]
