"""The parent process of an engine instance.

Commands and messages in, calls to the workers; their outputs and reports out. It runs no code of
the author. Here is the life of the instance and of its sessions; ``flow`` moves their messages,
``ending`` ends them.

Caller of everything here: the one event loop.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from blueengine.errors import (
    BlueEngineError,
    ChannelsAwayError,
    DecodeError,
    StoreAwayError,
    StoreReplyError,
)
from blueengine.kit import aio
from blueengine.kit.redis_link import Reply
from blueengine.runtime import frames
from blueengine.runtime.ending import Endings, outbox
from blueengine.runtime.flow import Flow
from blueengine.runtime.instance import Instance
from blueengine.runtime.join import Join
from blueengine.runtime.part import (
    Call,
    Message,
    Part,
    State,
    StepRun,
    wiring,
)
from blueengine.runtime.pushes import Pushes
from blueengine.runtime.recording import Recording
from blueengine.runtime.sending import Sender
from blueengine.runtime.spawn import Spawned
from blueengine.runtime.spool import Disk, Spool
from blueengine.runtime.workers import Pool, WorkerProcess
from blueengine.transport.base import Run
from blueengine.transport.redis_streams import StreamReader
from blueengine.wire import codec, command
from blueengine.wire.envelope import Header, Kind
from blueengine.wire.plan import CLIENT, Feed, StartData
from blueengine.wire.report import Fault, Outcome, Tally
from blueengine.wire.spec import FORWARD

if TYPE_CHECKING:
    from blueengine.runtime.threads import Time

log = logging.getLogger(__name__)

REFUSALS: Final = 3
"""After so many refusals a session fails."""
CRASHES: Final = 5
"""After so many sessions in a row crashed a worker, the instance takes none for a while."""
AILING_SECONDS: Final = 30.0
EARLY_SECONDS: Final = 2.0
"""After this time one asks whether the Start that a message waits for will come."""

_FORGOT: Final = "state-lost"
_FORGOT_WHY: Final = (
    "Redis has forgotten what it had acknowledged (a failover, or a machine that was lost)"
)

_READY: Final = State.READY  # found once: members of an Enum are slow to find
_ENDING: Final = State.ENDING
_DATA: Final = Kind.DATA


class Gone(Exception):  # noqa: N818 - not an error of this process: the platform gave it up
    """The platform took this instance for dead; its sessions are somebody else's now."""


class Host:
    """One engine instance at work."""

    def __init__(
        self,
        instance: Instance,
        target: str,
        *,
        commands: StreamReader,
        heartbeat_seconds: float,
        threads: "Time | None" = None,
        begun: Mapping[str, list[Spawned]] | None = None,
    ) -> None:
        """Run ``instance``, whose engine is in the module at ``target``.

        With ``threads`` every step runs in threads, for which time passes like that. ``begun`` holds
        workers that were started already, by the names of their steps.
        """
        self._instance = instance
        self._target = target
        self._commands = commands
        self._heartbeat_seconds = heartbeat_seconds
        self._threads = threads
        self._begun = begun or {}
        self._sender = Sender(instance)
        self._endings = Endings(instance, self._sender)
        self._flow = Flow(instance, self._sender, self._endings)
        self._retiring: set[WorkerProcess] = set()
        self._pools = [self._make_pool(index) for index in range(len(instance.steps))]
        instance.numbers.workers = self._count_workers
        self._early: dict[tuple[str, str], list[Run]] = {}
        self._unheard: set[tuple[str, int, str]] = set()
        """Parts that have a slot here and were not begun when Kafka was last found away."""
        self._forgotten: set[tuple[str, int, str]] = set()
        """Parts that have ended here and had a slot at the last heartbeat."""
        self._next_no = 0
        self._closing = False
        self._ailing = False
        self.attending = False
        """Whether it takes new sessions."""

    # -- life -------------------------------------------------------------------------------------

    async def warm_up(self) -> None:
        """Start the workers and wait until every init_func is done.

        Raises:
            RuntimeError: An init_func failed; the message says how.
        """
        workers = [worker for pool in self._pools for worker in pool.fill()]
        await asyncio.gather(*(asyncio.shield(worker.inited) for worker in workers))

    async def attend(self, *, node_name: str = "", zone: str = "") -> None:
        """Advertise this instance, and where it runs."""
        await self._instance.transport.open()
        record = {"host": node_name or os.uname().nodename, "pid": str(os.getpid())}
        if zone:
            record["zone"] = zone
        if not any(step.start_func for step in self._instance.steps):
            record["eager"] = "1"  # nothing to prepare: ready for any session by being here
        await self._instance.ledger.attend(self._instance.engine.settings.spec, record)
        self.attending = True

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
        await asyncio.shield(self._instance.broken)

    async def drain(self) -> None:
        """Take no new session and wait until those here have ended."""
        self.attending = False
        while await self._instance.ledger.drain() > 0:
            # a Start may still be on its way, so an empty table alone says nothing
            self._instance.empty.clear()
            if self._instance.parts:
                await self._instance.empty.wait()
            else:
                await asyncio.sleep(0.05)

    async def close(self, reason: str, *, grace: float = 3.0) -> None:
        """Withdraw and end the workers."""
        self._closing = True
        with contextlib.suppress(StoreAwayError, StoreReplyError, TimeoutError):
            await asyncio.wait_for(self._instance.ledger.leave(reason), timeout=5)
        for task in self._instance.tasks:
            task.cancel()
        workers = [worker for pool in self._pools for worker in pool.workers]
        workers += self._retiring
        await asyncio.gather(*(worker.quit(grace) for worker in workers))
        self._instance.broken.cancel()

    async def _beat(self) -> None:
        while True:
            try:
                answer = await self._instance.ledger.beat()
                if answer == b"gone":
                    raise Gone
                await (self._begin_anew() if answer == b"forgot" else self._report_again())
            except (StoreAwayError, StoreReplyError) as exc:
                self._instance.numbers.missed_heartbeats += 1
                log.warning("no heartbeat: %s", exc)
            await asyncio.sleep(self._heartbeat_seconds)

    async def _begin_anew(self) -> None:
        """Fail every session here: Redis forgot what it had acknowledged, so each may have a gap."""
        log.error("%s; the sessions of this instance fail, or begin again", _FORGOT_WHY)
        for part in list(self._instance.parts.values()):
            self._endings.fail(part, _FORGOT, _FORGOT_WHY, again=True)
        here = {part.key for part in self._instance.parts.values()} | self._instance.unsettled
        for session, attempt, node in await self._instance.ledger.held() - here:
            self._instance.note_over(session, node, attempt)
            self._give_up((session, attempt, node), _FORGOT, _FORGOT_WHY)

    async def _report_again(self) -> None:
        """Fail the parts that have ended here and hold a slot: Redis has forgotten how they ended."""
        found = set()
        if self._instance.ledger.slots > len(self._instance.parts):
            over = self._instance.over
            found = {
                key
                for key in await self._instance.ledger.held() - self._instance.unsettled
                if over.get((key[0], key[2]), 0) >= key[1]
            }
        for key in found & self._forgotten:  # seen twice: its end is not just being reported
            self._give_up(key, _FORGOT, _FORGOT_WHY)
        self._forgotten = found

    def _give_up(self, key: tuple[str, int, str], code: str, message: str) -> None:
        """Fail a part that has a slot here and is not here."""
        fault = Fault(
            code=code,
            message=message,
            engine=self._instance.engine.settings.id,
            node=key[2],
            instance=self._instance.id,
        )
        self._instance.report(
            self._instance.ledger.close(key, Outcome.FAILED, fault, _NO_TALLY, again=True)
        )

    def _make_pool(self, index: int) -> Pool:
        settings, step = self._instance.engine.settings, self._instance.steps[index]

        def start() -> WorkerProcess:
            worker = self._make_worker(index)
            worker.inited.add_done_callback(aio.take_note)
            self._instance.spawn(
                worker.start(self._target, self._instance.flags.fd), f"start-{step.name}"
            )
            return worker

        alone = step.run_in == "inline"  # there is one loop
        return Pool(
            start,
            self._retire,
            least=1 if alone else settings.default_worker_count,
            most=1 if alone else settings.max_worker,
            idle_seconds=settings.worker_idle_seconds,
        )

    def _retire(self, worker: WorkerProcess) -> None:
        """Let a worker end that is not needed."""
        self._retiring.add(worker)
        self._instance.spawn(self._see_off(worker), f"retire-{worker.step}")

    async def _see_off(self, worker: WorkerProcess) -> None:
        await worker.quit(self._instance.engine.settings.stop_grace_seconds)
        self._retiring.discard(worker)

    def _count_workers(self) -> dict[str, int]:
        steps = self._instance.steps
        return {s.name: len(pool.workers) for s, pool in zip(steps, self._pools, strict=True)}

    def _make_worker(self, index: int) -> WorkerProcess:
        instance, step = self._instance, self._instance.steps[index]
        on_frame, on_lost, turn = self._on_frame, self._on_worker_lost, instance.turn
        if self._threads is None and step.run_in == "process":
            begun = self._begun.get(step.name)
            spawned = begun.pop(0) if begun else None
            return WorkerProcess(step.name, index, on_frame, on_lost, turn, spawned=spawned)
        if self._threads is None and step.run_in == "inline":
            from blueengine.runtime.inline import WorkerInline

            return WorkerInline(instance.engine, index, on_frame, on_lost, turn)
        from blueengine.runtime.threads import WorkerThread

        return WorkerThread(instance.engine, index, on_frame, on_lost, turn, time=self._threads)

    # -- commands ---------------------------------------------------------------------------------

    async def _take_commands(self) -> None:
        while True:
            try:
                entries = await self._commands.read()
            except (StoreAwayError, StoreReplyError) as exc:
                log.warning("no commands: %s", exc)
                await asyncio.sleep(1)
                continue
            with self._instance.turn:
                for fields in entries:
                    try:
                        self._obey(command.from_fields(fields))
                    except DecodeError:
                        log.exception("dropped a command that this version cannot read")

    def _obey(self, order: command.Command) -> None:
        if isinstance(order, command.Start):
            self._on_start(order)
            return
        part = self._instance.by_node.get((order.session, order.node))
        if part is None or part.start.attempt != order.attempt:
            self._obey_without_part(order)
            return
        match order:
            case command.Go():
                self._release(part)
            case command.Stop():
                self._endings.end(part, Outcome.STOPPED, None)
            case command.Credit():
                self._flow.on_credit(part, order)
            case command.Push():
                if part.pushes:
                    part.pushes.on_push(order)
            case command.Tap():
                self._flow.taps.open(part, order)
            case command.Probe():
                self._flow.standstill.on_probe(part, order)

    def _obey_without_part(self, order: command.Command) -> None:
        if isinstance(order, command.Probe):
            self._flow.standstill.on_probe(None, order)
        elif isinstance(order, command.Stop):  # nothing of it is here: say so at once
            self._instance.note_over(order.session, order.node, order.attempt)
            key = (order.session, order.attempt, order.node)
            self._instance.report(
                self._instance.ledger.close(key, Outcome.STOPPED, None, _NO_TALLY)
            )

    def _on_start(self, start: command.Start) -> None:
        if self._instance.over.get((start.session, start.node), 0) >= start.attempt:
            return
        known = self._instance.by_node.get((start.session, start.node))
        if known is not None:
            if known.start.attempt >= start.attempt:
                return
            self._endings.end(known, Outcome.STOPPED, None)
        self._next_no += 1
        no = self._next_no
        part = self._make_part(no, start)
        self._instance.flags.clear(no)
        self._instance.parts[no] = part
        self._instance.by_node[start.session, start.node] = part
        begin = frames.Begin(
            no,
            start.session,
            start.node,
            self._instance.engine.settings.id,
            part.plan.labels,
            part.folder,
            f"{self._instance.blobs.root}/{outbox(part)}" if self._instance.blobs else "",
            part.stored,
            f"{self._instance.shared}/{no}" if self._instance.shared else "",
        )
        for index, (step, pool) in enumerate(zip(self._instance.steps, self._pools, strict=True)):
            worker = pool.assign(no)
            part.steps.append(self._step_run(part, index, worker))
            if step.start_func is None:
                worker.send(begin)
            else:
                worker.ask(no, begin)
                part.unbegun += 1
        if part.tells and len(self._instance.parts) == 1:  # of many, each is awake anyway
            self._instance.turn.soon(self._sender.announce, part)  # once its own worker is at work
        if start.go or part.unbegun == 0:
            # without start functions there is nothing to report: the platform took it for granted
            part.state = State.READY
        if start.go:
            self._release(part)
        for header, payloads in self._early.pop((start.session, start.node), ()):
            self._on_run(header, payloads)

    def _make_part(self, no: int, start: command.Start) -> Part:
        instance = self._instance
        wired = wiring(start.plan, start.node)
        part = Part(no, start, wired, f"{instance.folder}/{no}")
        if start.go:
            part.tells = wired.tells
        if part.plan.interactive:
            part.pushes = Pushes(part, instance, partial(self._on_pushed, part))
        if part.plan.record:
            on_cut = partial(_on_recording_cut, start.session)
            part.recording = Recording(instance.blobs, part.key, on_cut)
        return part

    def _step_run(self, part: Part, index: int, worker: WorkerProcess) -> StepRun:
        step = self._instance.steps[index]
        linked = [name for name in step.required_channels if self._is_linked(part, name)]
        if not linked:
            return StepRun(index, worker, Join(keep=step.keep_channels))
        here = self._instance
        disk = part.disk or Disk(here.folder, here.spool_bytes, memory=here.shared)
        part.disk = disk
        spools: dict[str, Spool] = {}

        def queue(port: str) -> Spool:
            spool = spools[port] = Spool(disk)
            return spool

        join: Join[Message] = Join(linked, step.keep_channels, queue=queue)
        return StepRun(index, worker, join, spools=spools)

    def _is_linked(self, part: Part, name: str) -> bool:
        return name == FORWARD or name in part.node.reads

    def _accept(self, part: Part) -> None:
        part.state = State.READY

        def on_answer(future: "asyncio.Future[Reply]") -> None:
            if future.cancelled() or future.exception():
                self._endings.fail(
                    part, "store-away", f"could not report ready: {future.exception()}"
                )
            elif future.result() == b"go":
                self._release(part)
            elif future.result() == b"stale":
                self._endings.drop(part)

        self._instance.ledger.ready(part.key).add_done_callback(on_answer)

    def _release(self, part: Part) -> None:
        if part.state is not State.READY:
            return
        part.state = State.RUNNING
        part.counts.released = asyncio.get_running_loop().time()
        seqs: dict[str, int] = {}
        if part.start.start_data:
            for feed in codec.decode(StartData, part.start.start_data).feeds:
                seq = seqs.get(feed.channel, 0)
                seqs[feed.channel] = seq + 1
                self._flow.arrive(
                    part, feed.channel, CLIENT, seq, _DATA, [feed.payload], feed.meta, feed.blob
                )
        if part.pushes:
            part.pushes.attach(seqs)
        else:
            for channel in part.ports:
                if (channel, CLIENT) in part.sources:
                    seq = seqs.get(channel, 0)
                    self._flow.arrive(part, channel, CLIENT, seq, Kind.END, [b""])
        if not part.sources and part.live:
            part.steps[0].queue.append(Call([], 0))  # an engine that reads nothing is called once
        for run in part.steps:
            if run.queue:
                self._flow.feed(part, run)
        self._endings.look_for_end(part)

    # -- messages ---------------------------------------------------------------------------------

    def _on_pushed(self, part: Part, channel: str, seq: int, kind: Kind, feed: Feed) -> None:
        if part.live:
            self._flow.arrive(
                part, channel, CLIENT, seq, kind, [feed.payload], feed.meta, feed.blob
            )
            self._endings.look_for_end(part)

    async def _take_messages(self) -> None:
        while True:
            try:
                runs = await self._instance.transport.receive()
            except (ChannelsAwayError, StoreAwayError, StoreReplyError) as exc:
                log.warning("no messages: %s", exc)
                if isinstance(exc, ChannelsAwayError):
                    self._fail_readers(exc)
                    with contextlib.suppress(StoreAwayError):
                        await self._fail_unheard(exc)
                await asyncio.sleep(1)
                continue
            self._unheard.clear()
            self._take(runs)

    def take(self, runs: Iterable[Run]) -> None:
        """Take messages that nobody waits for here."""
        if self._closing:
            return
        try:
            self._take(runs)
        except Exception as exc:  # noqa: BLE001 - what comes next would be taken as if this had been
            self._instance.break_off(exc)

    def _take(self, runs: Iterable[Run]) -> None:
        with self._instance.turn:
            for header, payloads in runs:
                try:
                    self._on_run(header, payloads)
                except DecodeError:
                    log.exception("dropped a message that this version cannot read")

    def _fail_readers(self, exc: ChannelsAwayError) -> None:
        """Fail the sessions that wait for what another engine writes; others go on."""
        for part in list(self._instance.parts.values()):
            awaited = part.sources.items()
            if any(sender != CLIENT and not source.ended for (_, sender), source in awaited):
                self._endings.fail(part, exc.code, str(exc), again=True)

    async def _fail_unheard(self, exc: ChannelsAwayError) -> None:
        """Fail the sessions that this instance was to hear of by a message, and cannot."""
        here = {part.key for part in self._instance.parts.values()}
        unheard = await self._instance.ledger.held() - here
        for key in unheard & self._unheard:  # seen twice: its Start is not just on its way
            self._give_up(key, exc.code, str(exc))
        self._unheard = unheard

    def _on_run(self, header: Header, payloads: Sequence[bytes]) -> None:
        part = self._instance.by_node.get((header.session, header.node))
        if part is None or part.start.attempt < header.attempt:
            if not header.start:
                self._keep_early(header, payloads)
                return
            self._on_start(codec.decode(command.Start, header.start))
            part = self._instance.by_node.get((header.session, header.node))
            if part is None:  # it is over
                self._discard(header)
                return
            if not payloads:  # it was only told of the session: its run begins with a message
                part.counts.released = None
                return
        if part.start.attempt != header.attempt or not part.live or not payloads:
            self._discard(header)
            return
        if part.state is _READY:
            self._release(part)  # a writer was told to Go, so all are ready
        elif part.counts.released is None:
            part.counts.released = asyncio.get_running_loop().time()
        self._flow.arrive(
            part,
            header.channel,
            header.sender,
            header.seq,
            header.kind,
            payloads,
            header.meta,
            header.blob,
        )
        if header.kind is not _DATA:
            self._endings.look_for_end(part)

    def _keep_early(self, header: Header, payloads: Sequence[bytes]) -> None:
        """Keep a message for a while: its Start may be on its way on the other stream."""
        key = (header.session, header.node)
        waiting = self._early.setdefault(key, [])
        waiting.append((header, payloads))
        if len(waiting) == 1:
            self._sift_later(key, waiting)

    def _sift_later(self, key: tuple[str, str], waiting: list[Run]) -> None:
        def sift() -> None:
            if self._early.get(key) is waiting:  # else its Start came
                self._instance.spawn(self._sift_early(key, waiting), "early")

        asyncio.get_running_loop().call_later(EARLY_SECONDS, sift)

    async def _sift_early(self, key: tuple[str, str], waiting: list[Run]) -> None:
        """Drop early messages of attempts that this instance has no slot of.

        A Start may be late by any time (the stream of commands has a connection of its own), but
        the slot was taken before any message was written.
        """
        held = set()
        for attempt in {header.attempt for header, _ in waiting}:
            with contextlib.suppress(StoreAwayError):
                if not await self._instance.ledger.holds((key[0], attempt, key[1])):
                    continue
            held.add(attempt)
        if self._early.get(key) is not waiting:
            return
        over = [header for header, _ in waiting if header.attempt not in held]
        waiting[:] = [entry for entry in waiting if entry[0].attempt in held]
        if waiting:
            self._sift_later(key, waiting)
        else:
            del self._early[key]
        for header in over:
            self._discard(header)

    def _discard(self, header: Header) -> None:
        """Let go of a message of a part that is over."""
        if header.blob:
            self._instance.remove_blob(header.blob)

    # -- workers ----------------------------------------------------------------------------------

    def _on_frame(self, worker: WorkerProcess, frame: frames.FromWorker) -> None:
        if isinstance(frame, frames.Inited):
            self._on_inited(worker, frame)
            return
        if isinstance(frame, frames.Counted):
            self._instance.numbers.counted(worker.step, frame.counts, frame.times)
            return
        part = self._instance.parts.get(frame.no)
        if isinstance(frame, (frames.Out, frames.Say, frames.Logged)):
            if part is not None:
                self._flow.on_written(worker, part, frame)
            return
        worker.answered(frame.no, frame.calls if isinstance(frame, frames.Done) else 1)
        if part is not None:
            if isinstance(frame, frames.Done):
                self._flow.on_done(worker, part, frame)
            elif isinstance(frame, frames.Began):
                self._on_began(part, frame)
            if part.state is _ENDING:
                self._endings.leave_when_idle(part)
        self._flow.feed_next(worker)

    def _on_inited(self, worker: WorkerProcess, frame: frames.Inited) -> None:
        if worker.inited.done():
            return
        if frame.error:
            log.error("init_func of step %r failed:\n%s", worker.step, frame.traceback)
            problem = RuntimeError(f"init_func of step {worker.step!r}: {frame.error}")
            worker.inited.set_exception(problem)
        else:
            worker.inited.set_result(None)

    def _on_began(self, part: Part, frame: frames.Began) -> None:
        part.unbegun -= 1
        if part.state is not State.STARTING:
            return
        if frame.refused:
            self._instance.numbers.refused += 1
            fault = self._instance.fault(part, "refused", frame.refused)
            self._instance.report(self._instance.ledger.refuse(part.key, fault, limit=REFUSALS))
            self._endings.drop(part)
        elif frame.error:
            self._endings.fail(part, "start-failed", frame.error, frame.traceback)
        elif part.unbegun == 0:
            self._accept(part)

    def _on_worker_lost(self, worker: WorkerProcess, how: str) -> None:
        pool = self._pools[worker.index]
        pool.drop(worker)
        self._instance.numbers.lost_workers += 1
        had_begun = worker.inited.done() and not worker.inited.exception()
        code, problem = "worker-crashed", f"a worker of step {worker.step!r} {how}"
        if not worker.inited.done():
            worker.inited.set_exception(RuntimeError(problem))
        elif not had_begun:
            code, problem = "init-failed", str(worker.inited.exception())
        for no in list(worker.sessions):
            part = self._instance.parts.get(no)
            if part is None:
                continue
            part.steps[worker.index].in_flight.clear()
            part.files_went = True  # it may have written some that it did not tell of
            self._instance.crashed.add(part.start.session)
            self._endings.fail(part, code, problem, worker.last_words, again=True)
            self._endings.leave_when_idle(part)
        if len(self._instance.crashed) >= CRASHES and not (self._ailing or self._closing):
            self._ailing = True
            self._instance.spawn(self._ail(problem), "ailing")
        if had_begun and not self._closing:
            pool.fill()  # one that could not begin is only tried again for the next session

    async def _ail(self, problem: str) -> None:
        """Take no session for a while, then see whether a worker begins."""
        reason = f"{CRASHES} sessions in a row crashed a worker; the last time {problem}"
        log.error("taking no session for %g s: %s", AILING_SECONDS, reason)
        self._instance.report(self._instance.ledger.ail(reason))
        while self._ailing:
            await asyncio.sleep(AILING_SECONDS)
            workers = [worker for pool in self._pools for worker in pool.fill()]
            try:
                await asyncio.gather(*(asyncio.shield(worker.inited) for worker in workers))
                await self._instance.ledger.ail("")
            except (RuntimeError, BlueEngineError) as exc:
                log.error("still taking no session: %s", exc)
                continue
            self._instance.crashed.clear()
            self._ailing = False
        log.info("taking sessions again")


_NO_TALLY: Final = Tally()


def _on_recording_cut(session: str, why: str) -> None:
    log.warning("the recording of %s is not whole: %s", session, why)
