"""Declare the engine ``ocr``: an image and its boxes give the text of the page on Text."""

from blueengine import BlueEngine
from engines.ocr import steps

engine = BlueEngine()
engine.add_step(
    "recognise",
    init_func=steps.init,
    process_func=steps.recognise,
    input_channels=["Image", "Boxes"],
    output_channels=["Text"],
    required_channels=["Image", "Boxes"],
)
engine.start()
