"""What an engine author's editor is told: checked by pyright, strictly; never run."""

from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict, assert_type

from blueengine import (
    BlueEngine,
    Context,
    Fail,
    File,
    Frame,
    Image,
    Refuse,
    RetryLater,
    Video,
    VideoWriter,
    register_type,
)
from blueengine.datatypes.base import Encoded, Incoming
from blueengine.testing import EngineRun, Outcome, SessionRun, running


class Inputs(TypedDict):
    Page: Image


class Points:
    def encode(self, value: Any, *, stored: bool) -> Encoded:
        return Encoded(bytes(value))

    def decode(self, message: Incoming) -> bytes:
        return message.read()


def load(context: Context) -> dict[str, int]:
    assert_type(context.session_id, str)
    assert_type(context.labels, dict[str, str])
    assert_type(context.client_id, str)
    assert_type(context.cancelled, bool)
    assert_type(context.inputs_ended, bool)
    assert_type(context.secret("TOKEN"), str)
    context.progress(1, 2, "half")
    context.status("warmed", degrees=7)
    return {}


def start(context: Context) -> None:
    if context.labels:
        raise Refuse("no")
    raise RetryLater("not yet", after=2.0, attempts=3)


def plain(context: Context, inputs: Inputs) -> dict[str, Image]:
    assert_type(inputs["Page"], Image)
    assert_type(inputs["Page"].meta, dict[str, Any])
    assert_type(inputs["Page"].bytes, bytes)
    return {"Page": inputs["Page"]}


def generator(context: Context, inputs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    video: Video = inputs["Clip"]
    with VideoWriter(Path(context.client_id, "out.mp4"), rate=25) as out:
        for frame in video.frames(every=1.0):
            assert_type(frame, Frame)
            assert_type(frame.time, float)
            out.write(frame)
    yield {"Clip": out.close()}


async def async_generator(
    context: Context, inputs: Mapping[str, Any]
) -> AsyncIterator[dict[str, File]]:
    file: File = inputs["Doc"]
    assert_type(file.path, Path)
    assert_type(file.size, int)
    yield {"Doc": file}


def batch(contexts: list[Context], inputs: list[Mapping[str, Any]]) -> list[dict[str, Any] | Fail]:
    return [{"Out": message} if message else Fail("empty") for message in inputs]


register_type("acme.points", Points())
engine = BlueEngine()
engine.add_step("plain", load, start, plain, input_channels=["Page"], output_channels=["Page"])
engine.add_step("generator", process_func=generator, end_func=load, run_in="thread")
engine.add_step("async", process_func=async_generator)
engine.add_step("batch", process_func=batch, batch_size=8, batch_wait=0.02)


@engine.step("decorated", input_channels=["Page"])
def decorated(context: Context, inputs: Inputs) -> None: ...


assert_type(decorated(Context(), {"Page": Image(b"")}), None)

with running("engine.py", step="plain") as run:
    assert_type(run, EngineRun)
    assert_type(run.run(Control=[1]), Outcome)
    session = run.begin(labels={"a": "b"}).send("Page", Image(b"")).end()
    assert_type(session, SessionRun)
    assert_type(session.wait().status, str)

# Wrong use is an error of types. pyright says so when one of these lines is none.
engine.add_step("x", process_func=plain, run_in="fibre")  # pyright: ignore[reportArgumentType]
engine.add_step("x", process_func=load)  # pyright: ignore[reportArgumentType]
engine.add_step("x", process_func=plain, start_func=plain)  # pyright: ignore[reportArgumentType]
engine.add_step("x", process_func="plain")  # pyright: ignore[reportArgumentType]
engine.add_step("x", process_func=plain, input_channels=7)  # pyright: ignore[reportArgumentType]
engine.add_step(name=7)  # pyright: ignore[reportArgumentType]
engine.step("x", input_chanels=["Page"])  # pyright: ignore[reportCallIssue]
register_type("acme.points", object())  # pyright: ignore[reportArgumentType]
Image(b"", "page 7")  # pyright: ignore[reportArgumentType]
Frame(b"")  # pyright: ignore[reportCallIssue]
File(7)  # pyright: ignore[reportArgumentType]
RetryLater("x", afer=1)  # pyright: ignore[reportCallIssue]
running(7)  # pyright: ignore[reportArgumentType]
Context().session_id = 7  # pyright: ignore[reportAttributeAccessIssue]
