"""A worker of an engine, run in a thread and driven frame by frame as the parent does it."""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from blueengine import BlueEngine
from blueengine.kit.framing import Splitter
from blueengine.runtime import frames
from blueengine.runtime.child import Worker, serve
from blueengine.runtime.context import Flags
from blueengine.runtime.line import SocketLine

CONFIG = {
    "ENGINE": {"ID": "e"},
    "INPUTS": {"NAMES": ["Raw", "Doc"], "TYPES": ["Bytes", "File"]},
    "OUTPUTS": {"NAMES": ["Out", "Text", "Data"], "TYPES": ["JSON", "Text", "Bytes"]},
}
PORTS = ["Control", "Raw", "Doc"]


class Driven:
    """The parent's end of a worker."""

    def __init__(self, sock: socket.socket, flags: Flags, folder: Path) -> None:
        self.sock = sock
        self.flags = flags
        self.folder = folder
        self._splitter = Splitter()
        self._frames: list[frames.FromWorker] = []

    def send(self, *sent: frames.ToWorker) -> None:
        self.sock.sendall(frames.pack(sent))

    def receive(self) -> frames.FromWorker:
        """Return the next frame."""
        while not self._frames:
            data = self.sock.recv(1 << 16)
            assert data, "the worker is gone"
            self._frames = [f for b in self._splitter.feed(data) for f in frames.from_worker(b)]
        return self._frames.pop(0)

    def begin(self, no: int = 1, *, outbox: bool = False, stored: tuple[str, ...] = ()) -> None:
        outbox_folder = str(self.folder / "outbox") if outbox else ""
        scratch = str(self.folder / f"scratch-{no}")
        self.send(frames.Begin(no, f"s{no}", "n", "e", {"a": "b"}, scratch, outbox_folder, stored))

    def work(self, value: Any = None, *, no: int = 1, port: str = "Control") -> None:
        payload = value if isinstance(value, bytes) else orjson.dumps(value)
        self.send(frames.Work(no, [frames.Item(port, [payload])]))

    def run(self, *values: Any, no: int = 1, port: str = "Control") -> None:
        """Send messages that came together."""
        self.send(frames.Work(no, [frames.Item(port, [orjson.dumps(value) for value in values])]))

    def call(self, value: Any = None, **more: Any) -> tuple[list[frames.FromWorker], frames.Done]:
        """Make a call; what was written, and how it ended."""
        self.work(value, **more)
        return self.until_done()

    def until_done(self, calls: int = 1) -> tuple[list[frames.FromWorker], frames.Done]:
        """Wait for the end of so many calls; what was written, and how the last one ended."""
        written: list[frames.FromWorker] = []
        while calls:
            frame = self.receive()
            if isinstance(frame, frames.Done):
                calls -= frame.calls
                done = frame
            else:
                written.append(frame)
        return written, done

    def values(self, value: Any = None, **more: Any) -> list[Any]:
        """Make a call that must go well; the JSON values it wrote."""
        written, done = self.call(value, **more)
        assert (done.error, done.traceback) == ("", "")
        return jsons(written)


def jsons(written: list[frames.FromWorker]) -> list[Any]:
    """Return the JSON values that were written."""
    outs = [frame for frame in written if isinstance(frame, frames.Out)]
    return [orjson.loads(payload) for frame in outs for payload in frame.payloads]


@contextlib.contextmanager
def driven(
    process_func: Callable[..., Any], folder: Path, *, begun: bool = True, **declared: Any
) -> Iterator[Driven]:
    """Run a worker of an engine with this one step; with a session ``1`` unless told otherwise."""
    engine = BlueEngine(CONFIG)
    declared.setdefault("input_channels", PORTS)
    declared.setdefault("output_channels", ["Out", "Text", "Data"])
    engine.add_step("step", process_func=process_func, **declared)
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    parents = Flags.make(1)
    workers = Flags(os.dup(parents.fd))
    line = SocketLine(theirs)
    worker = Worker(engine, engine.steps[0], line, workers)
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(serve(worker, line)))
    thread.start()
    parent = Driven(ours, parents, folder)
    try:
        if begun:
            assert parent.receive() == frames.Inited("", "")
            parent.begin()
        yield parent
    finally:
        ours.close()
        thread.join(10)
        theirs.close()
        if worker._loop:
            worker._loop.close()
        parents.close()
        workers.close()
