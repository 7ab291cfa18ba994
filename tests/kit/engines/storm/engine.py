"""Work whose results can be foretold, for sessions that live through faults.

A message is ``{"n": number, "via": [engines so far], …}``. With ``spread`` it becomes so many; with
``pause`` each takes so many seconds; ``die`` ends the worker once a session; ``wait`` goes on until
the session is stopped, ``deaf`` even then; ``say`` tells of each message. With ``STORM_REFUSES`` set the engine prepares for each session, and refuses
some; with ``STORM_SILENT`` it never comes to say that it is ready, the first time, and some of these times
does not even hear that it is stopped.
"""

import hashlib
import os
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from blueengine import BlueEngine, Context, Refuse

engine = BlueEngine(os.environ.get("ENGINE_YML"))
NAME = engine.settings.id
INSTANCE = os.environ.get("BLUEENGINE_INSTANCE_ID", "")


def start(context: Context) -> None:
    if zlib.crc32(f"{context.session_id} {INSTANCE}".encode()) % 3 == 0:
        raise Refuse(f"{INSTANCE} does not like it")


def say_nothing(context: Context) -> None:
    silent = Path(os.environ["STORM_MARKS"], f"{context.session_id}.silent")
    if silent.exists():
        return
    silent.touch()
    deaf = zlib.crc32(context.session_id.encode()) % 2 == 0
    while deaf or not context.cancelled:
        time.sleep(0.01)


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


def starts() -> Callable[[Context], None] | None:
    if os.environ.get("STORM_REFUSES"):
        return start
    return say_nothing if os.environ.get("STORM_SILENT") else None


engine.add_step(
    "work",
    start_func=starts(),
    process_func=work,
    input_channels=["Control", "Blob", "Picture"],
    output_channels=["Results", "Big", "Shown"],
)
engine.start()
