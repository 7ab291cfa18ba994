"""Sessions that wait for themselves are found, and go on.

A writer may have a window of messages under way to each reader. Where one step needs a message of
two channels, and both come from one writer in the end, it can happen that nobody is able to go on:
the step waits for the second channel, the engines on that way wait for their input, and the writer of
that input waits for room on the first channel. Nothing but room helps then.

A part in which much waits for a partner, and which has nothing else to do, asks those it waits for; who
is waiting, too, passes the question on to those it waits for itself; who is at work lets it drop (an
edge-chasing probe, after Chandy, Misra and Haas). If the question comes back, the session stands still: the
part gives back the room of all that waits in it, and of as much again of what comes, twice as much each
time. What that comes to beyond the memory of a window goes to disk (``spool``). What a step forwards to
the next one is bounded alike: the step is held while a window of it waits for partners.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from blueengine.kit import aio
from blueengine.runtime import waiting
from blueengine.runtime.ending import Endings
from blueengine.runtime.instance import Instance
from blueengine.runtime.part import WINDOW_BYTES, WINDOW_MESSAGES, Message, Part, StepRun
from blueengine.wire import command, names
from blueengine.wire import plan as plans
from blueengine.wire.plan import CLIENT

FIRST_LOOK_SECONDS: Final = 0.1
LAST_LOOK_SECONDS: Final = 2.0
"""How long a part waits before it asks, and at most between two questions."""
GIVE_UP: Final = 10
"""So many questions in a row that came back, with nothing moved and no place on disk, are an error."""


@dataclass(slots=True)
class Look:
    """What a part in which much waits knows of its standing still."""

    looking: bool = False
    seconds: float = FIRST_LOOK_SECONDS
    number: int = 0
    """Of the last question."""
    seen: int = 0
    """Messages that had come when it was asked."""
    asked: set[str] = field(default_factory=set)
    """Nodes that have heard nothing yet, on whose behalf it was asked."""
    in_a_row: int = 0
    portion_messages: int = WINDOW_MESSAGES
    portion_bytes: int = WINDOW_BYTES
    """What is taken beyond the windows the next time."""
    messages: int = 0
    size: int = 0
    """What may still be taken beyond the windows."""


class Moves(Protocol):
    """What is done with the messages of a part (see ``flow``)."""

    def give_back(self, part: Part, message: Message) -> None:
        """Give the room of a message back to its sender."""

    def is_shared(self, part: Part, port: str) -> bool:
        """Whether several steps or ports get the messages of a port."""

    def let_go_alone(self, part: Part, run: StepRun) -> None:
        """Let go of what a step cannot join with others any more."""

    def feed(self, part: Part, run: StepRun) -> None:
        """Make calls of a step, and let go the one before it, as far as there is room."""


class Standstill:
    """Looks after the parts of one instance. Caller: its loop."""

    def __init__(self, instance: Instance, moves: Moves, endings: Endings) -> None:
        """Move messages by ``moves``, end parts by ``endings``."""
        self._instance = instance
        self._moves = moves
        self._endings = endings

    def on_waiting(self, part: Part, run: StepRun, port: str, message: Message) -> None:
        """Note a message that found no partner yet."""
        if message.sender == CLIENT:  # no window of ours bounds it
            return
        look = part.look
        if look is not None and look.messages > 0 and look.size > 0 and not _is_full(part):
            look.messages -= 1
            look.size -= message.size
            self._take(part, run, port, [message])
        elif run.spools[port].is_long:
            if look is None:
                look = part.look = Look()
            if not look.looking:
                look.looking, look.seconds = True, FIRST_LOOK_SECONDS
                self._look_later(part, look)

    @staticmethod
    def on_moved(part: Part) -> None:
        """Note that messages found their partners: windows are enough from now on."""
        if part.look is not None:
            part.look.messages = part.look.size = part.look.in_a_row = 0

    def _look_later(self, part: Part, look: Look) -> None:
        asyncio.get_running_loop().call_later(look.seconds, self._look, part, look)

    def _look(self, part: Part, look: Look) -> None:
        look.looking = part.live and any(
            spool.is_long for run in part.steps for spool in run.spools.values()
        )
        if not look.looking or self._let_go_alone(part):
            return
        if waits_for := self._awaited(part):
            look.number += 1
            look.seen = part.counts.messages_in
            look.asked.clear()
            self._ask(
                part,
                command.Probe(*part.key, part.start.node, look.number, self._instance.id),
                waits_for,
            )
        elif waiting.waits_for_end(part, self._instance.steps):
            self._stands_still(part, look)
        look.seconds = min(2 * look.seconds, LAST_LOOK_SECONDS)
        self._look_later(part, look)

    def _let_go_alone(self, part: Part) -> bool:
        """End what waits for partners that cannot come any more; whether that ended the part.

        The end of the session would show it, but it may not come: who writes has no room.
        """
        for run in part.steps:
            much = any(spool.is_long for spool in run.spools.values())
            if much and waiting.is_over(part, self._instance.steps, run.index):
                if self._endings.fail_of_leftover(part, run):
                    return True
                self._moves.let_go_alone(part, run)
        return False

    def on_probe(self, part: Part | None, probe: command.Probe) -> None:
        """Take a question: pass it on, answer it, or let it drop."""
        if part is None:
            self._not_heard(probe)
        elif probe.origin == part.start.node:
            self._on_own(part, probe)
        elif part.probes.get(probe.origin, 0) < probe.number and (waits_for := self._awaited(part)):
            part.probes = {**part.probes, probe.origin: probe.number}
            self._ask(part, probe, waits_for)

    def _not_heard(self, probe: command.Probe) -> None:
        """Who hears of the session by its first message cannot say whom it waits for: the asker can."""
        over = self._instance.over.get((probe.session, probe.node), 0)
        if not probe.unheard and over < probe.attempt:
            back = command.Probe(
                probe.session,
                probe.attempt,
                probe.origin,
                probe.origin,
                probe.number,
                probe.asker,
                probe.node,
            )
            self._send(probe.asker, back)

    def _on_own(self, part: Part, probe: command.Probe) -> None:
        look = part.look
        if look is None or probe.number != look.number or look.seen != part.counts.messages_in:
            return
        if probe.unheard:
            if probe.unheard not in look.asked and probe.unheard in part.plan.nodes:
                look.asked.add(probe.unheard)
                reads = part.plan.nodes[probe.unheard].reads.values()
                writers = [w for channel in reads for w in plans.writers(part.plan, channel)]
                question = command.Probe(*part.key, part.start.node, look.number, self._instance.id)
                self._ask(part, question, writers)
        elif self._awaited(part):
            self._stands_still(part, look)

    def _stands_still(self, part: Part, look: Look) -> None:
        look.number += 1  # an answer on another way says nothing new
        look.in_a_row += 1
        if _is_full(part):
            if look.in_a_row >= GIVE_UP:
                self._endings.fail(part, "spool-full", self._explain(part))
            return
        look.seconds = FIRST_LOOK_SECONDS
        look.messages, look.size = look.portion_messages, look.portion_bytes
        look.portion_messages *= 2
        look.portion_bytes *= 2
        for run in part.steps:
            for port, spool in run.spools.items():
                self._take(part, run, port, spool.owed())
            if run.spools and part.live:
                self._moves.feed(part, run)  # the step before it may forward more

    def _take(self, part: Part, run: StepRun, port: str, messages: Iterable[Message]) -> None:
        """Give back the room of messages that wait, and have them wait on disk."""
        spool = run.spools[port]
        for message in messages:
            self._moves.give_back(part, message)
            spool.given_back(message)
        try:
            spool.spill(alone=not self._moves.is_shared(part, port))
        except OSError as exc:
            self._endings.fail(
                part,
                "spool-failed",
                f"messages that wait for those of another channel could not be kept on disk: {exc}",
            )

    def _awaited(self, part: Part) -> list[str]:
        return waiting.awaited(part, self._instance.steps)

    def _explain(self, part: Part) -> str:
        reads = part.node.reads
        held_up = {
            reads.get(port, port): len(spool)
            for run in part.steps
            for port, spool in run.spools.items()
            if len(spool)
        }
        missing = sorted(
            {reads[p] for p in waiting.missing(part, self._instance.steps) if p in reads}
        )
        disk = part.disk
        used, limit = (disk.used, disk.limit) if disk else (0, 0)
        held = ", ".join(f"{count} of {channel!r}" for channel, count in held_up.items())
        return (
            f"the session waits for itself: {part.start.node!r} needs a message of"
            f" {', '.join(map(repr, missing))}, which can only come when more of the other channels is"
            f" taken; {held} wait already, {used} bytes of them on disk, and SPOOL_BYTES allows"
            f" {limit}. Raise it, or let the engines on that way write earlier"
        )

    def _ask(self, part: Part, probe: command.Probe, nodes: Iterable[str]) -> None:
        for node in dict.fromkeys(nodes):
            to = command.Probe(
                probe.session, probe.attempt, node, probe.origin, probe.number, probe.asker
            )
            self._send(part.start.picks[node], to)

    def _send(self, instance: str, probe: command.Probe) -> None:
        """Send a question; one that is lost is asked again."""
        fields = command.probe_fields(probe)
        sent = self._instance.link.send(
            "XADD", names.commands(instance), "NOMKSTREAM", "*", *fields
        )
        sent.add_done_callback(aio.take_note)


def _is_full(part: Part) -> bool:
    return part.disk is not None and part.disk.is_full
