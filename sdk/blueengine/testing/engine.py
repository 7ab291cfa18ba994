"""An engine in a test: sessions with scripted inputs, their outputs and their end."""

import asyncio
import itertools
import tempfile
import threading
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from blueengine.datatypes import base
from blueengine.errors import BlueEngineError, DeclarationError
from blueengine.runtime.context import Flags
from blueengine.runtime.declare import BlueEngine
from blueengine.runtime.host import Host
from blueengine.runtime.instance import Instance
from blueengine.runtime.loading import load
from blueengine.runtime.numbers import Numbers
from blueengine.runtime.part import Part
from blueengine.runtime.scratch import memory as scratch_memory
from blueengine.runtime.scratch import scratch_folder
from blueengine.runtime.threads import Time, WorkerThread
from blueengine.testing import memory, single
from blueengine.testing.memory import ENGINE, PEER, READER, WRITER, Memory, Record
from blueengine.testing.virtual import VirtualTimeLoop
from blueengine.transport.blobs import BlobFolder
from blueengine.wire import codec, command
from blueengine.wire.plan import Channel, Node, Plan
from blueengine.wire.spec import STATUS

T = TypeVar("T")

PATIENCE: Final = 30.0
"""Seconds a test waits for anything, unless it says otherwise."""


class SessionFailed(AssertionError):  # noqa: N818 - what pytest shows for a session that must not
    """A session that had to finish did not; the message has the author's traceback."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a session ended.

    Attributes:
        status: ``finished``, ``failed``, ``stopped`` or ``refused``.
        outputs: Output channel -> values, in order.
        error: Why it failed or was refused.
        code: The error's code, e.g. ``engine-exception``, ``failed``, ``worker-crashed``.
        traceback: The author's frames of an exception.
        said: Status messages, in order: ``{"type": …, …}``.
        calls: How often process functions were called.
    """

    status: str
    outputs: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    error: str = ""
    code: str = ""
    traceback: str = ""
    said: Sequence[Mapping[str, Any]] = ()
    calls: int = 0


def running(
    engine: BlueEngine | str | Path,
    *,
    step: str = "",
    processes: bool = False,
    virtual_time: bool = True,
) -> "EngineRun":
    """Return an engine that runs inside ``with``; no server is needed.

    Args:
        engine: The engine, its ``.py`` file, or its module.
        step: Run only this step. What it forwards is read, and what is forwarded to it is sent, as
            the channel ``forward``.
        processes: Run the steps in processes of their own, as in production, not in threads: slower
            to start, but a crash is a real one. The engine must be given as a file or module.
        virtual_time: ``await asyncio.sleep(60)`` in a step takes no time, nor does ``RetryLater``
            (not with processes).

    Raises:
        DeclarationError: There is no such engine or step, or its steps contradict each other.
    """
    return EngineRun(engine, step=step, processes=processes, virtual_time=virtual_time)


class EngineRun:
    """A running engine; use it as a context manager. See ``running``."""

    def __init__(
        self, engine: BlueEngine | str | Path, *, step: str, processes: bool, virtual_time: bool
    ) -> None:
        """Prepare to run ``engine``."""
        if processes and (step or isinstance(engine, BlueEngine)):
            raise DeclarationError(
                "processes=True needs the whole engine, given as its file or module: each process"
                " imports it"
            )
        self._target = "" if isinstance(engine, BlueEngine) else str(engine)
        found = engine if isinstance(engine, BlueEngine) else load(engine)
        found.check()
        self.engine = single.alone(found, step) if step else found
        self._processes = processes
        self._virtual_time = virtual_time
        self._loops: list[VirtualTimeLoop] = []
        self._numbers = itertools.count(1)
        self._thread: threading.Thread | None = None
        self._up: _Up | None = None

    # -- life -------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="engine-under-test", daemon=True
        )
        self._thread.start()
        threads = Time(make_loop=self._make_loop, hurry=self._virtual_time)
        self._up = _Up(self.engine, self._target, None if self._processes else threads)
        try:
            self.wait_for(self._up.open())
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.wait_for(self.up.close())
        finally:
            self._close()

    def _close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        if self._thread:
            self._thread.join()
        self._loop.close()

    def _make_loop(self) -> asyncio.AbstractEventLoop:
        if not self._virtual_time:
            return asyncio.new_event_loop()
        loop = VirtualTimeLoop()
        self._loops.append(loop)
        return loop

    def wait_for(self, work: Coroutine[Any, Any, T], seconds: float = PATIENCE) -> T:
        """Do something on the instance's loop and wait for it."""
        future = asyncio.run_coroutine_threadsafe(_in_time(work, seconds), self._loop)
        return future.result()

    @property
    def up(self) -> "_Up":
        """The running instance."""
        if self._up is None:
            raise RuntimeError("use it as a context manager: with running(…) as engine")
        return self._up

    @property
    def slept(self) -> float:
        """Seconds of virtual time that async functions have slept."""
        return max((loop.now for loop in self._loops), default=0.0)

    @property
    def counters(self) -> dict[str, float]:
        """What ``context.counter`` counted so far, by name."""
        return {name: value for (_, name), value in self.up.numbers.counters.items()}

    @property
    def timers(self) -> dict[str, int]:
        """How often ``context.timer`` timed something so far, by name."""
        return {name: timed.count for (_, name), timed in self.up.numbers.timers.items()}

    # -- sessions ---------------------------------------------------------------------------------

    def run(self, *, timeout: float = PATIENCE, **inputs: Iterable[Any]) -> Outcome:
        """Run a whole session that must finish.

        Args:
            timeout: Seconds it may take.
            inputs: Channel -> its messages. Channels not named are not linked; the messages of
                several channels are sent by turns.

        Raises:
            SessionFailed: It did not finish.
        """
        session = self.begin(inputs=list(inputs))
        lists = [[(channel, value) for value in values] for channel, values in inputs.items()]
        for turn in itertools.zip_longest(*lists):
            for message in turn:
                if message is not None:
                    session.send(*message)
        outcome = session.wait(timeout)
        if outcome.status != "finished":
            raise SessionFailed(
                f"the session is {outcome.status}: {outcome.error}\n{outcome.traceback}".strip()
            )
        return outcome

    def begin(
        self, *, inputs: Iterable[str] | None = None, labels: Mapping[str, str] | None = None
    ) -> "SessionRun":
        """Begin a session, and drive it message by message.

        Args:
            inputs: The input channels that are linked; all that a step reads when left out.
            labels: Labels the client gives it.
        """
        session = f"session-test-0-0-{next(self._numbers)}"
        given = self.up.inputs if inputs is None else [single.inner_input(name) for name in inputs]
        for name in given:
            if name not in self.engine.settings.inputs:
                known = ", ".join(sorted(self.engine.settings.inputs))
                raise DeclarationError(f"the engine has no input {name!r}; known: {known}")
        self.wait_for(self.up.begin(session, given, dict(labels or {})))
        return SessionRun(self, session, given)


class SessionRun:
    """A session of an engine under test."""

    def __init__(self, run: EngineRun, session: str, inputs: Sequence[str]) -> None:
        """Drive ``session``, whose ``inputs`` are linked."""
        self.id = session
        self._run = run
        self._open = list(inputs)

    def send(self, channel: str, *values: Any) -> Self:
        """Send messages to an input channel."""
        port = single.inner_input(channel)
        if port not in self._open:
            raise DeclarationError(f"{channel!r} is not linked in this session, or has ended")
        self._run.wait_for(self._run.up.send(self.id, port, values))
        return self

    def end(self, *channels: str) -> Self:
        """End these input channels, or all that are open."""
        for port in [single.inner_input(c) for c in channels] or list(self._open):
            self._open.remove(port)
            self._run.wait_for(self._run.up.end(self.id, port))
        return self

    def take(self, channel: str, timeout: float = PATIENCE) -> Any:
        """Wait for the next value of an output channel and return it; each is taken once.

        Raises:
            SessionFailed: The session ended without one.
            TimeoutError: None came in time.
        """
        return self._run.wait_for(self._run.up.take(self.id, single.inner_output(channel)), timeout)

    def outputs(self, channel: str) -> list[Any]:
        """Return what was written to a channel, once everything sent so far is done with."""
        self.settle()
        return list(self._record.received.get(single.inner_output(channel), ()))

    def settle(self, timeout: float = PATIENCE) -> Self:
        """Wait until every message sent so far is done with."""
        self._run.wait_for(self._run.up.settle(self.id), timeout)
        return self

    @property
    def said(self) -> list[Mapping[str, Any]]:
        """Status messages so far."""
        return list(self._record.said)

    def wait(self, timeout: float = PATIENCE) -> Outcome:
        """End the inputs that are open, wait for the session's end, and return how it ended."""
        self.end()
        return self._run.wait_for(self._run.up.ended(self.id), timeout)

    def ended(self, timeout: float = PATIENCE) -> Outcome:
        """Wait for the end of a session whose inputs stay open."""
        return self._run.wait_for(self._run.up.ended(self.id), timeout)

    # -- trouble ----------------------------------------------------------------------------------

    def stop(self) -> Self:
        """Stop the session, as its client may."""
        self._run.wait_for(self._run.up.stop(self.id))
        return self

    def crash(self, step: str = "") -> Self:
        """Let the worker of a step (the first) crash: a kill -9 with ``processes=True``."""
        self._run.wait_for(self._run.up.crash(self.id, step))
        return self

    def duplicate(self) -> Self:
        """Deliver the last message sent once more, as a broken connection may."""
        self._run.wait_for(self._run.up.repeat(self.id))
        return self

    @property
    def _record(self) -> Record:
        return self._run.up.memory.records[self.id]


class _Up:
    """The instance on its loop."""

    def __init__(self, engine: BlueEngine, target: str, threads: Time | None) -> None:
        self._engine = engine
        self._target = target
        self._threads = threads
        self._stack = AsyncExitStack()
        self._taken: dict[tuple[str, str], int] = {}

    @property
    def inputs(self) -> list[str]:
        """The input ports that some step reads."""
        read = {port for step in self._engine.steps for port in step.input_channels}
        return [port for port in self._engine.settings.inputs if port in read]

    @property
    def numbers(self) -> Numbers:
        """What it counts."""
        return self._instance.numbers

    async def open(self) -> None:
        """Start the instance; its functions are warmed up after this."""
        with ExitStack() as opened:
            flags = opened.enter_context(closing(Flags.make(len(self._engine.steps))))
            folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="engine-test-")))
            self.memory = Memory(BlobFolder(folder / "blobs"))
            outputs = self._engine.settings.outputs
            self.memory.types = {port: base.get(kind) for port, kind in outputs.items()}
            self._instance = Instance(
                engine=self._engine,
                id="under-test",
                link=self.memory.link,
                transport=self.memory.transport,
                ledger=self.memory.ledger,
                blobs=self.memory.blobs,
                flags=flags,
                folder=folder / "sessions",
                shared=opened.enter_context(scratch_folder("test", scratch_memory())),
            )
            self._host = Host(
                self._instance,
                self._target,
                commands=self.memory.commands,
                heartbeat_seconds=3600,
                threads=self._threads,
            )
            self._stack.callback(opened.pop_all().close)
        self._stack.push_async_callback(self._host.close, "the test is over")
        try:
            await self._host.warm_up()
            await self._host.attend()
        except BaseException:
            await self._stack.aclose()
            raise
        self._serving = asyncio.create_task(self._host.serve())

    async def close(self) -> None:
        """End the instance in order."""
        self._serving.cancel()
        ended = await asyncio.gather(self._serving, return_exceptions=True)
        await self._stack.aclose()
        if isinstance(ended[0], (BlueEngineError, RuntimeError)):
            raise ended[0]

    async def begin(self, session: str, inputs: Sequence[str], labels: dict[str, str]) -> None:
        """Start a session whose inputs the test writes, and whose outputs it reads."""
        settings = self._engine.settings
        reads = {port: memory.in_channel(port) for port in inputs}
        writes = {port: memory.out_channel(port) for port in settings.outputs if port != STATUS}
        types = {
            **{reads[port]: settings.inputs[port] for port in reads},
            **{writes[port]: settings.outputs[port] for port in writes},
        }
        plan = Plan(
            nodes={
                ENGINE: Node(settings.id, reads, writes),
                WRITER: Node(PEER, {}, dict(reads)),
                READER: Node(PEER, dict(writes), {}),
            },
            channels={channel: Channel(kind) for channel, kind in types.items()},
            labels=labels,
        )
        eager = not any(step.start_func for step in self._engine.steps)
        self.memory.records[session] = Record(ready=eager)
        picks = {ENGINE: self._instance.id, WRITER: PEER, READER: PEER}
        self.memory.commands.put(
            "t", "start", "s", session, "a", 1, "n", ENGINE, "p", codec.encode(plan),
            "k", command.picks_to_text(picks), "g", int(eager),
        )  # fmt: skip

    async def send(self, session: str, port: str, values: Iterable[Any]) -> None:
        """Send messages to an input port."""
        for value in values:
            self.memory.send(session, port, self._engine.settings.inputs[port], value)

    async def end(self, session: str, port: str) -> None:
        """End an input port."""
        self.memory.end(session, port)

    async def repeat(self, session: str) -> None:
        """Deliver the last message again."""
        self.memory.repeat(session)

    async def stop(self, session: str) -> None:
        """Tell the instance to stop its part."""
        self.memory.commands.put(
            "t", "stop", "s", session, "a", 1, "n", ENGINE, "w", "stopped by the test"
        )

    async def crash(self, session: str, step: str) -> None:
        """End a worker of the session as a crash does."""
        part = await self._part(session)
        for run in part.steps:
            if step in {"", run.worker.step}:
                if isinstance(run.worker, WorkerThread):
                    run.worker.give_up("crashed (the test said so)")
                elif run.worker.process:
                    run.worker.process.kill()
                return
        raise DeclarationError(f"the engine has no step {step!r}")

    async def _part(self, session: str) -> Part:
        while (part := self._instance.by_node.get((session, ENGINE))) is None:
            await self._turn(session)
        return part

    async def _turn(self, session: str) -> None:
        """Let the instance do something; raise when it cannot any more."""
        if self._serving.done():
            await self._serving
        record = self.memory.records[session]
        record.changed.clear()
        try:
            async with asyncio.timeout(0.005):
                await record.changed.wait()
        except TimeoutError:
            return

    async def _news(self, session: str) -> None:
        """Wait until the instance says something; raise when it cannot any more."""
        changed = self.memory.records[session].changed
        changed.clear()
        waiting = asyncio.ensure_future(changed.wait())
        try:
            await asyncio.wait({waiting, self._serving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if self._serving.done():
            await self._serving

    async def settle(self, session: str) -> None:
        """Wait until nothing of a session waits or is at work."""
        while not self._is_over(session):
            part = self._instance.by_node.get((session, ENGINE))
            if (
                part is not None
                and self.memory.transport.inbox.empty()
                and not self.memory.records[session].waiting
                and all(run.idle and not run.worker.owes(part.no) for run in part.steps)
                and not part.sending
            ):
                return
            await self._turn(session)

    def _is_over(self, session: str) -> bool:
        record = self.memory.records[session]
        return record.ending is not None or bool(record.refused)

    async def take(self, session: str, port: str) -> Any:
        """Return the next value of an output port."""
        at = self._taken.get((session, port), 0)
        record = self.memory.records[session]
        while len(record.received.get(port, ())) <= at:
            if self._is_over(session):
                outcome = self._outcome(record)
                raise SessionFailed(
                    f"the session is {outcome.status} without a further value on {port!r}:"
                    f" {outcome.error}\n{outcome.traceback}".strip()
                )
            await self._news(session)
        self._taken[session, port] = at + 1
        return record.received[port][at]

    async def ended(self, session: str) -> Outcome:
        """Wait for the end of a session."""
        while not self._is_over(session):
            await self._news(session)
        return self._outcome(self.memory.records[session])

    def _outcome(self, record: Record) -> Outcome:
        outputs = {single.outer(port): values for port, values in record.received.items()}
        for port in self._engine.settings.outputs:
            if port != STATUS:
                outputs.setdefault(single.outer(port), [])
        found = Outcome(
            status=record.ending.value if record.ending else "refused",
            outputs=outputs,
            said=list(record.said),
            calls=record.tally.calls,
            error=record.refused,
            code="refused" if record.refused else "",
        )
        if fault := record.fault:
            found = replace(found, error=fault.message, code=fault.code, traceback=fault.traceback)
        return found


async def _in_time(work: Coroutine[Any, Any, T], seconds: float) -> T:
    async with asyncio.timeout(seconds):
        return await work
