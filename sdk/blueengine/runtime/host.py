"""The parent process of an engine instance.

Commands and messages in, calls to the workers; their outputs and reports out. It runs no code of
the author.

Caller of everything here: the one event loop. What is sent to Redis is pipelined in the order of
the calls, so a part's outputs always arrive before its end.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from blueengine.errors import DecodeError, MessageLostError, StoreAwayError, StoreReplyError
from blueengine.kit.redis_link import Link, Reply
from blueengine.ledger.instance import InstanceLedger
from blueengine.runtime import frames
from blueengine.runtime.context import FLAGS, Flags
from blueengine.runtime.declare import BlueEngine, Step
from blueengine.runtime.join import Join
from blueengine.runtime.part import (
    SPANS,
    WINDOW_BYTES,
    WINDOW_MESSAGES,
    Call,
    Message,
    Output,
    Part,
    State,
    StepRun,
)
from blueengine.runtime.workers import Pool, WorkerProcess
from blueengine.transport.base import Transport
from blueengine.transport.blobs import BlobFolder, node_prefix, result_ref, session_prefix
from blueengine.transport.redis_streams import StreamReader
from blueengine.wire import codec, command, names
from blueengine.wire.envelope import Header, Kind, Stored
from blueengine.wire.plan import CLIENT, Plan, StartData
from blueengine.wire.report import Fault, Outcome, Tally
from blueengine.wire.spec import FORWARD

log = logging.getLogger(__name__)

REFUSALS: Final = 3
"""After so many refusals a session fails."""
CREDIT_MESSAGES: Final = WINDOW_MESSAGES // 4
CREDIT_BYTES: Final = WINDOW_BYTES // 4
EARLY_SECONDS: Final = 2.0
"""How long a message waits for the Start of its session. Start was written before it."""
FORWARDED: Final = 64
"""Calls that may wait for a step before the step that forwards to it must wait."""


class Gone(Exception):  # noqa: N818 - not an error of this process: the platform gave it up
    """The platform took this instance for dead; its sessions are somebody else's now."""


class Host:
    """One engine instance."""

    def __init__(
        self,
        engine: BlueEngine,
        instance: str,
        target: str,
        *,
        link: Link,
        commands: StreamReader,
        transport: Transport,
        ledger: InstanceLedger,
        blobs: BlobFolder | None,
        heartbeat_seconds: float,
    ) -> None:
        """Work as ``instance`` of ``engine``, whose module is at ``target``."""
        self._engine = engine
        self._instance = instance
        self._target = target
        self._link = link
        self._commands = commands
        self._transport = transport
        self._ledger = ledger
        self._blobs = blobs
        self._heartbeat_seconds = heartbeat_seconds
        self._steps: tuple[Step, ...] = engine.steps
        self._pools = [self._make_pool(step) for step in self._steps]
        self._parts: dict[int, Part] = {}
        self._by_node: dict[tuple[str, str], Part] = {}
        self._early: dict[tuple[str, str], list[tuple[Header, bytes]]] = {}
        self._next_no = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._flags_fd = os.memfd_create("blueengine-flags")
        os.ftruncate(self._flags_fd, FLAGS)
        self._flags = Flags(self._flags_fd)
        self._folder = Path(tempfile.mkdtemp(prefix=f"blueengine-{instance}-"))
        self._draining = False

    # -- life -------------------------------------------------------------------------------------

    async def warm_up(self) -> None:
        """Start the workers and wait until every init_func is done.

        Raises:
            RuntimeError: An init_func failed; the message says how.
        """
        workers = [worker for pool in self._pools for worker in pool.fill()]
        await asyncio.gather(*(worker.inited for worker in workers))

    async def attend(self) -> None:
        """Advertise this instance."""
        await self._transport.open()
        record = {"host": os.uname().nodename, "pid": str(os.getpid())}
        if not any(step.start_func for step in self._steps):
            record["eager"] = "1"  # nothing to prepare: ready for any session by being here
        await self._ledger.attend(self._engine.settings.spec, record)

    async def serve(self) -> None:
        """Take commands and messages and send heartbeats, until cancelled.

        Raises:
            Gone: The platform gave this instance up.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._beat(), name="heartbeat")
                group.create_task(self._take_commands(), name="commands")
                group.create_task(self._take_messages(), name="messages")
        except* Exception as ended:  # noqa: BLE001 - passed on as it is
            raise ended.exceptions[0] from None  # the first is the reason; the others followed

    async def drain(self) -> None:
        """Take no new session and wait until those here have ended."""
        self._draining = True
        while await self._ledger.drain() > 0:
            # a Start may still be on its way, so an empty table alone says nothing
            self._empty.clear()
            if self._parts:
                await self._empty.wait()
            else:
                await asyncio.sleep(0.05)

    async def close(self, reason: str) -> None:
        """Withdraw, end the workers and remove what was kept on disk."""
        with contextlib.suppress(StoreAwayError, StoreReplyError):
            await asyncio.wait_for(self._ledger.leave(reason), timeout=5)
        for task in self._tasks:
            task.cancel()
        workers = [worker for pool in self._pools for worker in pool.workers]
        await asyncio.gather(*(worker.quit(grace=3) for worker in workers))
        shutil.rmtree(self._folder, ignore_errors=True)
        self._flags.close()
        os.close(self._flags_fd)

    async def _beat(self) -> None:
        while True:
            try:
                if await self._ledger.beat() == b"gone":
                    raise Gone
            except (StoreAwayError, StoreReplyError) as exc:
                log.warning("no heartbeat: %s", exc)
            await asyncio.sleep(self._heartbeat_seconds)

    def _make_pool(self, step: Step) -> Pool:
        settings = self._engine.settings

        def start() -> WorkerProcess:
            worker = WorkerProcess(step.name, self._on_frame, self._on_worker_lost)
            self._spawn(worker.start(self._target, self._flags_fd), f"start-{step.name}")
            return worker

        return Pool(start, least=settings.default_worker_count, most=settings.max_worker)

    def _spawn(self, work: "asyncio._CoroutineLike[None]", name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- commands ---------------------------------------------------------------------------------

    async def _take_commands(self) -> None:
        while True:
            try:
                entries = await self._commands.read()
            except (StoreAwayError, StoreReplyError) as exc:
                log.warning("no commands: %s", exc)
                await asyncio.sleep(1)
                continue
            for fields in entries:
                try:
                    self._obey(command.from_fields(fields))
                except DecodeError:
                    log.exception("dropped a command that this version cannot read")

    def _obey(self, order: command.Command) -> None:
        if isinstance(order, command.Start):
            self._on_start(order)
            return
        part = self._by_node.get((order.session, order.node))
        if part is None or part.start.attempt != order.attempt:
            if isinstance(order, command.Stop):  # nothing of it is here: say so at once
                key = (order.session, order.attempt, order.node)
                self._report(self._ledger.close(key, Outcome.STOPPED, None, _NO_TALLY))
            return
        match order:
            case command.Go():
                self._release(part)
            case command.Stop():
                self._end(part, Outcome.STOPPED, None)
            case command.Credit():
                self._on_credit(part, order)

    def _on_start(self, start: command.Start) -> None:
        known = self._by_node.get((start.session, start.node))
        if known is not None:
            if known.start.attempt >= start.attempt:
                return
            self._end(known, Outcome.STOPPED, None)
        self._next_no += 1
        no = self._next_no
        part = Part(no, start, codec.decode(Plan, start.plan), f"{self._folder}/{no}")
        self._flags.clear(no)
        self._parts[no] = part
        self._by_node[start.session, start.node] = part
        begin = frames.Begin(
            no,
            start.session,
            start.node,
            self._engine.settings.id,
            part.plan.labels,
            part.folder,
            f"{self._blobs.root}/{_outbox(part)}" if self._blobs else "",
            tuple(port for port, output in part.outputs.items() if output.stored),
        )
        for index, (step, pool) in enumerate(zip(self._steps, self._pools, strict=True)):
            worker = pool.assign(no)
            linked = [name for name in step.required_channels if self._is_linked(part, name)]
            join: Join[Message] = Join(linked, step.keep_channels)
            part.steps.append(StepRun(index, worker, join))
            worker.send(begin)
            if step.start_func is not None:
                part.unbegun += 1
        if start.go or part.unbegun == 0:
            # without start functions there is nothing to report: the platform took it for granted
            part.state = State.READY
        if start.go:
            self._release(part)
        for header, payload in self._early.pop((start.session, start.node), ()):
            self._on_message(header, payload)

    def _is_linked(self, part: Part, name: str) -> bool:
        return name == FORWARD or name in part.node.reads

    def _accept(self, part: Part) -> None:
        part.state = State.READY

        def on_answer(future: "asyncio.Future[Reply]") -> None:
            if future.cancelled() or future.exception():
                self._fail(part, "store-away", f"could not report ready: {future.exception()}")
            elif future.result() == b"go":
                self._release(part)
            elif future.result() == b"stale":
                self._drop(part)

        self._ledger.ready(part.key).add_done_callback(on_answer)

    def _release(self, part: Part) -> None:
        if part.state is not State.READY:
            return
        part.state = State.RUNNING
        seqs: dict[str, int] = {}
        if part.start.start_data:
            for feed in codec.decode(StartData, part.start.start_data).feeds:
                seq = seqs.get(feed.channel, 0)
                seqs[feed.channel] = seq + 1
                self._arrive(
                    part, feed.channel, CLIENT, seq, Kind.DATA, feed.payload, feed.meta, feed.blob
                )
        for channel in part.ports:
            if (channel, CLIENT) in part.sources:
                seq = seqs.get(channel, 0)
                self._arrive(part, channel, CLIENT, seq, Kind.END, b"", b"", "")
        if not part.sources and part.live:
            part.steps[0].queue.append(Call([], 0))  # an engine that reads nothing is called once
            self._feed(part, part.steps[0])
        self._look_for_end(part)

    # -- messages in ------------------------------------------------------------------------------

    async def _take_messages(self) -> None:
        while True:
            try:
                messages = await self._transport.receive()
            except (StoreAwayError, StoreReplyError) as exc:
                log.warning("no messages: %s", exc)
                await asyncio.sleep(1)
                continue
            for header, payload in messages:
                self._on_message(header, payload)

    def _on_message(self, header: Header, payload: bytes) -> None:
        part = self._by_node.get((header.session, header.node))
        if part is None or part.start.attempt < header.attempt:
            self._keep_early(header, payload)
            return
        if part.start.attempt != header.attempt or not part.live:
            self._discard(header)
            return
        if part.state is State.READY:
            self._release(part)  # a writer was told to Go, so all are ready
        self._arrive(
            part,
            header.channel,
            header.sender,
            header.seq,
            header.kind,
            payload,
            header.meta,
            header.blob,
        )
        if header.kind is Kind.END:
            self._look_for_end(part)

    def _keep_early(self, header: Header, payload: bytes) -> None:
        """Keep a message for a while: its Start may be on its way on the other stream."""
        waiting = self._early.setdefault((header.session, header.node), [])
        waiting.append((header, payload))
        if len(waiting) == 1:
            loop = asyncio.get_running_loop()
            loop.call_later(EARLY_SECONDS, self._drop_early, header.session, header.node)

    def _drop_early(self, session: str, node: str) -> None:
        for header, _ in self._early.pop((session, node), ()):
            self._discard(header)

    def _discard(self, header: Header) -> None:
        """Let go of a message of a part that is over."""
        if header.blob and self._blobs:
            self._blobs.remove(header.blob)

    def _arrive(  # noqa: PLR0917 - the fields of a message, not packed again for a call
        self,
        part: Part,
        channel: str,
        sender: str,
        seq: int,
        kind: Kind,
        payload: bytes,
        meta: bytes,
        blob: str,
    ) -> None:
        try:
            source = part.accept(channel, sender, seq, kind)
        except MessageLostError as exc:
            self._fail(part, exc.code, str(exc))
            return
        if source is None or kind is Kind.END:
            return
        size = len(payload)
        part.counts.messages_in += 1
        part.counts.bytes_in += size
        file = own_file = ""
        if blob:
            if self._blobs is None:
                self._fail(part, "no-blob", "a payload came by reference, but BLOB_DIR is not set")
                return
            file = str(self._blobs.path(blob))
            if blob.startswith(node_prefix(*part.key)):
                own_file = file
                part.files_came = True
        for number, port in enumerate(part.ports.get(channel, ())):
            item = frames.Item(port, payload, meta, file)
            # the first port's message stands for all of them where space is counted
            message = Message(item, source, channel, sender, size, own_file)
            if number:
                message.source, message.own_file = None, ""
            self._offer(part, port, message)

    def _offer(self, part: Part, port: str, message: Message) -> None:
        for run, step in zip(part.steps, self._steps, strict=True):
            if port in step.input_channels:
                self._offer_to(part, run, port, message)
                return
        self._consumed(part, message)  # linked, but no step reads it

    def _offer_to(self, part: Part, run: StepRun, port: str, message: Message) -> None:
        for call in run.join.offer(port, message):
            messages = list(call.values())
            run.queue.append(Call(messages, sum(m.size for m in messages)))
        self._feed(part, run)

    def _feed(self, part: Part, run: StepRun) -> None:
        worker = run.worker
        while run.queue and worker.has_room and part.state is State.RUNNING:
            call = run.queue.popleft()
            run.in_flight.append(call)
            items = tuple(message.item for message in call.messages)
            worker.call(frames.Work(part.no, items), call.size)
        if run.queue and not run.hungry and part.state is State.RUNNING:
            run.hungry = True
            worker.hungry.append((part, run))
        if run.index and len(run.queue) < FORWARDED // 2 and not part.blocked:
            part.steps[run.index - 1].worker.resume()

    def _consumed(self, part: Part, message: Message) -> None:
        """Give space back to the sender, in portions."""
        source = message.source
        if message.own_file:
            Path(message.own_file).unlink(missing_ok=True)
        if source is None or message.sender == CLIENT:
            return
        source.consumed_messages += 1
        source.consumed_bytes += message.size
        if source.consumed_messages < CREDIT_MESSAGES and source.consumed_bytes < CREDIT_BYTES:
            return
        session, attempt, node = part.key
        credit = command.Credit(
            session,
            attempt,
            message.sender,
            message.channel,
            node,
            source.consumed_messages,
            source.consumed_bytes,
        )
        source.consumed_messages = source.consumed_bytes = 0
        writer = part.start.picks[message.sender]
        self._report(
            self._link.send(
                "XADD", names.commands(writer), "NOMKSTREAM", "*", *command.credit_fields(credit)
            )
        )

    # -- frames from workers ----------------------------------------------------------------------

    def _on_frame(self, worker: WorkerProcess, frame: frames.FromWorker) -> None:
        if isinstance(frame, frames.Inited):
            if frame.error:
                log.error("init_func of step %r failed:\n%s", worker.step, frame.traceback)
                problem = RuntimeError(f"init_func of step {worker.step!r}: {frame.error}")
                worker.inited.set_exception(problem)
            else:
                worker.inited.set_result(None)
            return
        part = self._parts.get(frame.no)
        if isinstance(frame, frames.Done):
            self._on_done(worker, part, frame)
        elif part is None:
            return
        elif isinstance(frame, frames.Out):
            if part.live:
                self._on_out(worker, part, frame)
        elif isinstance(frame, frames.Say):
            if part.live:
                self._on_say(part, frame)
        elif isinstance(frame, frames.Began):
            self._on_began(part, frame)
        else:
            self._on_left(part, frame)

    def _on_began(self, part: Part, frame: frames.Began) -> None:
        part.unbegun -= 1
        if part.state is not State.STARTING:
            return
        if frame.refused:
            fault = self._fault(part, "refused", frame.refused)
            self._report(self._ledger.refuse(part.key, fault, limit=REFUSALS))
            self._drop(part)
        elif frame.error:
            self._fail(part, "start-failed", frame.error, frame.traceback)
        elif part.unbegun == 0:
            self._accept(part)

    def _on_out(self, worker: WorkerProcess, part: Part, frame: frames.Out) -> None:
        part.files_went = part.files_went or bool(frame.file)
        if frame.port == FORWARD:
            run = next(r for r in part.steps if r.worker is worker)
            item = frames.Item(FORWARD, frame.payload, frame.meta, frame.file)
            message = Message(item, None, "", "", frame.size, frame.file)
            following = part.steps[run.index + 1]
            self._offer_to(part, following, FORWARD, message)
            if len(following.queue) >= FORWARDED:
                worker.pause()
            return
        output = part.outputs.get(frame.port)
        if output is None:
            return  # linked nowhere
        if part.blocked or not all(route.has_room for route in output.routes):
            part.blocked.append(frame)
            worker.pause()
            return
        self._send(part, output, frame)

    def _send(self, part: Part, output: Output, frame: frames.Out) -> None:
        session, attempt, node = part.key
        size = len(frame.payload)
        part.counts.messages_out += 1
        part.counts.bytes_out += frame.size
        for route in output.routes:
            blob = ""
            if frame.file:
                name = f"{output.channel}-{node}-{route.seq}"
                blob = f"{node_prefix(session, attempt, route.node)}/{name}"
                self._link_blob(frame.file, blob)
            header = Header(
                session,
                attempt,
                route.node,
                node,
                output.channel,
                route.seq,
                Kind.DATA,
                frame.meta,
                blob,
            )
            route.seq += 1
            route.messages += 1
            route.bytes += size
            self._report(self._transport.send(route.instance, header, frame.payload))
        if output.stored:
            blob = ""
            if frame.file:
                blob = result_ref(session, output.channel, f"{attempt}-{node}-{output.stored_seq}")
                self._link_blob(frame.file, blob)
            item = Stored(output.type, frame.payload, frame.meta, blob, frame.size)
            output.unsaved.append(codec.encode(item))
            output.stored_seq += 1
            if not part.unsaved:
                part.unsaved = True
                asyncio.get_running_loop().call_soon(self._save, part)
        if frame.file:
            Path(frame.file).unlink(missing_ok=True)

    def _save(self, part: Part) -> None:
        """Store the results of this turn of the loop; an end in the same turn takes them along."""
        part.unsaved = False
        for channel, first, items in part.take_unsaved():
            self._report(self._ledger.output(part.key, channel, first, items))

    def _link_blob(self, file: str, ref: str) -> None:
        if self._blobs is not None:
            self._blobs.link(str(Path(file).relative_to(self._blobs.root)), ref)

    def _on_say(self, part: Part, frame: frames.Say) -> None:
        self._report(self._ledger.notice(part.key, frame.kind, frame.body))
        if frame.kind == "finish":
            self._end(part, Outcome.FINISHED, None)
        elif frame.kind == "error":
            message = msgspec.json.decode(frame.body).get("message")
            self._fail(part, "engine-error", str(message or "the engine reported an error"))

    def _on_credit(self, part: Part, credit: command.Credit) -> None:
        output = part.channels.get(credit.channel)
        if output is None:
            return
        for route in output.routes:
            if route.node == credit.reader:
                route.messages -= credit.messages
                route.bytes -= credit.size
        while part.blocked and part.live:
            blocked = part.outputs[part.blocked[0].port]
            if not all(route.has_room for route in blocked.routes):
                return
            self._send(part, blocked, part.blocked.popleft())
        for run in part.steps:
            run.worker.resume()
        self._look_for_end(part)

    def _on_done(self, worker: WorkerProcess, part: Part | None, frame: frames.Done) -> None:
        worker.answered()
        run = next((r for r in part.steps if r.worker is worker), None) if part else None
        if part is None or run is None or not run.in_flight:
            self._feed_next(worker)
            return
        call = run.in_flight.popleft()
        counts = part.counts
        counts.calls += 1
        counts.busy += frame.busy
        if len(counts.spans) < SPANS:
            counts.spans.append((frame.started, frame.busy))
        if part.state is State.ENDING:
            self._leave_when_idle(part)
        elif part.live:
            for message in call.messages:
                self._consumed(part, message)
            if frame.error:
                self._fail(part, frame.code, frame.error, frame.traceback)
            else:
                self._look_for_end(part)
        self._feed_next(worker)

    def _feed_next(self, worker: WorkerProcess) -> None:
        """Use the room that an answered call made for whoever waits for it longest."""
        while worker.hungry and worker.has_room:
            part, run = worker.hungry.popleft()
            run.hungry = False
            self._feed(part, run)

    # -- the end of a part ------------------------------------------------------------------------

    def _look_for_end(self, part: Part) -> None:
        if part.open_sources or part.state is not State.RUNNING or part.blocked:
            return
        for run, step in zip(part.steps, self._steps, strict=True):
            if not run.idle:
                return
            if leftover := run.join.leftover():
                counted = ", ".join(f"{count} on {name!r}" for name, count in leftover.items())
                self._fail(
                    part,
                    "no-partner",
                    f"the inputs of step {step.name!r} ended, but some messages found no partner on"
                    f" the other required channels: {counted}",
                )
                return
        self._end(part, Outcome.FINISHED, None)

    def _fail(
        self, part: Part, code: str, message: str, trace: str = "", *, again: bool = False
    ) -> None:
        if part.live:
            log.warning("session %s failed here: %s", part.start.session, message)
            self._end(part, Outcome.FAILED, self._fault(part, code, message, trace), again=again)

    def _fault(self, part: Part, code: str, message: str, trace: str = "") -> Fault:
        return Fault(
            code=code,
            message=message,
            engine=self._engine.settings.id,
            node=part.start.node,
            instance=self._instance,
            traceback=trace,
        )

    def _end(
        self, part: Part, outcome: Outcome, fault: Fault | None, *, again: bool = False
    ) -> None:
        """Decide how the part ends, once; then let the workers clean up, and report."""
        if not part.live:
            return
        part.state = State.ENDING
        if outcome is Outcome.FINISHED:
            session, attempt, node = part.key
            for output in part.channels.values():
                for route in output.routes:
                    header = Header(
                        session, attempt, route.node, node, output.channel, route.seq, Kind.END
                    )
                    self._report(self._transport.send(route.instance, header, b""))
        part.blocked.clear()
        busy = [run for run in part.steps if run.in_flight]
        if busy:
            self._flags.raise_(part.no)
        for run in part.steps:
            run.queue.clear()
            run.worker.resume()
            run.worker.send(frames.Leave(part.no))
        part.on_ended = lambda: self._report(
            self._ledger.close(
                part.key, outcome, fault, part.tally(), again=again, results=part.take_unsaved()
            )
        )
        part.unleft = sum(step.stop_func is not None for step in self._steps)
        if busy:
            grace = self._engine.settings.stop_grace_seconds
            handle = asyncio.get_running_loop().call_later(grace, self._kill_busy, part)
            part.cancel_kill = handle.cancel
        self._leave_when_idle(part)

    def _kill_busy(self, part: Part) -> None:
        for run in part.steps:
            if run.in_flight and part.state is State.ENDING:
                log.warning(
                    "step %r ignores the stop of %s; its worker is killed",
                    self._steps[run.index].name,
                    part.start.session,
                )
                self._spawn(run.worker.kill(), "kill-worker")

    def _on_left(self, part: Part, frame: frames.Left) -> None:
        if frame.error:
            log.error("stop_func failed in %s:\n%s", part.start.session, frame.traceback)
        part.unleft -= 1
        self._leave_when_idle(part)

    def _leave_when_idle(self, part: Part) -> None:
        if (
            part.state is State.ENDING
            and part.unleft <= 0
            and not any(r.in_flight for r in part.steps)
        ):
            part.on_ended()
            self._drop(part)

    def _drop(self, part: Part) -> None:
        """Forget a part and remove what was kept for it on disk."""
        if part.state is State.ENDED:
            return
        if part.state is not State.ENDING:  # refused or stale: the workers have not been told
            for run in part.steps:
                run.worker.send(frames.Leave(part.no))
        part.state = State.ENDED
        part.cancel_kill()
        del self._parts[part.no]
        if self._by_node.get((part.start.session, part.start.node)) is part:
            del self._by_node[part.start.session, part.start.node]
        for run in part.steps:
            run.worker.sessions.discard(part.no)
        if os.path.exists(part.folder):  # noqa: PTH110 - a third of the cost, for every session
            shutil.rmtree(part.folder, ignore_errors=True)
        if self._blobs is not None and part.files_came:
            self._blobs.remove_below(node_prefix(*part.key))
        if self._blobs is not None and part.files_went:
            self._blobs.remove_below(_outbox(part))
        if not self._parts:
            self._empty.set()

    def _on_worker_lost(self, worker: WorkerProcess, how: str) -> None:
        pool = next(
            p for p, step in zip(self._pools, self._steps, strict=True) if step.name == worker.step
        )
        pool.drop(worker)
        if not worker.inited.done():
            worker.inited.set_exception(RuntimeError(f"a worker of step {worker.step!r} {how}"))
        for no in list(worker.sessions):
            part = self._parts.get(no)
            if part is None:
                continue
            for run in part.steps:
                if run.worker is worker:
                    run.in_flight.clear()
            self._fail(
                part, "worker-crashed", f"a worker of step {worker.step!r} {how}", again=True
            )
            part.unleft = 0  # it answers no Leave any more
            self._leave_when_idle(part)
        pool.fill()

    def _report(self, future: "asyncio.Future[Reply]") -> None:
        """Let a report go its way; what cannot be reported is logged (the reaper will act)."""
        future.add_done_callback(_take_note)


def _take_note(future: "asyncio.Future[Reply]") -> None:
    if not future.cancelled() and (exc := future.exception()):
        log.error("a report was lost: %s", exc)


def _outbox(part: Part) -> str:
    session, attempt, node = part.key
    return f"{session_prefix(session)}/{attempt}/+{node}"


_NO_TALLY: Final = Tally()
