"""How a part ends: decided once, cleaned up by the workers, reported, forgotten."""

import asyncio
import logging
import shutil
from collections.abc import Callable

from blueengine.runtime import frames, logs
from blueengine.runtime.instance import Instance
from blueengine.runtime.part import Call, Part, State, StepRun, Verdict
from blueengine.runtime.sending import Sender, nobody
from blueengine.transport.blobs import node_prefix, session_prefix
from blueengine.wire.report import Fault, Outcome

log = logging.getLogger(__name__)


class Endings:
    """The ways out of a part."""

    def __init__(self, instance: Instance, sender: Sender) -> None:
        """End parts of ``instance``, whose readers are told through ``sender``."""
        self._instance = instance
        self._sender = sender
        self.on_call: Callable[[Part, StepRun], None] = nobody
        """Makes a call that waits; set by whoever feeds the workers."""
        sender.on_settled = self._on_settled

    def look_for_end(self, part: Part) -> None:
        """End a part that has nothing more to do."""
        if part.open_sources or part.state is not State.RUNNING:
            return
        self._instance.flags.end_inputs(part.no)
        if part.blocked:
            return
        for run, step in zip(part.steps, self._instance.steps, strict=True):
            if not run.idle:
                return
            if self.fail_of_leftover(part, run):
                return
            if step.end_func is not None and not run.at_end:
                run.at_end = True  # once; what it forwards is still for the steps behind it
                run.queue.append(Call([], 0, last=True))
                self.on_call(part, run)
                return
        self.end(part, Outcome.FINISHED, None)

    def fail_of_leftover(self, part: Part, run: StepRun) -> bool:
        """End a part in which messages of required channels wait for what will not come, if any do."""
        leftover = run.join.leftover()
        if leftover:
            counted = ", ".join(f"{count} on {name!r}" for name, count in leftover.items())
            self.fail(
                part,
                "no-partner",
                f"the inputs of step {self._instance.steps[run.index].name!r} ended, but some messages"
                f" found no partner on the other required channels: {counted}",
            )
        return bool(leftover)

    def fail(
        self, part: Part, code: str, message: str, trace: str = "", *, again: bool = False
    ) -> None:
        """End a part that broke; ``again``: another attempt may help."""
        if part.live:
            log.warning("session %s failed here: %s", part.start.session, message)
            self.end(
                part, Outcome.FAILED, self._instance.fault(part, code, message, trace), again=again
            )

    def end(
        self, part: Part, outcome: Outcome, fault: Fault | None, *, again: bool = False
    ) -> None:
        """Decide how the part ends, once; then let the workers clean up, and report."""
        if not part.live:
            return
        part.state, part.live = State.ENDING, False
        part.verdict = Verdict(outcome, fault, again)
        if outcome is Outcome.FINISHED:
            self._instance.crashed.clear()
            self._sender.end_channels(part)
        part.blocked.clear()
        if part.unbegun or any(run.in_flight for run in part.steps):
            self._instance.flags.raise_(part.no)

        if outcome is Outcome.FINISHED and any(output.routes for output in part.channels.values()):
            # Who reads this part's outputs waits for them: they are written before all else is done,
            # and the report goes in a write of its own, for Redis answers nobody before it has done
            # all that one write holds.
            asyncio.get_running_loop().call_soon(self._clean_up, part)
        else:
            self._clean_up(part)

    def _clean_up(self, part: Part) -> None:
        self._dismiss(part)
        self.leave_when_idle(part)

    def _dismiss(self, part: Part) -> None:
        """Tell the workers that the part is over; end those that do not listen."""
        part.dismissed = True
        for run, step in zip(part.steps, self._instance.steps, strict=True):
            run.queue.clear()
            if run.held:
                run.held = False
                run.worker.let_go(part.no)
            if step.stop_func is not None:
                run.worker.ask(part.no, frames.Leave(part.no))
            else:
                run.worker.post(frames.Leave(part.no))
        if _is_owed(part):
            self._be_patient(part)

    def _be_patient(self, part: Part) -> None:
        grace = self._instance.engine.settings.stop_grace_seconds
        handle = asyncio.get_running_loop().call_later(grace, self._end_stubborn, part)
        part.cancel_kill = handle.cancel

    def _end_stubborn(self, part: Part) -> None:
        for run in part.steps:
            if run.worker.at_work_on == part.no:
                step, session = self._instance.steps[run.index].name, part.start.session
                log.warning("step %r ignores the stop of %s; its worker is killed", step, session)
                why = f"was killed, because its code ignored the stop of {session}"
                self._instance.spawn(run.worker.kill(why), "kill-worker")
        if _is_owed(part):  # the worker may be at work on another session before it comes to this
            self._be_patient(part)

    def leave_when_idle(self, part: Part) -> None:
        """Report and forget a part that ended, once its workers have answered all."""
        if part.verdict and part.state is State.ENDING and part.dismissed and not _is_owed(part):
            self._report_when_sent(part, part.verdict)
            self.drop(part)

    def _report_when_sent(self, part: Part, verdict: Verdict) -> None:
        if verdict.outcome is Outcome.FINISHED and not part.sent.settled:
            self._instance.unsettled.add(part.key)
        else:
            self._report(part, verdict)

    def _on_settled(self, part: Part) -> None:
        if lost := part.sent.lost:
            self.fail(part, lost.code, str(lost), again=lost.retriable)
        if part.verdict and part.key in self._instance.unsettled:
            self._instance.unsettled.discard(part.key)
            self._report(part, part.verdict)

    def _report(self, part: Part, verdict: Verdict) -> None:
        logs.write(self._instance.ledger, part)
        results, tally = part.take_unsaved(), part.tally()
        since = part.counts.released
        ran = None if since is None else asyncio.get_running_loop().time() - since
        self._instance.numbers.ended(verdict.outcome, ran)
        how, why, again = verdict.outcome, verdict.fault, verdict.again
        if part.sent.lost and how is Outcome.FINISHED:  # its readers wait for what was lost
            how, again = Outcome.FAILED, part.sent.lost.retriable
            why = self._instance.fault(part, part.sent.lost.code, str(part.sent.lost))
        self._instance.report(
            self._instance.ledger.close(part.key, how, why, tally, again=again, results=results)
        )

    def drop(self, part: Part) -> None:
        """Forget a part and remove what was kept for it on disk."""
        if part.state is State.ENDED:
            return
        part.cancel_kill()
        if part.recording is not None:
            part.recording.close()
        if part.state is not State.ENDING:  # refused or stale: the workers have not been told
            self._dismiss(part)
        part.state, part.live = State.ENDED, False
        del self._instance.parts[part.no]
        self._instance.note_over(part.start.session, part.start.node, part.start.attempt)
        if self._instance.by_node.get((part.start.session, part.start.node)) is part:
            del self._instance.by_node[part.start.session, part.start.node]
        for run in part.steps:
            run.worker.part_from(part.no)
        part.close()
        part.pushes = None  # which refer to it
        self._remove_files(part)
        if not self._instance.parts:
            self._instance.empty.set()

    def _remove_files(self, part: Part) -> None:
        if self._instance.flags.has_folder(part.no):
            shutil.rmtree(part.folder, ignore_errors=True)
        if self._instance.blobs is not None and part.files_came:
            self._instance.blobs.remove_below(node_prefix(*part.key))
        if self._instance.shared is not None and part.files_went:
            shutil.rmtree(self._instance.shared / str(part.no), ignore_errors=True)
        if self._instance.blobs is not None and part.files_went:
            self._instance.blobs.remove_below(outbox(part))
        if self._instance.porter is not None:
            self._instance.porter.drop(part)


def _is_owed(part: Part) -> bool:
    """Whether some worker has not answered all that it was sent."""
    return any(run.worker.owes(part.no) for run in part.steps)


def outbox(part: Part) -> str:
    """Return where in the blob store the workers put large payloads of a part."""
    session, attempt, node = part.key
    return f"{session_prefix(session)}/{attempt}/+{node}"
