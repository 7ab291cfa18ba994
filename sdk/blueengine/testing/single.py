"""One step on its own: the steps round it are the test's.

What the step forwards goes to a channel that the test reads, and what is forwarded to it comes from
one that the test writes.
"""

import pickle  # noqa: TID251 - objects between steps of one engine, never over a channel
from dataclasses import replace
from typing import Any, Final

from blueengine.datatypes import base
from blueengine.errors import DeclarationError
from blueengine.runtime.context import Context
from blueengine.runtime.declare import BlueEngine, Step
from blueengine.wire.spec import FORWARD

_IN: Final = "forward-in"
_OUT: Final = "forward-out"
_TYPE: Final = "blueengine.object"


class _Object:
    """Any Python object, pickled, as steps pass them on."""

    def encode(self, value: Any, *, stored: bool) -> base.Encoded:
        return base.Encoded(pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL))

    def decode(self, message: base.Incoming) -> Any:
        return pickle.loads(message.read())  # noqa: S301 - written by the test itself


def alone(engine: BlueEngine, name: str) -> BlueEngine:
    """Return an engine of this one step.

    Raises:
        DeclarationError: There is no such step.
    """
    step = next((step for step in engine.steps if step.name == name), None)
    if step is None:
        known = ", ".join(step.name for step in engine.steps)
        raise DeclarationError(f"the engine has no step {name!r}; it has: {known}")
    base.register_type(_TYPE, _Object())
    steps, inputs, outputs = [step], dict(engine.settings.inputs), dict(engine.settings.outputs)
    if FORWARD in step.input_channels:
        inputs[_IN] = _TYPE
        steps.insert(0, _step("before", _before, (_IN,), (FORWARD,)))
    if FORWARD in step.output_channels:
        outputs[_OUT] = _TYPE
        steps.append(_step("after", _after, (FORWARD,), (_OUT,)))
    return engine.derived(replace(engine.settings, inputs=inputs, outputs=outputs), steps)


def inner_input(channel: str) -> str:
    """Return the port behind a channel that a test names."""
    return _IN if channel == FORWARD else channel


def inner_output(channel: str) -> str:
    """Return the port behind a channel that a test names."""
    return _OUT if channel == FORWARD else channel


def outer(port: str) -> str:
    """Return what a test calls a port."""
    return FORWARD if port in {_IN, _OUT} else port


def _step(name: str, function: Any, reads: tuple[str, ...], writes: tuple[str, ...]) -> Step:
    return Step(
        name=f"({name})", process_func=function, input_channels=reads, output_channels=writes
    )


def _before(_context: Context, inputs: dict[str, Any]) -> Any:
    return {FORWARD: inputs[_IN]}


def _after(_context: Context, inputs: dict[str, Any]) -> Any:
    return {_OUT: inputs[FORWARD]}
