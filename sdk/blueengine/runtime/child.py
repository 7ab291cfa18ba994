"""A worker process: runs the author's functions, and nothing of the platform beside them.

Started as ``python -m blueengine.runtime <engine file>``; that file runs as the main module, and its
``engine.start()`` ends up in ``work``.
"""

import inspect
import logging
import os
import runpy
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from blueengine.errors import BlueEngineError, DataTypeError, Refuse, RetryLater
from blueengine.kit import logs
from blueengine.kit.collector import spare_what_is_loaded
from blueengine.kit.parent_death import die_with_parent
from blueengine.runtime import frames
from blueengine.runtime.batches import Batch
from blueengine.runtime.context import Context, Flags
from blueengine.runtime.declare import UNHEARD, WORKER_VARIABLE, BlueEngine, Step
from blueengine.runtime.explain import explain
from blueengine.runtime.line import Line, ParentGoneError, SocketLine, began_ago
from blueengine.runtime.logger import SessionLogger
from blueengine.runtime.values import Values
from blueengine.settings.system import SystemSettings
from blueengine.wire.spec import STATUS

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

log = logging.getLogger(__name__)

_LAST = {"finish", "error"}
"""Status messages that end the engine's part."""
_SAID = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


class _Call(msgspec.Struct, eq=False):
    """A call of process_func at work, or put aside half-way."""

    work: frames.Work
    at: int
    """Which of the calls of ``work`` it is."""
    started: int = 0
    """In microseconds since the epoch, if it was put aside."""
    results: Generator[Any, None, None] | None = None
    """What is still to come of it; None before it is made, and after one that returned a message."""
    busy: float = 0.0
    tries: int = 1


@dataclass(slots=True)
class _Session:
    """What a worker knows of a session."""

    begin: frames.Begin
    context: Context
    call: _Call | None = None
    """The one that was put aside half-way when the session was held."""
    waiting: deque[tuple[frames.Work, int]] = field(default_factory=deque)
    """Calls that are still to be made: which ones of what the parent asked for."""
    resting: _Call | None = None
    """A call that is to be made again after a while."""
    starting: bool = False
    """start_func is to be called again after a while."""
    over: bool = False
    """The author's code said ``finish`` or ``error``: no call is made any more."""

    def scratch(self) -> Path:
        """Return the session's temp folder, which is made if need be."""
        return Path(self.context.client_id)


class Worker:
    """What one worker does, wherever it runs: frames of the parent in, the author's functions called."""

    def __init__(self, engine: BlueEngine, step: Step, line: Line, flags: Flags) -> None:
        """Work for ``step`` of ``engine``; what comes of it goes to ``line``."""
        self._engine = engine
        self._step = step
        self._index = engine.steps.index(step)
        self._ports = frozenset(step.output_channels) - {STATUS}
        self._flags = flags
        self.line = line
        self._sessions: dict[int, _Session] = {}
        self._batched = step.batch_size > 1
        self._batch: Batch[tuple[_Session, frames.Work, int]] = Batch(step.batch_size)
        self._counts: dict[str, float] = {}
        self._times: dict[str, tuple[int, float]] = {}
        self._init_data: Any = None
        self._loop: AbstractEventLoop | None = None
        self.make_loop: Callable[[], AbstractEventLoop] | None = None
        """Makes the loop of async functions; None: asyncio's own."""

    def begin(self) -> bool:
        """Call init_func and say how it went; whether it went well."""
        try:
            self._values = Values(self._engine.settings)
            context = Context(count=self._count, took=self._took)
            self._init_data = self._call(self._step.init_func, context)
        except BaseException as exc:  # noqa: BLE001 - whatever the author's code raises is reported
            self.line.send(frames.Inited(*explain(exc)))
            return False
        self.line.send(frames.Inited("", ""))
        return True

    def take(self, frame: frames.ToWorker) -> bool:
        """Do what the parent asks for; False once it was to quit."""
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
                self._terminate()
                return False
        if self._counts or self._times:
            self._tell_numbers()
        return True

    def _terminate(self) -> None:
        try:
            self._call(self._step.terminate_func, Context(init_data=self._init_data))
        except BaseException as exc:  # noqa: BLE001 - whatever the author's code raises is reported
            message, trace = explain(exc)
            log.error("terminate_func of step %r failed:\n%s", self._step.name, trace or message)

    def _count(self, name: str, amount: float) -> None:
        self._counts[name] = self._counts.get(name, 0.0) + amount

    def _took(self, name: str, seconds: float) -> None:
        count, before = self._times.get(name, (0, 0.0))
        self._times[name] = (count + 1, before + seconds)

    def _tell_numbers(self) -> None:
        self.line.send(frames.Counted(dict(self._counts), dict(self._times)))
        self._counts.clear()
        self._times.clear()

    def on_term(self, number: int, _frame: object) -> None:
        """End at once if a session that is cancelled goes on here; else the parent will say."""
        if any(self._flags.is_raised(no) for no in self._sessions):
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def close(self) -> None:
        """Close the loop of async functions, for a worker that is not a process of its own."""
        if self._loop is not None:
            self._loop.close()

    # -- sessions ---------------------------------------------------------------------------------

    def _begin(self, begin: frames.Begin) -> None:
        no = begin.no

        def say(kind: str, fields: dict[str, Any]) -> None:
            body = orjson.dumps({"type": kind, **fields}, default=str, option=_SAID)
            self.line.send(frames.Say(no, kind, body))
            self.line.flush()
            if kind in _LAST and no in self._sessions:
                self._sessions[no].over = True

        context = Context(
            init_data=self._init_data,
            session_id=begin.session,
            node=begin.node,
            labels=begin.labels,
            folder=begin.folder,
            on_folder=lambda: self._flags.note_folder(no),
            is_cancelled=lambda: self._flags.is_raised(no),
            have_inputs_ended=lambda: self._flags.has_ended(no),
            say=say,
            count=self._count,
            took=self._took,
            logger=SessionLogger(
                {"session": begin.session, "engine": begin.engine},
                lambda at, level, text: self.line.send(frames.Logged(no, at, level, text)),
            ),
        )
        self._sessions[no] = _Session(begin, context)
        if self._step.start_func is None:
            return
        self._start(self._sessions[no])

    def _start(self, session: _Session, tries: int = 1) -> None:
        no, context = session.begin.no, session.context
        if self._sessions.get(no) is not session:  # it was told to leave meanwhile
            return
        session.starting = False
        refused = error = trace = ""
        try:
            context.start_data = self._call(self._step.start_func, context)
        except RetryLater as exc:
            if tries < exc.attempts:
                session.starting = True
                self.line.later(exc.after, lambda: self._start(session, tries + 1))
                return
            error = _exhausted(exc)
        except Refuse as exc:
            refused = str(exc) or "the engine refused the session"
        except BaseException as exc:  # noqa: BLE001 - whatever the author's code raises is reported
            error, trace = explain(exc)
        if refused or error:
            del self._sessions[no]  # what did not start is not stopped
        self.line.send(frames.Began(no, refused, error, trace))
        self.line.flush()

    def _leave(self, no: int) -> None:
        session = self._sessions.pop(no, None)
        error = trace = ""
        if session is not None and session.starting:
            self.line.send(frames.Began(no, "", "", ""))
        elif session is not None:
            self._put_down(session)
            try:
                self._call(self._step.stop_func, session.context)
            except BaseException as exc:  # noqa: BLE001 - whatever the author's code raises is reported
                error, trace = explain(exc)
                session.context.logger.error("stop_func failed:\n%s", trace or error)
        if self._step.stop_func is not None:
            self.line.send(frames.Left(no, error, trace))

    def _process(self, work: frames.Work) -> None:
        session = self._sessions.get(work.no)
        if session is None:  # its start_func failed, or it was told to leave
            for _ in range(work.calls):
                self.line.done(work.no, 0)
            return
        session.waiting += zip(repeat(work), range(work.calls))
        if session.call is None and session.resting is None:
            self._go_on(session)

    def _resume(self, no: int) -> None:
        if session := self._sessions.get(no):
            self._go_on(session)

    def _go_on(self, session: _Session) -> None:
        """Make the calls that wait, until the session is held."""
        no = session.begin.no
        while session.call or session.waiting or session.resting:
            if session.over or self._flags.is_raised(no):
                self._put_down(session)
                return
            if session.resting or self._flags.is_held(no, self._index):
                return
            call, session.call = session.call, None
            if call is None:
                work, at = session.waiting.popleft()
                if self._batched and not work.last:
                    self._join_batch(session, work, at)
                    continue
                call = _Call(work, at)
            self._run(session, call)

    def _run(self, session: _Session, call: _Call) -> None:
        """Make a call, or go on with it, until it is done or the session is held."""
        no = session.begin.no
        self.line.see_to_it()
        began = time.monotonic()
        error = code = trace = ""
        try:
            if call.results is None:
                result = self._made(session, call.work, call.at)
                if type(result) is dict:  # as of nearly every call: not asked what else it may be
                    self._emit(session, result)
                else:
                    call.results = self._results(result)
            if call.results is not None:
                for message in call.results:
                    self._emit(session, message)
                    if session.over or self._flags.is_raised(no):
                        break
                    if self._flags.is_held(no, self._index):
                        session.call = _put_aside(call, began)
                        return
                    self.line.flush_in_time()
                call.results.close()
        except RetryLater as exc:
            if call.tries < exc.attempts:
                self._rest(session, _put_aside(call, began), exc.after)
                return
            error, code = _exhausted(exc), exc.code
        except BaseException as exc:  # noqa: BLE001 - whatever the author's code raises is reported
            error, trace = explain(exc)
            code = exc.code if isinstance(exc, BlueEngineError) else "engine-exception"
        now = time.monotonic()
        busy = int((call.busy + now - began) * 1e6)
        self._tell_done(no, call.started, busy, error, code, trace, now)

    def _tell_done(  # noqa: PLR0917 - the fields of Done
        self,
        no: int,
        started: int,
        busy: int,
        error: str,
        code: str,
        trace: str,
        now: float | None = None,
    ) -> None:
        if error:
            started = started or began_ago(busy)
            self.line.send(frames.Done(no, started, busy, error, code, trace))
        else:
            self.line.done(no, busy, started, now)

    def _join_batch(self, session: _Session, work: frames.Work, at: int) -> None:
        batch = self._batch
        if batch.add(session.begin.no, (session, work, at)):
            self._run_batch()
        elif len(batch) == 1:
            number = batch.number

            def in_time() -> None:
                if batch.number == number and len(batch):
                    self._run_batch()

            self.line.later(self._step.batch_wait, in_time)

    def _run_batch(self) -> None:
        """Make one call of all that waits, and answer each message by its own result."""
        entries = [entry for entry in self._batch.take() if not self._is_over(entry[0])]
        started, began = time.time_ns() // 1000, time.monotonic()
        ready, inputs = [], []
        for session, work, at in entries:
            try:
                inputs.append(self._inputs(session, work, at))
                ready.append(session)
            except BaseException as exc:  # noqa: BLE001 - whatever a type raises is reported
                self._answer(session, started, 0, exc)
        if not ready:
            return
        results: Any
        try:
            results = self._call(self._step.process_func, [s.context for s in ready], inputs)
            if not isinstance(results, list) or len(results) != len(ready):
                raise DataTypeError(  # noqa: TRY301 - told like any other fault of the call
                    f"process_func of step {self._step.name!r} must return a list of"
                    f" {len(ready)} results, one for each message"
                )
        except BaseException as exc:  # noqa: BLE001 - whatever the author's code raises is reported
            results = [exc] * len(ready)
        busy = int((time.monotonic() - began) * 1e6 / len(ready))
        for session, result in zip(ready, results, strict=True):
            self._emit_result(session, result, started, busy)

    def _is_over(self, session: _Session) -> bool:
        no = session.begin.no
        if session.over or self._flags.is_raised(no):
            self.line.done(no, 0)
            return True
        return False

    def _emit_result(self, session: _Session, result: Any, started: int, busy: int) -> None:
        """Write a result of a batch: a message, a list of them, or what was raised for it."""
        problem: BaseException | None = result if isinstance(result, Exception) else None
        if problem is None:
            try:
                for message in result if isinstance(result, list) else [result]:
                    self._emit(session, message)
            except BaseException as exc:  # noqa: BLE001 - whatever a type raises is reported
                problem = exc
        self._answer(session, started, busy, problem)

    def _answer(
        self, session: _Session, started: int, busy: int, exc: BaseException | None
    ) -> None:
        error = code = trace = ""
        if exc is not None:
            error, trace = explain(exc)
            code = exc.code if isinstance(exc, BlueEngineError) else "engine-exception"
        self._tell_done(session.begin.no, started, busy, error, code, trace)

    def _rest(self, session: _Session, call: _Call, seconds: float) -> None:
        """Make a call again after a while; other sessions go on."""
        session.resting = call

        def wake() -> None:
            if session.resting is call:
                session.resting = None
                call.tries += 1
                call.results = None
                session.call = call
                self._go_on(session)

        self.line.later(seconds, wake)

    def _put_down(self, session: _Session) -> None:
        """Answer every call of a session that is over, without making it."""
        no, call = session.begin.no, session.call or session.resting
        if call is not None:
            session.call = session.resting = None
            error = code = trace = ""
            try:
                if call.results is not None:
                    call.results.close()
            except BaseException as exc:  # noqa: BLE001 - whatever the author's code raises is reported
                error, trace = explain(exc)
                code = "engine-exception"
            self._tell_done(no, call.started, int(call.busy * 1e6), error, code, trace)
        for _ in range(len(session.waiting) + self._batch.drop(no)):
            self.line.done(no, 0)
        session.waiting.clear()

    def _emit(self, session: _Session, message: Any) -> None:
        if message is None:
            return
        if not isinstance(message, dict):
            raise DataTypeError(
                f"process_func of step {self._step.name!r} must give {{channel: value}},"
                f" not {type(message).__name__}"
            )
        for port, value in message.items():
            if port in self._ports:
                encoded = self._values.encode(session.begin, port, value)
                self.line.write(session.begin.no, port, *encoded)
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
        body, *_ = self._values.encode(session.begin, STATUS, value)
        self.line.send(frames.Say(session.begin.no, value["type"], body))
        session.over = session.over or value["type"] in _LAST

    # -- the author's functions -------------------------------------------------------------------

    def _call(self, function: Callable[..., Any] | None, *args: Any) -> Any:
        if function is None:
            return None
        self.line.see_to_it()
        result = function(*args)
        return self._await(result) if inspect.isawaitable(result) else result

    def _inputs(self, session: _Session, work: frames.Work, at: int) -> dict[str, Any]:
        inputs = {}
        for item in work.items:
            inputs[item.port] = self._values.decode(item, item.payloads[at], session.scratch)
        return inputs

    def _made(self, session: _Session, work: frames.Work, at: int) -> Any:
        """Make a call; what it returns may be of any kind."""
        if work.last:
            return self._step.end_func(session.context) if self._step.end_func else None
        return self._step.process_func(session.context, self._inputs(session, work, at))

    def _results(self, result: Any) -> Generator[Any, None, None]:
        """Yield what a function returned or yields, whatever kind of function it is."""
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
            try:
                self._loop = (self.make_loop or asyncio.new_event_loop)()
            except BlueEngineError:  # nothing waits here: it is not begun
                if inspect.iscoroutine(awaitable):
                    awaitable.close()
                raise

        async def wait() -> Any:
            return await awaitable

        return self._loop.run_until_complete(wait())


def _put_aside(call: _Call, began: float) -> _Call:
    """Note how long a call was at work since ``began``."""
    seconds = time.monotonic() - began
    call.busy += seconds
    call.started = call.started or began_ago(int(seconds * 1e6))
    return call


def _exhausted(exc: RetryLater) -> str:
    return f"{exc} (tried {exc.attempts} times)"


def serve(
    worker: Worker, line: SocketLine, *, on_begun: Callable[[], object] = lambda: None
) -> int:
    """Work until told to quit, or until nobody is there to tell; the exit code.

    ``on_begun`` is called once the parent has been told how the init went.
    """
    try:
        well = worker.begin()
        line.flush()
        on_begun()
        while well and worker.take(line.next()):
            pass
        line.flush()
    except ParentGoneError:
        return 0
    finally:
        line.end()
    return 0 if well else 1


def work(engine: BlueEngine) -> int:
    """Run this process as a worker; its exit code."""
    _, sock_fd, flags_fd, name = os.environ.pop(WORKER_VARIABLE).split(",", 3)
    step = next(step for step in engine.steps if step.name == name)
    system = SystemSettings.load(os.environ, config_variable="BLUEEDGE_COMM_CONFIG")
    logs.configure(engine.settings.id, level=system.log_level)
    for fd in (sock_fd, flags_fd):
        os.set_inheritable(int(fd), False)  # programs the author starts have no business with them
    sock = socket.socket(fileno=int(sock_fd))
    # a fork in the author's code has no business with it either, should it ever come back here
    os.register_at_fork(after_in_child=sock.close)
    line = SocketLine(sock)
    worker = Worker(engine, step, line, Flags(int(flags_fd)))
    signal.signal(signal.SIGTERM, worker.on_term)
    return serve(worker, line, on_begun=spare_what_is_loaded)


def main() -> int:
    """Run the engine file (or module) named on the command line as a worker; the exit code."""
    parent = int(os.environ[WORKER_VARIABLE].partition(",")[0])
    die_with_parent()
    if os.getppid() != parent:  # it died before the line above
        return 0
    # what the whole process group or service is sent (Ctrl-C, systemd's stop) is the parent's to
    # act on: it drains
    for number in UNHEARD:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, UNHEARD)
    target = sys.argv[1]
    sys.argv = [target]
    if target.endswith(".py"):
        sys.path.insert(0, str(Path(target).resolve().parent))
        scope = runpy.run_path(target, run_name="__main__")
    else:
        scope = runpy.run_module(target, run_name="__main__", alter_sys=True)
    # a module without engine.start(): the decorator form
    engines = [value for value in scope.values() if isinstance(value, BlueEngine)]
    return work(engines[0])
