"""Do what the message says; ``{"do": name, …}``. What is seen on the way goes to ``DEEDS_LOG``."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from blueengine import BlueEngine, Context, Fail

engine = BlueEngine(os.environ.get("ENGINE_YML"))

Message = dict[str, Any]
Outputs = Iterator[Any]


def note(what: str) -> None:
    with Path(os.environ["DEEDS_LOG"]).open("a") as log:
        log.write(what + "\n")


def init(_: Context) -> str:
    if os.environ.get("DEEDS_INIT") == "raise":
        raise RuntimeError("no model in this house")
    if os.environ.get("DEEDS_INIT") == "hang":
        note("init")
        time.sleep(60)
    if os.environ.get("DEEDS_INIT") == "once" and Path(os.environ["DEEDS_LOG"]).exists():
        raise RuntimeError("the model is gone")
    return "model"


def echo(context: Context, message: Message) -> Outputs:
    yield {"Results": {**message, "init": context.init_data}}


def many(_: Context, message: Message) -> Outputs:
    filler = "x" * message.get("size", 0)
    for number in range(message["count"]):
        yield {"Results": {"n": number, "x": filler}}
    note(f"made {message['count']}")


def spread(_: Context, message: Message) -> Outputs:
    """Write deeds for whoever reads."""
    filler = "x" * message.get("size", 0)
    for number in range(message["count"]):
        yield {"Results": {"do": "echo", "n": number, "x": filler}}


def pid(_: Context, __: Message) -> Outputs:
    yield {"Results": os.getpid()}


def deep(text: str) -> None:
    raise ValueError(text)


def raises(_: Context, message: Message) -> Outputs:
    yield {"Results": "before"}
    deep(message["text"])


def fail(_: Context, message: Message) -> Outputs:
    yield None
    raise Fail(message["text"])


def finish(_: Context, __: Message) -> Outputs:
    yield {"Results": "first", "Status": {"type": "finish"}}
    note("went on after finish")
    yield {"Results": "second"}


def burst(_: Context, message: Message) -> Outputs:
    for number in range(message["count"]):
        yield {"Results": {"n": number}}
    yield {"Status": {"type": "finish"}}


def error(_: Context, message: Message) -> Outputs:
    yield {"Status": {"type": "error", "message": message["text"]}}


def status(context: Context, _: Message) -> Outputs:
    context.progress(1, 2, "half")
    yield {"Status": {"type": "warmed", "degrees": 7}}


def log(context: Context, message: Message) -> Outputs:
    context.logger.info(message["text"])
    yield None


def leave(_: Context, __: Message) -> Outputs:
    yield None
    os._exit(3)


def mutter(context: Context, message: Message) -> Outputs:
    yield None
    context.logger.error(message["text"])
    os._exit(3)


def crash(_: Context, __: Message) -> Outputs:
    os.kill(os.getpid(), signal.SIGSEGV)
    yield


def hang(_: Context, __: Message) -> Outputs:
    note(f"hanging {os.getpid()}")
    while True:
        time.sleep(0.05)
    yield


def wait(context: Context, __: Message) -> Outputs:
    note(f"waiting {os.getpid()}")
    while not context.cancelled:
        time.sleep(0.005)
    note("saw the stop")
    yield


def scratch(context: Context, _: Message) -> Outputs:
    Path(context.client_id, "left.txt").write_text("something")
    yield {"Results": context.client_id}


def wrong_shape(_: Context, __: Message) -> Outputs:
    yield ["Results", 1]


def wrong_channel(_: Context, __: Message) -> Outputs:
    yield {"Rseults": 1}


def wrong_value(_: Context, __: Message) -> Outputs:
    yield {"Results": object()}


DEEDS: dict[str, Callable[[Context, Message], Outputs]] = {
    f.__name__: f
    for f in (
        echo, many, spread, pid, raises, fail, finish, burst, error, status, log, leave, mutter, crash, hang, wait,
        scratch, wrong_shape, wrong_channel, wrong_value,
    )
}  # fmt: skip


def process(context: Context, inputs: dict[str, Any]) -> Outputs:
    message = inputs["Control"]
    yield from DEEDS[message["do"]](context, message)


def stop(context: Context) -> None:
    if context.labels.get("stop") == "hang":
        note(f"hanging {os.getpid()}")
        time.sleep(60)
    if context.labels.get("stop"):
        note(f"stopped {context.session_id}")


def terminate(_: Context) -> None:
    note(f"terminated {os.getpid()}")


engine.add_step(
    "deed",
    init_func=init,
    process_func=process,
    stop_func=stop,
    terminate_func=terminate,
    input_channels=["Control"],
    output_channels=["Results", "Status"],
)
engine.start()
