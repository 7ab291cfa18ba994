"""What ``hello`` does with a message."""

from collections.abc import Mapping
from typing import Any

from blueengine import Context, Fail


def greet(context: Context, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Greet the name in the message, or the world when it has none.

    No ``finish`` is sent: the sub-session ends by itself once its input has ended.
    """
    message = inputs["Control"]
    if message is None:
        return {"Result": {"data": "World"}}
    if not isinstance(message, dict):
        raise Fail(
            'hello takes a JSON object such as {"name": "Ada"} on Control, '
            f"it got a {type(message).__name__}"
        )
    name = message.get("name")
    context.logger.info("greeting %s", name or "the world")
    return {"Result": {"data": f"Hello, {name}!" if name else "World"}}
