"""Declare the engine ``hello``: answer each message on Control with a greeting on Result."""

from blueengine import BlueEngine
from engines.hello import steps

engine = BlueEngine()
engine.add_step(
    "hello",
    process_func=steps.greet,
    input_channels=["Control"],
    output_channels=["Result"],
)
engine.start()
