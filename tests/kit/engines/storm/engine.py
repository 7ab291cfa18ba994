"""Work whose results can be foretold, for sessions that live through faults.

A message is ``{"n": number, "via": [engines so far], …}``. With ``spread`` it becomes so many; with
``pause`` each takes so many seconds; ``die`` ends the worker once a session; ``wait`` goes on until
the session is stopped, ``deaf`` even then; ``say`` tells of each message. With ``STORM_REFUSES`` set the engine prepares for each session, and refuses
some.
"""

import hashlib
import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from blueengine import BlueEngine, Context, Refuse

engine = BlueEngine(os.environ.get("ENGINE_YML"))
NAME = engine.settings.id
INSTANCE = os.environ.get("BLUEENGINE_INSTANCE_ID", "")


def start(context: Context) -> None:
    if zlib.crc32(f"{context.session_id} {INSTANCE}".encode()) % 3 == 0:
        raise Refuse(f"{INSTANCE} does not like it")


def look(pixels: Any) -> dict[str, Any]:
    digest = hashlib.sha256(pixels.tobytes()).hexdigest()
    sums = {"shape": list(pixels.shape), "sum": digest, "via": [NAME]}
    return {"Shown": pixels[::-1].copy(), "Results": sums}


def turn(data: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    return {"Big": data[::-1], "Results": {"size": len(data), "sum": digest, "via": [NAME]}}


def work(context: Context, inputs: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "Blob" in inputs:
        yield turn(inputs["Blob"])
    elif "Picture" in inputs:
        yield look(inputs["Picture"].array)
    else:
        yield from spread(context, inputs["Control"])


def spread(context: Context, message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if message.get("die"):
        died = Path(os.environ["STORM_MARKS"], context.session_id)
        if not died.exists():
            died.touch()
            os._exit(3)
    while message.get("deaf"):
        time.sleep(0.01)
    while message.get("wait") and not context.cancelled:
        time.sleep(0.01)
    given = {name: message[name] for name in ("pause", "fill", "say") if name in message}
    for number in range(message["spread"]) if "spread" in message else [message["n"]]:
        if context.cancelled:
            return
        if "pause" in message:
            time.sleep(message["pause"])
        if "say" in message:
            context.status("said", n=number)
        yield {"Results": {"n": number, "via": [*message.get("via", []), NAME], **given}}


engine.add_step(
    "work",
    start_func=start if os.environ.get("STORM_REFUSES") else None,
    process_func=work,
    input_channels=["Control", "Blob", "Picture"],
    output_channels=["Results", "Big", "Shown"],
)
engine.start()
