"""Messages through one part: into calls of its steps, out to its readers and to the store.

Bounded everywhere: a step whose output has no room is held, and what it was not given yet counts
against the window of whoever sent it.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from blueengine.errors import BlueEngineError, MessageLostError
from blueengine.kit.redis_link import Reply
from blueengine.runtime import frames, logs
from blueengine.runtime.ending import Endings
from blueengine.runtime.instance import Instance
from blueengine.runtime.join import AT_ONCE
from blueengine.runtime.part import (
    LEAST_WINDOW_MESSAGES,
    NO_MORE,
    PASSED_ON,
    SPANS,
    WINDOW_BYTES,
    Call,
    Message,
    Output,
    Part,
    State,
    StepRun,
    weight,
)
from blueengine.runtime.refs import stored_ref
from blueengine.runtime.sending import Sender
from blueengine.runtime.standstill import Standstill
from blueengine.runtime.taps import Taps
from blueengine.runtime.workers import WorkerProcess
from blueengine.transport.blobs import node_prefix
from blueengine.wire import codec, command
from blueengine.wire.envelope import Kind, Stored
from blueengine.wire.plan import CLIENT
from blueengine.wire.report import Outcome
from blueengine.wire.spec import FORWARD, STATUS

CREDIT_MESSAGES: Final = LEAST_WINDOW_MESSAGES // 2
CREDIT_BYTES: Final = WINDOW_BYTES // 4
_RUNNING: Final = State.RUNNING  # found once: members of an Enum are slow to find
_END: Final = Kind.END


class Flow:
    """Moves messages of the parts of one instance."""

    def __init__(self, instance: Instance, sender: Sender, endings: Endings) -> None:
        """Send through ``sender``; a part that breaks or is done ends by ``endings``."""
        self._instance = instance
        self._sender = sender
        self._endings = endings
        endings.on_call = self.feed
        if instance.porter is not None:
            instance.porter.bind(self.arrive, self._unblock, endings)
        self.taps = Taps(instance)
        self._came, self._went = instance.numbers.came, instance.numbers.went
        self.standstill = Standstill(instance, self, endings)
        self._takers: dict[str, list[int]] = {}
        """Input port -> places of the steps that read it."""
        for index, step in enumerate(instance.steps):
            for port in dict.fromkeys(step.input_channels):
                self._takers.setdefault(port, []).append(index)

    def arrive(  # noqa: PLR0917 - the fields of a message, not packed again for a call
        self,
        part: Part,
        channel: str,
        sender: str,
        seq: int,
        kind: Kind,
        payloads: Sequence[bytes],
        meta: bytes = b"",
        blob: str = "",
    ) -> None:
        """Take a run that came for the part; drop of it what is a repetition, or too late."""
        porter = self._instance.porter
        if not part.live or (
            porter is not None
            and porter.keeps(part, (channel, sender, seq, kind, payloads, meta), blob)
        ):
            return
        try:
            accepted = part.accept(channel, sender, seq, kind, len(payloads))
        except MessageLostError as exc:
            self._endings.fail(part, exc.code, str(exc))
            return
        if accepted is None or kind is _END:
            return
        source, known = accepted
        fresh = list(payloads[known:])
        size = whole = sum(map(len, fresh))
        file = own_file = ""
        if blob:
            found = self._find(part, blob)
            if found is None:
                return
            file, own_file, whole = found
            size = weight(0, whole)
        part.counts.messages_in += len(fresh)
        part.counts.bytes_in += whole
        if part.recording is not None:
            part.recording.take_all(channel, sender, fresh, meta, blob, whole)
        item = frames.Item("", fresh, meta, file)
        for some in self._apart(part, channel, item):
            weighs = size if some is item else len(some.payloads[0])
            first: Message | None = None
            for port in part.ports[channel]:
                self._came[port].count(len(some.payloads), whole if blob else weighs)
                mine = frames.Item(port, some.payloads, meta, file)
                message = Message(mine, source, channel, sender, weighs, own_file, 1, first)
                first = first or message
                self._offer(part, port, message)
            if first is not None:
                self._offered(part, first, seq + known, whole)

    def _find(self, part: Part, blob: str) -> tuple[str, str, int] | None:
        """Return the file of a blob, the same if it is the part's own to remove, and its size."""
        try:
            file, size = self._instance.find_blob(blob)
        except (BlueEngineError, OSError) as exc:
            self._endings.fail(part, "no-blob", str(exc))
            return None
        if not blob.startswith(node_prefix(*part.key)):
            return file, "", size
        part.files_came = True
        return file, file, size

    def _apart(self, part: Part, channel: str, item: frames.Item) -> Sequence[frames.Item]:
        """Return a run message by message if some step joins them with others, else whole."""
        if len(item.payloads) == 1:
            return (item,)
        takers = [i for port in part.ports[channel] for i in self._takers.get(port, ())]
        whole = all(part.steps[index].join.single for index in takers)
        return (item,) if whole else item.singly()

    def _offered(self, part: Part, message: Message, number: int, size: int) -> None:
        """Note that all who want a message have it; each of them counts for itself."""
        if message.sender == CLIENT:
            if part.pushes:
                part.pushes.came(message)
            if part.taps:  # no engine wrote it, so its readers show it
                item = message.item
                channel, payload = message.channel, item.payloads[0]
                self.taps.show(part, channel, CLIENT, number, payload, item.meta, size)
        self._consumed(part, message)

    def _offer(self, part: Part, port: str, message: Message) -> None:
        for index in self._takers.get(port, ()):
            self._offer_to(part, part.steps[index], port, message)

    def _offer_to(self, part: Part, run: StepRun, port: str, message: Message) -> None:
        if part.finishing or run.alone:
            return
        if run.join.single:  # the message is a call of its own
            (message.first or message).uses += 1
            run.queue.append(Call([message], message.size, count=len(message.item.payloads)))
            run.queued_bytes += message.size
            self.feed(part, run)
            return
        keep = self._instance.steps[run.index].keep_channels
        (message.first or message).uses += 1  # by what is kept, or by the join and then its call
        before = None
        if port in keep:
            before = run.kept.get(port)
            run.kept[port] = message
        # of much that waits for this message no more than the queue should hold: ``feed`` takes the rest
        if calls := run.join.offer(port, message, max(1, AT_ONCE - len(run.queue))):
            self._queue(run, calls)
            self.standstill.on_moved(part)
        elif port not in keep and port in run.spools:
            self.standstill.on_waiting(part, run, port, message)
        if before is not None:
            self._consumed(part, before)
        self.feed(part, run)

    def _queue(self, run: StepRun, calls: Iterable[Mapping[str, Message]]) -> None:
        keep = self._instance.steps[run.index].keep_channels
        for call in calls:
            messages = list(call.values())
            for name, m in call.items():
                if name in keep:
                    (m.first or m).uses += 1
            size = sum(m.size for m in messages)
            run.queue.append(Call(messages, size))
            run.queued_bytes += size

    def is_shared(self, part: Part, port: str) -> bool:
        """Whether a message at this port is at another one, too."""
        if port == FORWARD:  # it goes to the next step, whoever else reads such
            return False
        channel = part.node.reads.get(port, "")
        return len(self._takers[port]) > 1 or len(part.ports.get(channel, ())) > 1

    def feed(self, part: Part, run: StepRun) -> None:
        """Send a worker what waits for it, as far as it has room."""
        worker = run.worker
        running = part.state is _RUNNING and not run.held
        while running and run.queue and worker.has_room:
            call = run.queue.popleft()
            run.queued_bytes -= call.size
            run.in_flight.append(call)
            work = frames.Work(part.no, [m.item for m in call.messages], call.last)
            worker.ask(part.no, work, call.size, call.count)
            if run.spools and not run.queue:
                self._queue(run, run.join.more())
        if running and run.queue and not run.hungry:
            run.hungry = True
            worker.hungry.append((part, run))
        if run.index and not part.blocked:
            before = part.steps[run.index - 1]
            if before.held and not run.is_full:
                self._let_go(part, before)

    def feed_next(self, worker: WorkerProcess) -> None:
        """Use the room that an answered call made for whoever waits for it longest."""
        while worker.hungry and worker.has_room:
            part, run = worker.hungry.popleft()
            run.hungry = False
            self.feed(part, run)

    def _hold(self, part: Part, run: StepRun) -> None:
        """Have a step write nothing more for now; its worker goes on with other sessions."""
        if not run.held and part.live:
            run.held = True
            self._instance.flags.hold(part.no, run.index, True)
            run.worker.hold(part.no)
            self.feed_next(run.worker)

    def _let_go(self, part: Part, run: StepRun) -> None:
        """Have a step go on that was held."""
        run.held = False
        self._instance.flags.hold(part.no, run.index, False)
        run.worker.let_go(part.no)
        self.feed(part, run)

    def _let_all_go(self, part: Part) -> None:
        for run, following in zip(part.steps, [*part.steps[1:], None], strict=True):
            if run.held and not (following and following.is_full):
                self._let_go(part, run)

    def let_go_alone(self, part: Part, run: StepRun) -> None:
        """Let go of what a step cannot join with others any more, and of what still comes."""
        run.alone = True
        for spool in run.spools.values():
            while len(spool):
                self._consumed(part, spool.popleft())
        self.feed(part, run)

    def _consumed(self, part: Part, message: Message) -> None:
        """Note that one use of a message is over; after the last, its sender has the space again.

        Space is given back in portions.
        """
        message = message.first or message
        message.uses -= 1
        if message.uses:
            return
        if message.own_file:
            Path(message.own_file).unlink(missing_ok=True)
        if message.sender != CLIENT:
            self.give_back(part, message)
        elif part.pushes:
            part.pushes.consumed(message.channel)

    def give_back(self, part: Part, message: Message) -> None:
        """Give the room of a message back to its sender, once."""
        message = message.first or message
        source, message.source = message.source, None
        if source is None or source is PASSED_ON:  # a step is let go when the next one is fed
            return
        source.consumed_messages += len(message.item.payloads)
        source.consumed_bytes += message.size
        if source.consumed_messages < CREDIT_MESSAGES and source.consumed_bytes < CREDIT_BYTES:
            return
        self._sender.give_credit(
            part, message.channel, message.sender, source.consumed_messages, source.consumed_bytes
        )
        source.consumed_messages = source.consumed_bytes = 0

    def on_written(
        self, worker: WorkerProcess, part: Part, frame: frames.Out | frames.Say | frames.Logged
    ) -> None:
        """Take what a worker wrote."""
        if isinstance(frame, frames.Out):
            part.files_went = part.files_went or bool(frame.file)
            if part.live:
                self._on_out(worker, part, frame)
        elif isinstance(frame, frames.Logged):
            logs.take(self._instance.ledger, part, frame)
        elif part.live:
            self._on_say(worker, part, frame)

    def _on_out(self, worker: WorkerProcess, part: Part, frame: frames.Out) -> None:
        run = part.steps[worker.index]
        if frame.port == FORWARD:
            following = part.steps[run.index + 1]
            item = frames.Item(FORWARD, frame.payloads, frame.meta, frame.file)
            for some in (item,) if following.join.single else item.singly():
                size = frame.size if some is item else len(some.payloads[0])
                node = part.start.node
                message = Message(some, PASSED_ON, "", node, size, frame.file, 1)
                self._offer_to(part, following, FORWARD, message)
                self._consumed(part, message)
            if following.is_full:
                self._hold(part, run)
            return
        output = part.outputs.get(frame.port)
        if output is None:  # linked nowhere
            if frame.file:
                Path(frame.file).unlink(missing_ok=True)
        elif part.blocked or not output.has_room or self._must_bring(frame):
            part.blocked.append(frame)
            self._hold(part, run)
            if self._instance.porter is not None and frame.file:
                self._instance.porter.bring(part, output, frame.file)
        else:
            self._send(part, output, frame)

    def _must_bring(self, frame: frames.Out) -> bool:
        """Whether a payload has to be brought to the blob store before it is told of."""
        return bool(frame.file) and self._instance.porter is not None

    def _send(self, part: Part, output: Output, frame: frames.Out) -> None:
        self._went[frame.port].count(len(frame.payloads), frame.size)
        if part.taps:
            name, node, number = output.channel, part.start.node, part.counts.messages_out + 1
            for at, payload in enumerate(frame.payloads, number):
                size = len(payload) or frame.size
                self.taps.show(part, name, node, at, payload, frame.meta, size)
        part.counts.messages_out += len(frame.payloads)
        part.counts.bytes_out += frame.size
        self._sender.send(part, output, frame)
        if output.stored:
            self._keep(part, output, frame)
        if frame.file:
            Path(frame.file).unlink(missing_ok=True)

    def _keep(self, part: Part, output: Output, frame: frames.Out) -> None:
        """Have messages stored as results, at the end of this turn of the loop."""
        blob = ""
        if frame.file:
            blob = stored_ref(part, output, frame.file)
            self._instance.link_blob(frame.file, blob)
        for payload in frame.payloads:
            size = len(payload) or frame.size
            encoded = codec.encode(Stored(output.type, payload, frame.meta, blob, size))
            output.unsaved.append(encoded)
            output.saving_bytes += len(encoded)
        output.stored_seq += len(frame.payloads)
        output.saving += len(frame.payloads)
        if not part.unsaved:
            part.unsaved = True
            self._instance.turn.soon(self._save, part)

    def _save(self, part: Part) -> None:
        """Store the results of this turn of the loop; an end in the same turn takes them along."""
        part.unsaved = False
        for channel, first, items in part.take_unsaved():
            future = self._instance.ledger.output(part.key, channel, first, items)
            self._instance.report(future)
            future.add_done_callback(partial(self._on_saved, part, channel, items))

    def _on_saved(
        self, part: Part, channel: str, items: list[bytes], future: "asyncio.Future[Reply]"
    ) -> None:
        if not part.live or future.cancelled() or future.exception():
            return
        if future.result() == b"gap":
            self._endings.fail(
                part, "result-lost", f"results of channel {channel!r} were lost on the way"
            )
            return
        output = part.channels[channel]
        output.saving -= len(items)
        output.saving_bytes -= sum(map(len, items))
        if part.blocked:
            self._unblock(part)

    def _on_say(self, worker: WorkerProcess, part: Part, frame: frames.Say) -> None:
        notice = self._instance.ledger.notice(part.key, part.notices, frame.kind, frame.body)
        self._instance.report(notice)
        part.notices += 1
        if STATUS in part.outputs:  # linked to a channel: it is a message there, too
            body = frame.body
            self._on_out(worker, part, frames.Out(part.no, STATUS, [body], b"", "", len(body)))
        if frame.kind == "finish":
            if not part.blocked:
                self._endings.end(part, Outcome.FINISHED, None)
                return
            part.blocked.append(frame)  # what was written before it still goes out
            part.finishing = True
            for run in part.steps:
                run.queue.clear()
        elif frame.kind == "error":
            message = msgspec.json.decode(frame.body).get("message")
            self._endings.fail(part, "engine-error", str(message or "the engine reported an error"))

    def on_credit(self, part: Part, credit: command.Credit) -> None:
        """Take room that a reader gave back."""
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
                self._endings.end(part, Outcome.FINISHED, None)
                return
            output = part.outputs[frame.port]
            porter = self._instance.porter
            if not output.has_room or (porter and porter.is_bringing(frame.file)):
                return
            part.blocked.popleft()
            self._send(part, output, frame)
        if part.live:
            self._let_all_go(part)
            self._endings.look_for_end(part)

    def on_done(self, worker: WorkerProcess, part: Part, frame: frames.Done) -> None:
        """Take the end of a call."""
        run = part.steps[worker.index]
        if not run.in_flight:
            return
        counts = part.counts
        counts.calls += frame.calls
        counts.busy += frame.busy
        self._instance.numbers.calls += 1
        self._instance.numbers.busy += frame.busy
        if len(counts.spans) < SPANS:
            counts.spans.append((frame.started, frame.busy))
        left = frame.calls
        while left and run.in_flight:
            call = run.in_flight[0]
            done = min(left, call.count)
            left -= done
            call.count -= done
            if not call.count:
                run.in_flight.popleft()
                if part.live:
                    for message in call.messages:
                        self._consumed(part, message)
        if part.live:
            if frame.error:
                self._endings.fail(part, frame.code, frame.error, frame.traceback)
            else:
                self._endings.look_for_end(part)
