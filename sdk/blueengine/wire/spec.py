"""An engine's declared inputs and outputs, as registered with its attendance."""

import msgspec

CONTROL = "Control"
STATUS = "Status"
FORWARD = "forward"
"""Between the steps of one engine: any Python object, never on a data channel."""


class EngineSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine reads and writes: port name -> type name (canonical, e.g. ``JSON``)."""

    id: str
    name: str
    concurrency: int
    inputs: dict[str, str]
    outputs: dict[str, str]
    version: int = 1
