"""Declare the engine ``detect_text``: an image on Image gives its text boxes on Boxes."""

from blueengine import BlueEngine
from engines.detect_text import steps

engine = BlueEngine()
engine.add_step(
    "detect",
    init_func=steps.init,
    start_func=steps.start,
    process_func=steps.detect,
    input_channels=["Image"],
    output_channels=["Boxes"],
)
engine.start()
