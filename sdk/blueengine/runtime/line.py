"""A worker's end of the socket to its parent: frames in and out, and waiting for them or for a time."""

import heapq
import itertools
import select
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

from blueengine.kit.framing import Splitter
from blueengine.runtime import frames

RECEIVE: Final = 1 << 18
FLUSH_AFTER: Final = 0.002
"""Seconds that outputs may wait for more of them to share one write."""
FLUSH_AT_LAST: Final = 0.01
"""Seconds after which they are written although the author's code has not come back."""
FLUSH_MESSAGES: Final = 64
FLUSH_BYTES: Final = 1 << 18
"""Messages, and their bytes, that share a write at the most."""


def began_ago(microseconds: int) -> int:
    """Return when something began that took so long until now, in microseconds since the epoch."""
    return time.time_ns() // 1000 - microseconds


class ParentGoneError(Exception):
    """The parent closed its end."""


class Line(ABC):
    """Frames on their way to the parent.

    Callers: the worker's thread; ``send`` and ``flush`` also threads of the author's code.
    """

    def __init__(self) -> None:
        """Begin with nothing queued."""
        self._out: list[frames.FromWorker] = []
        self._last: frames.Out | None = None
        """The last of them, if further messages may go with it."""
        self._done: frames.Done | None = None
        """Calls that have returned and are not among them yet: it goes behind what they wrote."""
        self._messages = self._bytes = 0
        """In what is queued."""
        self._flushed_at = time.monotonic()
        self._writing = threading.Lock()

    def send(self, frame: frames.FromWorker) -> None:
        """Queue a frame; those of a short while share a write."""
        with self._writing:
            self._close_runs()
            self._out.append(frame)
        self.flush_in_time()

    def write(  # noqa: PLR0917 - for every message: names would cost more
        self, no: int, port: str, payload: bytes, meta: bytes, file: str, size: int
    ) -> None:
        """Queue a message, which goes with what is queued next; else see ``flush_in_time``.

        Messages of one port that follow each other share a frame.
        """
        with self._writing:
            last = self._last
            if meta or file:
                self._out.append(frames.Out(no, port, [payload], meta, file, size))
                self._last = None
            elif last is not None and last.port == port and last.no == no:
                last.payloads.append(payload)
                last.size += size
            else:
                self._last = frames.Out(no, port, [payload], meta, file, size)
                self._out.append(self._last)
            self._messages += 1
            self._bytes += len(payload)

    def done(self, no: int, busy: int, started: int = 0, now: float | None = None) -> None:
        """Queue that a call has returned, ``now`` by the monotonic clock.

        It took ``busy`` microseconds until now, unless it is known when it ``started``.

        Those of one session share a frame. Who has nothing more to do writes it (``flush``), who
        makes a further call sees to it (``see_to_it``): to wake a thread for every call would cost
        more than the call.
        """
        with self._writing:
            done = self._done
            if done is not None and done.no == no:
                done.busy += busy
                done.calls += 1
            else:
                if done is not None:
                    self._close_runs()
                self._done = frames.Done(no, started or began_ago(busy), busy)
        if self._is_due(time.monotonic() if now is None else now):
            self.flush()

    def see_to_it(self) -> None:
        """See that what is queued is written in time although the author's code is about to run."""
        if self._out or self._done:
            self._flush_later()

    def _close_runs(self) -> None:
        """Let what is queued next stand behind all that was queued so far."""
        self._last = None
        if self._done is not None:
            self._out.append(self._done)
            self._done = None

    def flush_in_time(self) -> None:
        """Write what is queued once it is much, or has waited; a call may be at work for long."""
        if self._is_due(time.monotonic()):
            self.flush()
        else:
            self._flush_later()

    def _is_due(self, now: float) -> bool:
        return (
            self._messages >= FLUSH_MESSAGES
            or self._bytes >= FLUSH_BYTES
            or now - self._flushed_at > FLUSH_AFTER
        )

    def flush(self) -> None:
        """Write what is queued.

        Raises:
            ParentGoneError: Nobody reads it.
        """
        with self._writing:
            self._close_runs()
            out, self._out = self._out, []
            if out:
                self._messages = self._bytes = 0
                self._deliver(out)
            self._flushed_at = time.monotonic()

    @abstractmethod
    def later(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something after a while, in the worker's thread."""

    @abstractmethod
    def _flush_later(self) -> None:
        """See that what is queued is written although nobody asks for it."""

    @abstractmethod
    def _deliver(self, out: list[frames.FromWorker]) -> None:
        """Hand frames to the parent."""


class SocketLine(Line):
    """A line to a parent at the other end of a socket."""

    def __init__(self, sock: socket.socket) -> None:
        """Speak over ``sock``."""
        super().__init__()
        self.hurry = False
        """Whether time is virtual: what waits for it is done when there is nothing else to do."""
        self._sock = sock
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._room = memoryview(bytearray(RECEIVE))
        """What is read lands here: a new place of this size for each read would cost more."""
        self._splitter = Splitter()
        self._received: list[frames.ToWorker] = []
        self._late = threading.Event()
        self._flusher: threading.Thread | None = None
        self._ended = False
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def next(self) -> frames.ToWorker:
        """Wait for a frame; what is due meanwhile is done.

        Raises:
            ParentGoneError: None will come.
        """
        while not self._received:
            if self._timers:
                self._do_what_is_due()
            self.flush()
            if not self._comes():
                if self.hurry:
                    heapq.heappop(self._timers)[2]()
                continue
            try:
                size = self._sock.recv_into(self._room)
            except OSError:
                raise ParentGoneError from None
            self._flushed_at = time.monotonic()  # what comes of this may share a write
            if not size:
                raise ParentGoneError
            bodies = self._splitter.feed(self._room[:size])
            self._received = [f for body in bodies for f in frames.to_worker(body)]
            self._received.reverse()
        if self._timers:
            self._do_what_is_due()
        return self._received.pop()

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something after a while, in the worker's thread."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), do))

    def _do_what_is_due(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()

    def _comes(self) -> bool:
        """Wait for a frame, or until something is due; whether there is one to read.

        Not in ``recv`` itself: who waits there is woken as well whenever the other end reads.
        """
        if self._sock.fileno() < 0:  # closed here: this is a fork of the worker that came back
            raise ParentGoneError
        wait = None
        if self._timers:
            wait = 0.0 if self.hurry else max(0.0, self._timers[0][0] - time.monotonic()) * 1e3
        return bool(self._poll.poll(wait))

    def _deliver(self, out: list[frames.FromWorker]) -> None:
        try:
            self._sock.sendall(frames.pack(out))
        except OSError:
            raise ParentGoneError from None

    def _flush_later(self) -> None:
        if not self._late.is_set():
            self._late.set()
            if self._flusher is None:
                self._flusher = threading.Thread(target=self._flush_late, daemon=True)
                self._flusher.start()

    def _flush_late(self) -> None:
        """Write what waits while the author's code is at work for long, in a thread of its own."""
        while True:
            self._late.wait()
            time.sleep(FLUSH_AT_LAST)
            self._late.clear()
            if self._ended:  # asked last, for it may have ended meanwhile
                return
            try:
                self.flush()
            except ParentGoneError:  # the loop finds out by itself
                return

    def end(self) -> None:
        """End the thread that writes late."""
        self._ended = True
        self._late.set()
