"""Declare the engine ``pdf_to_image``: a PDF on File gives one image a page on Image."""

from blueengine import BlueEngine
from engines.pdf_to_image import steps

engine = BlueEngine()
engine.add_step(
    "render",
    init_func=steps.init,
    process_func=steps.render,
    input_channels=["File"],
    output_channels=["Image"],
)
engine.start()
