"""A worker process: runs the author's functions, and nothing of the platform beside them.

Started as ``python -m blueengine.runtime.child <engine file>``; the module runs as the main module,
and its ``engine.start()`` ends up in ``work``.
"""

import ctypes
import inspect
import logging
import os
import runpy
import signal
import socket
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from blueengine.errors import BlueEngineError, DataTypeError, Fail, Refuse
from blueengine.kit import logs
from blueengine.runtime import frames
from blueengine.runtime.context import Context, Flags
from blueengine.runtime.declare import WORKER_VARIABLE, BlueEngine, Step
from blueengine.runtime.values import Values
from blueengine.settings.system import SystemSettings
from blueengine.wire.spec import STATUS

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

FLUSH_AFTER = 0.0005
"""Seconds that outputs may wait for more of them to share one write."""
FLUSH_AT_LAST = 0.01
"""Seconds after which they are written although the author's code has not come back."""
RECEIVE = 1 << 18

_LAST = {"finish", "error"}
"""Status messages that end the engine's part."""
_SAID = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


class _ParentGoneError(Exception):
    """The parent closed its end."""


@dataclass
class _Call:
    """A call of process_func at work, or put aside half-way."""

    results: Generator[Any, None, None]
    started: int
    busy: float = 0.0


@dataclass
class _Session:
    begin: frames.Begin
    context: Context
    call: _Call | None = None
    waiting: deque[frames.Work] = field(default_factory=deque)
    """Calls that came while the session was held."""
    over: bool = False
    """The author's code said ``finish`` or ``error``: no call is made any more."""


class Worker:
    """The loop of one worker process."""

    def __init__(self, engine: BlueEngine, step: Step, sock: socket.socket, flags: Flags) -> None:
        """Work for ``step`` of ``engine``."""
        self._engine = engine
        self._step = step
        self._index = engine.steps.index(step)
        self._sock = sock
        self._flags = flags
        self._splitter = frames.Splitter()
        self._received: list[bytes] = []
        self._out: list[bytes] = []
        self._flushed_at = time.monotonic()
        self._writing = threading.Lock()
        self._late = threading.Event()
        self._flusher: threading.Thread | None = None
        self._ended = False
        self._sessions: dict[int, _Session] = {}
        self._init_data: Any = None
        self._loop: AbstractEventLoop | None = None
        self.make_loop: Callable[[], AbstractEventLoop] | None = None
        """Makes the loop of async functions; None: asyncio's own."""

    def run(self) -> int:
        """Work until told to quit; the process's exit code."""
        try:
            try:
                self._values = Values(self._engine.settings)
                self._init_data = self._call(self._step.init_func, Context())
            except Exception as exc:  # noqa: BLE001 - whatever the author's code raises is reported
                self._send(frames.Inited(*_explain(exc)))
                self._flush()
                return 1
            self._send(frames.Inited("", ""))
            while True:
                frame = self._next()
                match frame:
                    case frames.Work():
                        self._process(frame)
                    case frames.Begin():
                        self._begin(frame)
                    case frames.Resume():
                        self._resume(frame.no)
                    case frames.Leave():
                        self._leave(frame.no)
                    case frames.Quit():
                        self._call(self._step.terminate_func, Context(init_data=self._init_data))
                        self._flush()
                        return 0
        except _ParentGoneError:
            return 0
        finally:
            self._ended = True
            self._late.set()

    def close(self) -> None:
        """Close the loop of async functions, for a worker that is not a process of its own."""
        if self._loop is not None:
            self._loop.close()

    # -- the socket -------------------------------------------------------------------------------

    def _next(self) -> frames.ToWorker:
        while not self._received:
            self._flush()
            try:
                data = self._sock.recv(RECEIVE)
            except OSError:  # closed here: this is a fork of the worker that came back
                raise _ParentGoneError from None
            self._flushed_at = time.monotonic()  # what comes of this may share a write
            if not data:
                raise _ParentGoneError
            self._received = [*self._splitter.feed(data)]
            self._received.reverse()
        return frames.to_worker(self._received.pop())

    def _send(self, frame: frames.FromWorker) -> None:
        packed = frames.pack(frame)
        with self._writing:
            self._out.append(packed)
        if time.monotonic() - self._flushed_at > FLUSH_AFTER or len(self._out) >= 64:
            self._flush()
        elif not self._late.is_set():
            self._late.set()
            if self._flusher is None:
                self._flusher = threading.Thread(target=self._flush_late, daemon=True)
                self._flusher.start()

    def _flush(self) -> None:
        with self._writing:
            if self._out:
                try:
                    self._sock.sendall(b"".join(self._out))
                except OSError:
                    raise _ParentGoneError from None
                self._out.clear()
            self._flushed_at = time.monotonic()

    def _flush_late(self) -> None:
        """Write what waits while the author's code is at work for long, in a thread of its own."""
        while True:
            self._late.wait()
            if self._ended:
                return
            time.sleep(FLUSH_AT_LAST)
            self._late.clear()
            try:
                if self._out:
                    self._flush()
            except _ParentGoneError:  # the loop finds out by itself
                return

    # -- sessions ---------------------------------------------------------------------------------

    def _begin(self, begin: frames.Begin) -> None:
        no = begin.no

        def say(kind: str, fields: dict[str, Any]) -> None:
            body = orjson.dumps({"type": kind, **fields}, default=str, option=_SAID)
            self._send(frames.Say(no, kind, body))
            self._flush()
            if kind in _LAST and no in self._sessions:
                self._sessions[no].over = True

        context = Context(
            init_data=self._init_data,
            session_id=begin.session,
            node=begin.node,
            labels=begin.labels,
            folder=Path(begin.folder),
            is_cancelled=lambda: self._flags.is_raised(no),
            have_inputs_ended=lambda: self._flags.has_ended(no),
            say=say,
            logger=logging.LoggerAdapter(
                logging.getLogger("blueengine.engine"),
                {"session": begin.session, "engine": begin.engine},
            ),
        )
        self._sessions[no] = _Session(begin, context)
        if self._step.start_func is None:
            return
        refused = error = trace = ""
        try:
            context.start_data = self._call(self._step.start_func, context)
        except Refuse as exc:
            refused = str(exc) or "the engine refused the session"
        except Exception as exc:  # noqa: BLE001 - whatever the author's code raises is reported
            error, trace = _explain(exc)
        if refused or error:
            del self._sessions[no]  # what did not start is not stopped
        self._send(frames.Began(no, refused, error, trace))
        self._flush()

    def _leave(self, no: int) -> None:
        session = self._sessions.pop(no, None)
        error = trace = ""
        if session is not None:
            self._put_down(session)
            try:
                self._call(self._step.stop_func, session.context)
            except Exception as exc:  # noqa: BLE001 - whatever the author's code raises is reported
                error, trace = _explain(exc)
        if self._step.stop_func is not None:
            self._send(frames.Left(no, error, trace))

    def _process(self, work: frames.Work) -> None:
        session = self._sessions.get(work.no)
        if session is None:  # its start_func failed, or it was told to leave
            self._send(frames.Done(work.no, time.time_ns() // 1000, 0, "", "", ""))
            return
        session.waiting.append(work)
        if session.call is None:
            self._go_on(session)

    def _resume(self, no: int) -> None:
        if session := self._sessions.get(no):
            self._go_on(session)

    def _go_on(self, session: _Session) -> None:
        """Make the calls that wait, until the session is held."""
        no = session.begin.no
        while session.call or session.waiting:
            if session.over or self._flags.is_raised(no):
                self._put_down(session)
                return
            if self._flags.is_held(no, self._index):
                return
            if session.call is None:
                work = session.waiting.popleft()
                results = self._results(session, work)
                session.call = _Call(results, time.time_ns() // 1000)
            self._run(session, session.call)

    def _run(self, session: _Session, call: _Call) -> None:
        """Let a call write until it is done or the session is held."""
        no, flags, index = session.begin.no, self._flags, self._index
        began = time.monotonic()
        error = code = trace = ""
        try:
            for message in call.results:
                self._emit(session, message)
                if session.over or flags.is_raised(no):
                    break
                if flags.is_held(no, index):
                    call.busy += time.monotonic() - began
                    return
            call.results.close()
        except Exception as exc:  # noqa: BLE001 - whatever the author's code raises is reported
            error, trace = _explain(exc)
            code = exc.code if isinstance(exc, BlueEngineError) else "engine-exception"
        session.call = None
        busy = int((call.busy + time.monotonic() - began) * 1e6)
        self._send(frames.Done(no, call.started, busy, error, code, trace))

    def _put_down(self, session: _Session) -> None:
        """Answer every call of a session that is over, without making it."""
        no, call = session.begin.no, session.call
        if call is not None:
            session.call = None
            error = code = trace = ""
            try:
                call.results.close()
            except Exception as exc:  # noqa: BLE001 - whatever the author's code raises is reported
                error, trace = _explain(exc)
                code = "engine-exception"
            self._send(frames.Done(no, call.started, int(call.busy * 1e6), error, code, trace))
        while session.waiting:
            session.waiting.popleft()
            self._send(frames.Done(no, time.time_ns() // 1000, 0, "", "", ""))

    def _emit(self, session: _Session, message: Any) -> None:
        if message is None:
            return
        if not isinstance(message, dict):
            raise DataTypeError(
                f"process_func of step {self._step.name!r} must give {{channel: value}},"
                f" not {type(message).__name__}"
            )
        for port, value in message.items():
            if port in self._step.output_channels and port != STATUS:
                self._send(self._values.encode(session.begin, port, value))
            elif port != STATUS:
                raise DataTypeError(
                    f"step {self._step.name!r} wrote to {port!r}, which is not among its"
                    f" output_channels ({', '.join(self._step.output_channels) or 'none'})"
                )
        if STATUS in message:  # last, for it may end the session
            self._emit_status(session, message[STATUS])

    def _emit_status(self, session: _Session, value: Any) -> None:
        if not isinstance(value, dict) or not isinstance(value.get("type"), str):
            raise DataTypeError('a Status message is {"type": "…", …}')
        body = self._values.encode(session.begin, STATUS, value).payload
        self._send(frames.Say(session.begin.no, value["type"], body))
        session.over = session.over or value["type"] in _LAST

    # -- the author's functions -------------------------------------------------------------------

    def _call(self, function: Callable[..., Any] | None, *args: Any) -> Any:
        if function is None:
            return None
        result = function(*args)
        return self._await(result) if inspect.isawaitable(result) else result

    def _results(self, session: _Session, work: frames.Work) -> Generator[Any, None, None]:
        """Make a call; yield what it returns or yields, whatever kind of function it is."""
        context = session.context
        inputs = {
            item.port: self._values.decode(item, lambda: Path(context.client_id))
            for item in work.items
        }
        if not work.last:
            result = self._step.process_func(context, inputs)
        elif self._step.end_func is not None:
            result = self._step.end_func(context)
        else:
            return
        if inspect.isawaitable(result):
            result = self._await(result)
        if inspect.isgenerator(result):
            yield from result
        elif inspect.isasyncgen(result):
            try:
                while True:
                    try:
                        message = self._await(anext(result))
                    except StopAsyncIteration:
                        return
                    yield message
            finally:
                self._await(result.aclose())
        else:
            yield result

    def _await(self, awaitable: Any) -> Any:
        import asyncio  # only engines with async functions need it

        if self._loop is None:
            self._loop = (self.make_loop or asyncio.new_event_loop)()

        async def wait() -> Any:
            return await awaitable

        return self._loop.run_until_complete(wait())


_OWN = (str(Path(__file__)), str(Path(inspect.__file__).with_name("asyncio")) + os.sep)
"""Files whose frames say nothing of the author's code (while that has not been reached)."""


def _explain(exc: Exception) -> tuple[str, str]:
    """Return message and traceback; the traceback begins where the author's code does."""
    if isinstance(exc, (Fail, DataTypeError)):
        return str(exc) or "the engine failed the session", ""
    told = _without_own(traceback.TracebackException.from_exception(exc))
    return f"{type(exc).__name__}: {exc}", "".join(told.format())


def _without_own(told: traceback.TracebackException) -> traceback.TracebackException:
    at = 0
    while at < len(told.stack) and told.stack[at].filename.startswith(_OWN):
        at += 1
    kept = [frame for frame in told.stack[at:] if frame.filename != _OWN[0]]
    told.stack = traceback.StackSummary.from_list(kept)
    for other in (told.__cause__, told.__context__):
        if other is not None:
            _without_own(other)
    return told


def work(engine: BlueEngine) -> int:
    """Run this process as a worker; its exit code."""
    sock_fd, flags_fd, name = os.environ.pop(WORKER_VARIABLE).split(",", 2)
    step = next(step for step in engine.steps if step.name == name)
    system = SystemSettings.load(os.environ, config_variable="BLUEEDGE_COMM_CONFIG")
    logs.configure(engine.settings.id, level=system.log_level)
    for fd in (sock_fd, flags_fd):
        os.set_inheritable(int(fd), False)  # programs the author starts have no business with them
    sock = socket.socket(fileno=int(sock_fd))
    # a fork in the author's code has no business with it either, should it ever come back here
    os.register_at_fork(after_in_child=sock.close)
    return Worker(engine, step, sock, Flags(int(flags_fd))).run()


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent is gone, whatever it is doing then."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def main() -> None:
    """Run the engine file (or module) named on the command line as a worker."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to act on
    target = sys.argv[1]
    sys.argv = [target]
    if target.endswith(".py"):
        sys.path.insert(0, str(Path(target).resolve().parent))
        scope = runpy.run_path(target, run_name="__main__")
    else:
        scope = runpy.run_module(target, run_name="__main__", alter_sys=True)
    # a module without engine.start(): the decorator form
    engines = [value for value in scope.values() if isinstance(value, BlueEngine)]
    sys.exit(work(engines[0]))


if __name__ == "__main__":
    main()
