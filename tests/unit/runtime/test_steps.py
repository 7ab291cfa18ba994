"""Ways a step may work: again later, in batches, in threads."""

import os
import threading
import time
from typing import Any

import pytest

from blueengine import BlueEngine, Context, Fail, RetryLater
from blueengine.errors import DeclarationError
from blueengine.testing import running

CONFIG = {
    "ENGINE": {"ID": "e", "MAX_WORKER": 1, "CONCURRENCY": 8},
    "OUTPUTS": {"NAMES": ["Out"], "TYPES": ["JSON"]},
}

Inputs = dict[str, Any]


def an_engine(process: Any, **declared: Any) -> BlueEngine:
    engine = BlueEngine(CONFIG)
    engine.add_step(
        "work",
        process_func=process,
        input_channels=["Control"],
        output_channels=["Out"],
        **declared,
    )
    return engine


class Flaky:
    """Away for so many calls."""

    def __init__(self, away: int) -> None:
        self.away = away
        self.calls = 0

    def __call__(self, *_: Any) -> Any:
        self.calls += 1
        if self.calls <= self.away:
            raise RetryLater("the index is away", after=60, attempts=3)
        return {"Out": self.calls}


# -- RetryLater ------------------------------------------------------------------------------------


def test_a_call_is_made_again_later_and_those_behind_it_wait() -> None:
    with running(an_engine(Flaky(2))) as engine:
        outcome = engine.run(Control=["a", "b"])
    assert outcome.outputs["Out"] == [3, 4]
    assert outcome.calls == 2


def test_after_the_last_attempt_the_session_fails_with_the_reason() -> None:
    with running(an_engine(Flaky(9))) as engine:
        outcome = engine.begin().send("Control", 1).ended()
    assert outcome.code == "retries-exhausted"
    assert outcome.error == "the index is away (tried 3 times)"
    assert outcome.traceback == ""


def test_a_session_that_waits_holds_up_no_other_and_can_be_stopped() -> None:
    def process(context: Context, inputs: Inputs) -> Any:
        if context.labels.get("wait"):
            raise RetryLater("not yet", after=3600)
        return {"Out": inputs["Control"]}

    with running(an_engine(process), virtual_time=False) as engine:
        waits = engine.begin(labels={"wait": "yes"}).send("Control", 1, 2)
        assert engine.run(Control=[7]).outputs["Out"] == [7]
        assert waits.stop().ended().status == "stopped"


def test_start_func_may_try_again_too() -> None:
    start = Flaky(2)
    with running(an_engine(lambda c, _: {"Out": c.start_data}, start_func=start)) as engine:
        assert engine.run(Control=[1]).outputs["Out"] == [{"Out": 3}]
    with running(an_engine(lambda _, __: None, start_func=Flaky(9))) as engine:
        assert engine.begin().ended().error == "the index is away (tried 3 times)"


def test_a_stop_reaches_a_start_func_that_waits() -> None:
    def start(_: Context) -> None:
        raise RetryLater("not yet", after=3600)

    stopped: list[str] = []
    engine = an_engine(
        lambda _, __: None, start_func=start, stop_func=lambda c: stopped.append(c.session_id)
    )
    with running(engine, virtual_time=False) as run:
        assert run.begin().stop().ended().status == "stopped"
    assert stopped == []  # what did not start is not stopped


# -- batches ---------------------------------------------------------------------------------------


def double(contexts: list[Context], inputs: list[Inputs]) -> list[Any]:
    size = len(contexts)
    return [{"Out": [size, 2 * message["Control"]]} for message in inputs]


def test_messages_of_several_sessions_are_one_call() -> None:
    with running(an_engine(double, batch_size=3, batch_wait=3600), virtual_time=False) as engine:
        sessions = [engine.begin() for _ in range(3)]
        for number, session in enumerate(sessions):
            session.send("Control", number)
        assert [session.take("Out") for session in sessions] == [[3, 0], [3, 2], [3, 4]]
        assert [session.wait().status for session in sessions] == ["finished"] * 3


def test_a_lone_message_waits_no_longer_than_it_may() -> None:
    with running(an_engine(double, batch_size=100, batch_wait=0.01), virtual_time=False) as engine:
        assert engine.run(Control=[4]).outputs["Out"] == [[1, 8]]


def test_a_result_may_be_several_messages_nothing_or_an_error_of_its_session() -> None:
    def process(_: list[Context], inputs: list[Inputs]) -> list[Any]:
        table = {
            "two": [{"Out": 1}, {"Out": 2}],
            "none": None,
            "bad": Fail("this one is broken"),
            "odd": {"Elsewhere": 1},
        }
        return [table[message["Control"]] for message in inputs]

    with running(an_engine(process, batch_size=4, batch_wait=3600), virtual_time=False) as engine:
        sessions = {
            word: engine.begin().send("Control", word) for word in ("two", "none", "bad", "odd")
        }
        outcomes = {word: session.wait() for word, session in sessions.items()}
    assert outcomes["two"].outputs["Out"] == [1, 2]
    assert outcomes["none"].status == "finished"
    assert outcomes["bad"].error == "this one is broken"
    assert "Elsewhere" in outcomes["odd"].error


def test_an_exception_of_a_batch_fails_all_that_are_in_it() -> None:
    def process(_: list[Context], __: list[Inputs]) -> list[Any]:
        raise ValueError("out of memory")

    with running(an_engine(process, batch_size=2, batch_wait=3600), virtual_time=False) as engine:
        both = [engine.begin().send("Control", 1) for _ in range(2)]
        assert {session.ended().error for session in both} == {"ValueError: out of memory"}


def test_results_that_are_not_one_for_each_message_are_refused() -> None:
    with running(an_engine(lambda _, __: [], batch_size=2, batch_wait=0)) as engine:
        outcome = engine.begin().send("Control", 1).ended()
    assert "must return a list of 1 results" in outcome.error


def test_what_is_stopped_leaves_the_batch() -> None:
    with running(an_engine(double, batch_size=2, batch_wait=3600), virtual_time=False) as engine:
        stopped = engine.begin().send("Control", 1)
        assert stopped.stop().ended().status == "stopped"
        first = engine.begin().send("Control", 2)
        second = engine.begin().send("Control", 3)
        assert [first.take("Out"), second.take("Out")] == [[2, 4], [2, 6]]


def test_one_sessions_messages_keep_their_order_through_batches() -> None:
    with running(an_engine(double, batch_size=7, batch_wait=3600)) as engine:
        outputs = engine.begin().send("Control", *range(500)).wait().outputs["Out"]
    assert [value for _, value in outputs] == [2 * n for n in range(500)]
    assert max(size for size, _ in outputs) == 7


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"batch_size": 0}, "batch_size must be 1 or more"),
        ({"run_in": "fibre"}, "run_in is process, thread or inline, not 'fibre'"),
    ],
)
def test_wrong_options_are_named(declared: dict[str, Any], words: str) -> None:
    with pytest.raises(DeclarationError, match=words):
        an_engine(double, **declared)


def test_a_generator_cannot_be_batched() -> None:
    def process(contexts: Any, inputs: Any) -> Any:
        yield None

    with pytest.raises(DeclarationError, match="cannot be a generator"):
        an_engine(process, batch_size=2)


async def waits(_: Context, __: Inputs) -> Any:
    return None


async def yields(_: Context, __: Inputs) -> Any:
    yield None


async def prepares(_: Context) -> Any:
    return None


@pytest.mark.parametrize(
    ("process", "declared", "function"),
    [(waits, {}, "process_func"), (yields, {}, "process_func"),
     (double, {"start_func": prepares}, "start_func")],
)  # fmt: skip
def test_what_runs_inline_cannot_be_async(
    process: Any, declared: dict[str, Any], function: str
) -> None:
    with pytest.raises(DeclarationError, match=f"{function} is async, and what runs inline"):
        an_engine(process, run_in="inline", **declared)


# -- threads ---------------------------------------------------------------------------------------


def test_a_light_step_may_be_a_thread_of_the_parent() -> None:
    def process(_: Context, __: Inputs) -> Any:
        return {"Out": [os.getpid(), threading.current_thread().name]}

    with running(an_engine(process, run_in="thread"), virtual_time=False) as engine:
        assert engine.run(Control=[1]).outputs["Out"] == [[os.getpid(), "work"]]


def test_three_steps_overlap() -> None:
    """Three messages through three steps of 0.1 s take 0.5 s, not 0.9 s."""
    engine = BlueEngine(CONFIG)
    seen: list[tuple[str, float, float]] = []

    def work(name: str, port: str, out: str) -> Any:
        def process(_: Context, inputs: Inputs) -> Any:
            began = time.monotonic()
            time.sleep(0.1)
            seen.append((name, began, time.monotonic()))
            return {out: inputs[port]}

        return process

    engine.add_step("a", process_func=work("a", "Control", "forward"), input_channels=["Control"], output_channels=["forward"])  # fmt: skip
    engine.add_step("b", process_func=work("b", "forward", "forward"), input_channels=["forward"], output_channels=["forward"])  # fmt: skip
    engine.add_step("c", process_func=work("c", "forward", "Out"), input_channels=["forward"], output_channels=["Out"])  # fmt: skip
    with running(engine) as run:
        assert run.run(Control=[1, 2, 3]).outputs["Out"] == [1, 2, 3]
    together = [
        (one, other)
        for one, began, ended in seen
        for other, start, end in seen
        if one < other and start < ended and began < end
    ]
    assert {("a", "b"), ("b", "c"), ("a", "c")} <= set(together)
