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
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from blueengine.errors import (
    BlueEngineError,
    DecodeError,
    MessageLostError,
    ReadOnlyStoreError,
    StoreAwayError,
    StoreReplyError,
)
from blueengine.kit import aio
from blueengine.kit.redis_link import Link, Reply
from blueengine.ledger.instance import InstanceLedger
from blueengine.runtime import frames
from blueengine.runtime.context import Flags
from blueengine.runtime.declare import BlueEngine, Step
from blueengine.runtime.join import Join
from blueengine.runtime.part import (
    NO_MORE,
    SPANS,
    WINDOW_BYTES,
    WINDOW_MESSAGES,
    Call,
    Message,
    Output,
    Part,
    Route,
    State,
    StepRun,
    weight,
)
from blueengine.runtime.workers import Pool, WorkerProcess
from blueengine.transport.base import Transport
from blueengine.transport.blobs import (
    BlobError,
    BlobFolder,
    node_prefix,
    result_ref,
    session_prefix,
)
from blueengine.transport.redis_streams import StreamReader
from blueengine.wire import codec, command, names
from blueengine.wire.envelope import Header, Kind, Stored
from blueengine.wire.plan import CLIENT, Plan, StartData
from blueengine.wire.report import Fault, Outcome, Tally
from blueengine.wire.spec import FORWARD, STATUS

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
        self._takers: dict[str, list[int]] = {}
        """Input port -> places of the steps that read it."""
        for index, step in enumerate(self._steps):
            for port in dict.fromkeys(step.input_channels):
                self._takers.setdefault(port, []).append(index)
        self._pools = [self._make_pool(index) for index in range(len(self._steps))]
        self._parts: dict[int, Part] = {}
        self._by_node: dict[tuple[str, str], Part] = {}
        self._early: dict[tuple[str, str], list[tuple[Header, bytes]]] = {}
        self._next_no = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._flags_fd = os.memfd_create("blueengine-flags")
        os.ftruncate(self._flags_fd, Flags.size(len(self._steps)))
        self._flags = Flags(self._flags_fd)
        self._folder = Path(tempfile.mkdtemp(prefix=f"blueengine-{instance}-"))
        self._closing = False
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Fails when a report was lost: what this instance says has a gap then."""
        self._broken.add_done_callback(aio.take_note)

    # -- life -------------------------------------------------------------------------------------

    async def warm_up(self) -> None:
        """Start the workers and wait until every init_func is done.

        Raises:
            RuntimeError: An init_func failed; the message says how.
        """
        workers = [worker for pool in self._pools for worker in pool.fill()]
        await asyncio.gather(*(asyncio.shield(worker.inited) for worker in workers))

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
            BlueEngineError: A report could not be delivered, so its sessions cannot go on here.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._beat(), name="heartbeat")
                group.create_task(self._take_commands(), name="commands")
                group.create_task(self._take_messages(), name="messages")
                group.create_task(self._stay_whole(), name="reports")
        except ExceptionGroup as ended:
            raise ended.exceptions[0] from None  # the first is the reason; the others followed

    async def _stay_whole(self) -> None:
        await asyncio.shield(self._broken)

    async def drain(self) -> None:
        """Take no new session and wait until those here have ended."""
        while await self._ledger.drain() > 0:
            # a Start may still be on its way, so an empty table alone says nothing
            self._empty.clear()
            if self._parts:
                await self._empty.wait()
            else:
                await asyncio.sleep(0.05)

    async def close(self, reason: str, *, grace: float = 3.0) -> None:
        """Withdraw, end the workers and remove what was kept on disk."""
        self._closing = True
        with contextlib.suppress(StoreAwayError, StoreReplyError):
            await asyncio.wait_for(self._ledger.leave(reason), timeout=5)
        for task in self._tasks:
            task.cancel()
        workers = [worker for pool in self._pools for worker in pool.workers]
        await asyncio.gather(*(worker.quit(grace) for worker in workers))
        shutil.rmtree(self._folder, ignore_errors=True)
        self._broken.cancel()
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

    def _make_pool(self, index: int) -> Pool:
        settings, step = self._engine.settings, self._steps[index]

        def start() -> WorkerProcess:
            worker = WorkerProcess(step.name, index, self._on_frame, self._on_worker_lost)
            worker.inited.add_done_callback(aio.take_note)
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
            if step.start_func is None:
                worker.send(begin)
            else:
                worker.ask(no, begin)
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
        if header.kind is not Kind.DATA:
            self._look_for_end(part)

    def _keep_early(self, header: Header, payload: bytes) -> None:
        """Keep a message for a while: its Start may be on its way on the other stream."""
        waiting = self._early.setdefault((header.session, header.node), [])
        waiting.append((header, payload))
        if len(waiting) == 1:
            loop = asyncio.get_running_loop()
            loop.call_later(EARLY_SECONDS, self._drop_early, header, waiting)

    def _drop_early(self, first: Header, waiting: list[tuple[Header, bytes]]) -> None:
        key = (first.session, first.node)
        if self._early.get(key) is waiting:  # else its Start came
            del self._early[key]
            for header, _ in waiting:
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
        size = whole = len(payload)
        file = own_file = ""
        if blob:
            try:
                file, whole = self._find_blob(blob)
            except (BlueEngineError, OSError) as exc:
                self._fail(part, "no-blob", str(exc))
                return
            size = weight(0, whole)
            if blob.startswith(node_prefix(*part.key)):
                own_file = file
                part.files_came = True
        part.counts.messages_in += 1
        part.counts.bytes_in += whole
        first: Message | None = None
        for port in part.ports[channel]:
            item = frames.Item(port, payload, meta, file)
            message = Message(item, source, channel, sender, size, own_file, 1, first)
            first = first or message
            self._offer(part, port, message)
        if first is not None:
            self._consumed(part, first)  # it is offered; whoever took it counts for itself

    def _find_blob(self, ref: str) -> tuple[str, int]:
        """Return path and size of a payload that came by reference."""
        if self._blobs is None:
            raise BlobError("a payload came by reference, but BLOB_DIR is not set")
        path = self._blobs.existing(ref)
        return str(path), path.stat().st_size

    def _offer(self, part: Part, port: str, message: Message) -> None:
        for index in self._takers.get(port, ()):
            self._offer_to(part, part.steps[index], port, message)

    def _offer_to(self, part: Part, run: StepRun, port: str, message: Message) -> None:
        if part.finishing:
            return
        keep = self._steps[run.index].keep_channels
        (message.first or message).uses += 1  # by what is kept, or by the join and then its call
        before = None
        if port in keep:
            before = run.kept.get(port)
            run.kept[port] = message
        for call in run.join.offer(port, message):
            messages = list(call.values())
            for name, m in call.items():
                if name in keep:
                    (m.first or m).uses += 1
            size = sum(m.size for m in messages)
            run.queue.append(Call(messages, size))
            run.queued_bytes += size
        if before is not None:
            self._consumed(part, before)
        self._feed(part, run)

    def _feed(self, part: Part, run: StepRun) -> None:
        worker = run.worker
        running = part.state is State.RUNNING and not run.held
        while running and run.queue and worker.has_room:
            call = run.queue.popleft()
            run.queued_bytes -= call.size
            run.in_flight.append(call)
            items = tuple([message.item for message in call.messages])
            worker.ask(part.no, frames.Work(part.no, items), call.size)
        if running and run.queue and not run.hungry:
            run.hungry = True
            worker.hungry.append((part, run))
        if run.index and not part.blocked:
            before = part.steps[run.index - 1]
            if before.held and not _is_full(run):
                self._let_go(part, before)

    def _hold(self, part: Part, run: StepRun) -> None:
        """Have a step write nothing more for now; its worker goes on with other sessions."""
        if not run.held and part.live:
            run.held = True
            self._flags.hold(part.no, run.index, True)
            run.worker.hold(part.no)
            self._feed_next(run.worker)

    def _let_go(self, part: Part, run: StepRun) -> None:
        """Have a step go on that was held."""
        run.held = False
        self._flags.hold(part.no, run.index, False)
        run.worker.let_go(part.no)
        self._feed(part, run)

    def _let_all_go(self, part: Part) -> None:
        for run, following in zip(part.steps, [*part.steps[1:], None], strict=True):
            if run.held and not (following and _is_full(following)):
                self._let_go(part, run)

    def _consumed(self, part: Part, message: Message) -> None:
        """Note that one use of a message is over; after the last, its sender has the space again.

        Space is given back in portions.
        """
        message = message.first or message
        message.uses -= 1
        if message.uses:
            return
        source = message.source
        if message.own_file:
            Path(message.own_file).unlink(missing_ok=True)
        if source is None or message.sender == CLIENT:
            return
        source.consumed_messages += 1
        source.consumed_bytes += message.size
        if source.consumed_messages < CREDIT_MESSAGES and source.consumed_bytes < CREDIT_BYTES:
            return
        self._give_credit(
            part, message.channel, message.sender, source.consumed_messages, source.consumed_bytes
        )
        source.consumed_messages = source.consumed_bytes = 0

    def _give_credit(self, part: Part, channel: str, sender: str, messages: int, size: int) -> None:
        session, attempt, node = part.key
        credit = command.Credit(session, attempt, sender, channel, node, messages, size)
        key = names.commands(part.start.picks[sender])
        fields = command.credit_fields(credit)
        self._report(self._link.send("XADD", key, "NOMKSTREAM", "*", *fields))

    # -- frames from workers ----------------------------------------------------------------------

    def _on_frame(self, worker: WorkerProcess, frame: frames.FromWorker) -> None:
        if isinstance(frame, frames.Inited):
            self._on_inited(worker, frame)
            return
        part = self._parts.get(frame.no)
        if isinstance(frame, (frames.Out, frames.Say)):
            if part is not None:
                self._on_written(worker, part, frame)
            return
        worker.answered(frame.no)
        if part is not None:
            if isinstance(frame, frames.Done):
                self._on_done(worker, part, frame)
            elif isinstance(frame, frames.Began):
                self._on_began(part, frame)
            elif frame.error:
                log.error("stop_func failed in %s:\n%s", part.start.session, frame.traceback)
            if part.state is State.ENDING:
                self._leave_when_idle(part)
        self._feed_next(worker)

    def _on_inited(self, worker: WorkerProcess, frame: frames.Inited) -> None:
        if worker.inited.done():
            return
        if frame.error:
            log.error("init_func of step %r failed:\n%s", worker.step, frame.traceback)
            problem = RuntimeError(f"init_func of step {worker.step!r}: {frame.error}")
            worker.inited.set_exception(problem)
        else:
            worker.inited.set_result(None)

    def _on_written(
        self, worker: WorkerProcess, part: Part, frame: frames.Out | frames.Say
    ) -> None:
        if isinstance(frame, frames.Out):
            part.files_went = part.files_went or bool(frame.file)
            if part.live:
                self._on_out(worker, part, frame)
        elif part.live:
            self._on_say(worker, part, frame)

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
        run = part.steps[worker.index]
        if frame.port == FORWARD:
            item = frames.Item(FORWARD, frame.payload, frame.meta, frame.file)
            message = Message(item, None, "", "", frame.size, frame.file, 1)
            following = part.steps[run.index + 1]
            self._offer_to(part, following, FORWARD, message)
            self._consumed(part, message)
            if _is_full(following):
                self._hold(part, run)
            return
        output = part.outputs.get(frame.port)
        if output is None:  # linked nowhere
            if frame.file:
                Path(frame.file).unlink(missing_ok=True)
        elif part.blocked or not output.has_room:
            part.blocked.append(frame)
            self._hold(part, run)
        else:
            self._send(part, output, frame)

    def _send(self, part: Part, output: Output, frame: frames.Out) -> None:
        session, attempt, node = part.key
        size = weight(len(frame.payload), frame.size)
        part.counts.messages_out += 1
        part.counts.bytes_out += frame.size
        for route in output.routes:
            if route.closed:
                continue
            blob = ""
            if frame.file:
                # unique among all that is on its way to that node
                name = f"{node}-{part.counts.messages_out}"
                blob = f"{node_prefix(session, attempt, route.node)}/{name}"
                self._link_blob(frame.file, blob)
            if route.newest is not None:
                self._send_newest(part, output, route, Kind.DATA)
            route.newest = (frame.payload, frame.meta, blob)
            route.messages += 1
            route.size += size
        if output.routes and not part.sending:
            part.sending = True
            asyncio.get_running_loop().call_soon(self._send_all, part)
        if output.stored:
            blob = ""
            if frame.file:
                blob = result_ref(session, output.channel, f"{attempt}-{node}-{output.stored_seq}")
                self._link_blob(frame.file, blob)
            item = Stored(output.type, frame.payload, frame.meta, blob, frame.size)
            encoded = codec.encode(item)
            output.unsaved.append(encoded)
            output.stored_seq += 1
            output.saving += 1
            output.saving_bytes += len(encoded)
            if not part.unsaved:
                part.unsaved = True
                asyncio.get_running_loop().call_soon(self._save, part)
        if frame.file:
            Path(frame.file).unlink(missing_ok=True)

    def _send_all(self, part: Part) -> None:
        """Send what this turn of the loop held back; an end in the same turn went with it."""
        part.sending = False
        for output in part.channels.values():
            for route in output.routes:
                if route.newest is not None:
                    self._send_newest(part, output, route, Kind.DATA)

    def _send_newest(self, part: Part, output: Output, route: Route, kind: Kind) -> None:
        """Send the newest message of a route, or the bare end of the channel when there is none."""
        payload, meta, blob = route.newest or (b"", b"", "")
        route.newest = None
        session, attempt, node = part.key
        header = Header(
            session, attempt, route.node, node, output.channel, route.seq, kind, meta, blob
        )
        route.seq += 1
        self._report(self._transport.send(route.instance, header, payload))

    def _save(self, part: Part) -> None:
        """Store the results of this turn of the loop; an end in the same turn takes them along."""
        part.unsaved = False
        for channel, first, items in part.take_unsaved():
            future = self._ledger.output(part.key, channel, first, items)
            self._report(future)
            future.add_done_callback(partial(self._on_saved, part, channel, items))

    def _on_saved(
        self, part: Part, channel: str, items: list[bytes], future: "asyncio.Future[Reply]"
    ) -> None:
        if not part.live or future.cancelled() or future.exception():
            return
        if future.result() == b"gap":
            self._fail(part, "result-lost", f"results of channel {channel!r} were lost on the way")
            return
        output = part.channels[channel]
        output.saving -= len(items)
        output.saving_bytes -= sum(map(len, items))
        if part.blocked:
            self._unblock(part)

    def _link_blob(self, file: str, ref: str) -> None:
        if self._blobs is not None:
            self._blobs.link(str(Path(file).relative_to(self._blobs.root)), ref)

    def _on_say(self, worker: WorkerProcess, part: Part, frame: frames.Say) -> None:
        self._report(self._ledger.notice(part.key, frame.kind, frame.body))
        if STATUS in part.outputs:  # linked to a channel: it is a message there, too
            body = frame.body
            self._on_out(worker, part, frames.Out(part.no, STATUS, body, b"", "", len(body)))
        if frame.kind == "finish":
            if not part.blocked:
                self._end(part, Outcome.FINISHED, None)
                return
            part.blocked.append(frame)  # what was written before it still goes out
            part.finishing = True
            for run in part.steps:
                run.queue.clear()
        elif frame.kind == "error":
            message = msgspec.json.decode(frame.body).get("message")
            self._fail(part, "engine-error", str(message or "the engine reported an error"))

    def _on_credit(self, part: Part, credit: command.Credit) -> None:
        output = part.channels.get(credit.channel)
        if output is None:
            return
        for route in output.routes:
            if route.node != credit.reader:
                continue
            if credit.messages == NO_MORE:
                route.closed = True
                route.messages = route.size = 0
            else:  # a credit may come twice, after a broken connection
                route.messages = max(0, route.messages - credit.messages)
                route.size = max(0, route.size - credit.size)
        if part.blocked:
            self._unblock(part)

    def _unblock(self, part: Part) -> None:
        """Send what waited for room, as far as there is some now."""
        while part.blocked and part.live:
            frame = part.blocked[0]
            if isinstance(frame, frames.Say):
                self._end(part, Outcome.FINISHED, None)
                return
            output = part.outputs[frame.port]
            if not output.has_room:
                return
            part.blocked.popleft()
            self._send(part, output, frame)
        if part.live:
            self._let_all_go(part)
            self._look_for_end(part)

    def _on_done(self, worker: WorkerProcess, part: Part, frame: frames.Done) -> None:
        run = part.steps[worker.index]
        if not run.in_flight:
            return
        call = run.in_flight.popleft()
        counts = part.counts
        counts.calls += 1
        counts.busy += frame.busy
        if len(counts.spans) < SPANS:
            counts.spans.append((frame.started, frame.busy))
        if part.live:
            for message in call.messages:
                self._consumed(part, message)
            if frame.error:
                self._fail(part, frame.code, frame.error, frame.traceback)
            else:
                self._look_for_end(part)

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
            self._end_channels(part)
        part.blocked.clear()
        if any(run.in_flight for run in part.steps):
            self._flags.raise_(part.no)
        self._dismiss(part)

        def close() -> None:
            results = part.take_unsaved()
            self._report(
                self._ledger.close(
                    part.key, outcome, fault, part.tally(), again=again, results=results
                )
            )

        # Who reads this part's outputs is waiting for them: they go first, in a write of their own,
        # for Redis answers nobody before it has done all that one write holds.
        waited_for = any(output.routes for output in part.channels.values())

        def close_soon() -> None:
            asyncio.get_running_loop().call_soon(close)

        part.on_ended = close_soon if waited_for else close
        self._leave_when_idle(part)

    def _end_channels(self, part: Part) -> None:
        """Tell readers that nothing more comes, and writers that nothing more is read."""
        for output in part.channels.values():
            for route in output.routes:
                if not route.closed:
                    kind = Kind.END if route.newest is None else Kind.LAST
                    self._send_newest(part, output, route, kind)
        for (channel, sender), source in part.sources.items():
            if sender != CLIENT and not source.ended:
                self._give_credit(part, channel, sender, NO_MORE, 0)

    def _dismiss(self, part: Part) -> None:
        """Tell the workers that the part is over; end those that do not listen."""
        for run, step in zip(part.steps, self._steps, strict=True):
            run.queue.clear()
            if run.held:
                run.held = False
                run.worker.let_go(part.no)
            if step.stop_func is not None:
                run.worker.ask(part.no, frames.Leave(part.no))
            else:
                run.worker.send(frames.Leave(part.no))
        if _is_owed(part):
            self._be_patient(part)

    def _be_patient(self, part: Part) -> None:
        grace = self._engine.settings.stop_grace_seconds
        handle = asyncio.get_running_loop().call_later(grace, self._end_stubborn, part)
        part.cancel_kill = handle.cancel

    def _end_stubborn(self, part: Part) -> None:
        for run in part.steps:
            if run.worker.at_work_on == part.no:
                step, session = self._steps[run.index].name, part.start.session
                log.warning("step %r ignores the stop of %s; its worker is killed", step, session)
                why = f"was killed, because its code ignored the stop of {session}"
                self._spawn(run.worker.kill(why), "kill-worker")
        if _is_owed(part):  # the worker may be at work on another session before it comes to this
            self._be_patient(part)

    def _leave_when_idle(self, part: Part) -> None:
        if part.state is State.ENDING and not _is_owed(part):
            part.on_ended()
            self._drop(part)

    def _drop(self, part: Part) -> None:
        """Forget a part and remove what was kept for it on disk."""
        if part.state is State.ENDED:
            return
        part.cancel_kill()
        if part.state is not State.ENDING:  # refused or stale: the workers have not been told
            self._dismiss(part)
        part.state = State.ENDED
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
        pool = self._pools[worker.index]
        pool.drop(worker)
        had_begun = worker.inited.done() and not worker.inited.exception()
        code, problem = "worker-crashed", f"a worker of step {worker.step!r} {how}"
        if not worker.inited.done():
            worker.inited.set_exception(RuntimeError(problem))
        elif not had_begun:
            code, problem = "init-failed", str(worker.inited.exception())
        for no in list(worker.sessions):
            part = self._parts.get(no)
            if part is None:
                continue
            part.steps[worker.index].in_flight.clear()
            part.files_went = True  # it may have written some that it did not tell of
            self._fail(part, code, problem, again=True)
            self._leave_when_idle(part)
        if had_begun and not self._closing:
            pool.fill()  # one that could not begin is only tried again for the next session

    def _report(self, future: "asyncio.Future[Reply]") -> None:
        """Let a report go its way.

        When Redis is away for longer than the patience, or full, something was lost that others
        wait for. This instance cannot make good for it, so it ends, and its sessions with it.
        """
        future.add_done_callback(self._on_reported)

    def _on_reported(self, future: "asyncio.Future[Reply]") -> None:
        if future.cancelled() or not (exc := future.exception()):
            return
        log.error("a report was lost: %s", exc)
        if isinstance(exc, (StoreAwayError, ReadOnlyStoreError)) and not self._broken.done():
            self._broken.set_exception(exc)


def _is_full(run: StepRun) -> bool:
    """Whether enough waits for a step."""
    return len(run.queue) >= FORWARDED or run.queued_bytes >= WINDOW_BYTES


def _is_owed(part: Part) -> bool:
    """Whether some worker has not answered all that it was sent."""
    return any(run.worker.owes(part.no) for run in part.steps)


def _outbox(part: Part) -> str:
    session, attempt, node = part.key
    return f"{session_prefix(session)}/{attempt}/+{node}"


_NO_TALLY: Final = Tally()
