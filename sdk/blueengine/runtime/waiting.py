"""Whom a part waits for that does nothing itself. Pure.

A step waits for a message of each port without which it makes no call, or for room: with the step after
it, or (the whole part, where outputs are held back) with the readers of what it wrote.
"""

from collections.abc import Sequence

from blueengine.runtime import frames
from blueengine.runtime.declare import Step
from blueengine.runtime.part import Part, State, StepRun
from blueengine.wire.plan import CLIENT
from blueengine.wire.spec import FORWARD


def rests(part: Part) -> bool:
    """Whether nothing is at work, so that only a message from elsewhere, or room here, helps."""
    if not part.live or part.state is not State.RUNNING or part.blocked:
        return False
    following = [*part.steps[1:], None]
    return all(
        run.idle or (run.held and after is not None and after.is_full)
        for run, after in zip(part.steps, following, strict=True)
    )


def awaited(part: Part, steps: Sequence[Step]) -> list[str]:
    """Return the nodes without which a part cannot go on; none when it can, or nobody knows."""
    if part.blocked and part.live and part.state is State.RUNNING:
        frame = part.blocked[0]
        if not isinstance(frame, frames.Out):
            return []
        routes = part.outputs[frame.port].routes
        return [r.node for r in routes if not r.closed and not r.has_room]
    if not rests(part):
        return []
    return sorted({sender for sender in _open_senders(part, steps) if sender != CLIENT})


def waits_for_end(part: Part, steps: Sequence[Step]) -> bool:
    """Whether nothing but the end of its own inputs helps a part that rests: an end_func comes then."""
    return rests(part) and not _open_senders(part, steps)


def is_over(part: Part, steps: Sequence[Step], index: int) -> bool:
    """Whether a step makes no call any more, but one of end_func."""
    run = part.steps[index]
    if not run.idle:
        return False
    gone = [_has_ended(part, steps, index, port) for port in _ports(run, steps[index])]
    return all(gone) if run.join.single else any(gone)


def missing(part: Part, steps: Sequence[Step]) -> list[str]:
    """Return the ports whose messages the idle steps of a part wait for, but for what is forwarded."""
    return [
        port
        for run, step in zip(part.steps, steps, strict=True)
        if run.idle
        for port in _ports(run, step)
        if port != FORWARD
    ]


def _ports(run: StepRun, step: Step) -> Sequence[str]:
    return step.input_channels if run.join.single else run.join.missing()


def _has_ended(part: Part, steps: Sequence[Step], index: int, port: str) -> bool:
    if port == FORWARD:
        before = part.steps[index - 1]
        its_end = steps[index - 1].end_func
        return is_over(part, steps, index - 1) and (its_end is None or before.at_end)
    return not _senders(part, port)


def _open_senders(part: Part, steps: Sequence[Step]) -> list[str]:
    return [sender for port in missing(part, steps) for sender in _senders(part, port)]


def _senders(part: Part, port: str) -> list[str]:
    """Return who may still write to a port."""
    channel = part.node.reads.get(port)
    return [
        sender
        for (name, sender), source in part.sources.items()
        if name == channel and not source.ended
    ]
