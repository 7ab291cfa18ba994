"""Whom a part waits for, and when it waits for nobody but itself."""

from types import SimpleNamespace
from typing import Any

from blueengine.runtime import frames, waiting
from blueengine.runtime.declare import Step
from blueengine.runtime.join import Join
from blueengine.runtime.part import Call, Source, State, StepRun
from blueengine.wire.plan import CLIENT
from blueengine.wire.spec import FORWARD


def a_step(*reads: str, join: bool = False, **more: Any) -> Step:
    return Step(
        name="step",
        process_func=print,
        input_channels=reads,
        required_channels=reads if join else (),
        **more,
    )


class Given:
    """A running part of some steps; each port is linked to the channel of the same name."""

    def __init__(self, *steps: Step, senders: dict[str, str]) -> None:
        self.steps = steps
        worker: Any = SimpleNamespace()
        self.runs = [
            StepRun(index, worker, Join(step.required_channels, step.keep_channels))
            for index, step in enumerate(steps)
        ]
        self.sources = {(port, sender): Source() for port, sender in senders.items()}
        self.part: Any = SimpleNamespace(
            live=True,
            state=State.RUNNING,
            blocked=[],
            steps=self.runs,
            sources=self.sources,
            node=SimpleNamespace(reads={port: port for port in senders}),
        )

    def end(self, port: str) -> None:
        for (channel, _), source in self.sources.items():
            source.ended = source.ended or channel == port

    @property
    def awaited(self) -> list[str]:
        return waiting.awaited(self.part, self.steps)

    def is_over(self, index: int) -> bool:
        return waiting.is_over(self.part, self.steps, index)


def test_an_idle_part_waits_for_those_who_write_what_it_lacks() -> None:
    given = Given(a_step("A", "B", join=True), senders={"A": "left", "B": "right"})
    assert given.awaited == ["left", "right"]
    given.runs[0].join.offer("A", SimpleNamespace())  # type: ignore[arg-type]  # only counted
    assert given.awaited == ["right"]
    given.end("B")
    assert given.awaited == []
    assert given.is_over(0)


def test_a_part_at_work_waits_for_nobody() -> None:
    given = Given(a_step("A"), senders={"A": "left"})
    given.runs[0].in_flight.append(Call([], 0))
    assert given.awaited == []
    assert not given.is_over(0)
    assert not waiting.waits_for_end(given.part, given.steps)


def test_a_step_that_is_held_because_the_next_is_full_waits_for_what_that_one_lacks() -> None:
    given = Given(a_step("A"), a_step(FORWARD, "B", join=True), senders={"A": "left", "B": "right"})
    first, second = given.runs
    first.queue.append(Call([], 0))
    second.spools = {FORWARD: SimpleNamespace(is_full=True)}  # type: ignore[dict-item]  # a stand-in
    assert given.awaited == [], "it is about to go on"
    first.held = True
    second.join.offer(FORWARD, SimpleNamespace())  # type: ignore[arg-type]  # only counted
    assert given.awaited == ["right"]


def test_a_part_whose_client_may_send_more_waits_for_no_node() -> None:
    given = Given(a_step("A", "B", join=True), senders={"A": CLIENT, "B": "right"})
    given.end("B")
    assert given.awaited == []
    assert not waiting.waits_for_end(given.part, given.steps)


def test_what_only_an_end_func_can_forward_needs_the_end_of_all_inputs() -> None:
    given = Given(
        a_step("A", end_func=print),
        a_step(FORWARD, "B", join=True),
        senders={"A": "left", "B": "right"},
    )
    given.runs[1].join.offer("B", SimpleNamespace())  # type: ignore[arg-type]  # only counted
    assert given.awaited == ["left"]
    given.end("A")
    assert waiting.waits_for_end(given.part, given.steps)
    assert not given.is_over(1)
    given.runs[0].at_end = True
    assert given.is_over(1), "it has been called, and nothing was forwarded"


def test_outputs_that_are_held_back_wait_for_their_readers() -> None:
    given = Given(a_step("A"), senders={"A": "left"})
    routes = [
        SimpleNamespace(node=node, closed=closed, has_room=room)
        for node, closed, room in (
            ("full", False, False),
            ("gone", True, False),
            ("free", False, True),
        )
    ]
    given.part.outputs = {"Out": SimpleNamespace(routes=routes)}
    given.part.blocked = [frames.Out(1, "Out", [b""], b"", "", 0)]
    assert given.awaited == ["full"]
