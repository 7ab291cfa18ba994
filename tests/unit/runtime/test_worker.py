"""What a worker does with the author's functions, frame by frame."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from blueengine import Context, Fail, File, Refuse
from blueengine.runtime import frames
from tests.unit.runtime.driven import driven, jsons

Inputs = dict[str, Any]


def plain(_: Context, inputs: Inputs) -> Any:
    return {"Out": inputs["Control"]}


def generator(_: Context, inputs: Inputs) -> Iterator[Any]:
    for number in range(inputs["Control"]):
        yield {"Out": number}


async def asynchronous(_: Context, inputs: Inputs) -> Any:
    await asyncio.sleep(0)
    return {"Out": inputs["Control"]}


async def async_generator(_: Context, inputs: Inputs) -> AsyncIterator[Any]:
    for number in range(inputs["Control"]):
        await asyncio.sleep(0)
        yield {"Out": number}


def returns_a_generator(context: Context, inputs: Inputs) -> Any:
    return generator(context, inputs)


async def awaits_a_generator(context: Context, inputs: Inputs) -> Any:
    return generator(context, inputs)


def nothing(_: Context, __: Inputs) -> None:
    return None


@pytest.mark.parametrize(
    ("function", "given", "written"),
    [
        (plain, 3, [3]),
        (generator, 3, [0, 1, 2]),
        (generator, 0, []),
        (asynchronous, 3, [3]),
        (async_generator, 3, [0, 1, 2]),
        (returns_a_generator, 2, [0, 1]),
        (awaits_a_generator, 2, [0, 1]),
        (nothing, 3, []),
    ],
)
def test_every_kind_of_function_writes_its_values_in_order(
    tmp_path: Path, function: Any, given: int, written: list[int]
) -> None:
    with driven(function, tmp_path) as worker:
        assert worker.values(given) == written
        assert worker.values(given) == written


def test_async_functions_share_one_event_loop(tmp_path: Path) -> None:
    async def init(_: Context) -> Any:
        return asyncio.get_running_loop()

    async def process(context: Context, _: Inputs) -> Any:
        return {"Out": context.init_data is asyncio.get_running_loop()}

    with driven(process, tmp_path, init_func=init) as worker:
        assert worker.values() == [True]


def test_the_context_carries_what_was_prepared(tmp_path: Path) -> None:
    def process(context: Context, _: Inputs) -> Any:
        facts = [context.init_data, context.start_data, context.session_id, context.node]
        return {"Out": [*facts, context.labels]}

    def start(context: Context) -> str:
        return f"start of {context.session_id} after {context.init_data}"

    with driven(process, tmp_path, init_func=lambda _: "model", start_func=start) as worker:
        assert worker.receive() == frames.Began(1, "", "", "")
        assert worker.values() == [["model", "start of s1 after model", "s1", "n", {"a": "b"}]]


def test_an_init_func_that_raises_is_told_and_ends_the_worker(tmp_path: Path) -> None:
    def init(_: Context) -> None:
        raise OSError("no model")

    with driven(plain, tmp_path, begun=False, init_func=init) as worker:
        told = worker.receive()
        assert isinstance(told, frames.Inited)
        assert told.error == "OSError: no model"
        assert "in init" in told.traceback


@pytest.mark.parametrize(
    ("raised", "refused", "error"),
    [
        (Refuse("full"), "full", ""),
        (Refuse(), "the engine refused the session", ""),
        (Fail("bad label"), "", "bad label"),
        (KeyError("x"), "", "KeyError: 'x'"),
    ],
)
def test_a_start_func_may_refuse_or_fail(
    tmp_path: Path, raised: Exception, refused: str, error: str
) -> None:
    def start(_: Context) -> None:
        raise raised

    with driven(plain, tmp_path, start_func=start, stop_func=lambda _: 1 / 0) as worker:
        began = worker.receive()
        assert isinstance(began, frames.Began)
        assert (began.refused, began.error) == (refused, error)
        # what did not start is not stopped, and a call of it is answered without being made
        worker.send(frames.Leave(1))
        assert worker.receive() == frames.Left(1, "", "")
        written, done = worker.call(1)
        assert (written, done.error) == ([], "")


def _deep() -> None:
    raise ValueError("seven")


async def _async_deep() -> None:
    await asyncio.sleep(0)
    _deep()


def raises(_: Context, __: Inputs) -> Any:
    _deep()


def raises_late(_: Context, __: Inputs) -> Any:
    yield {"Out": 1}
    _deep()


async def raises_async(_: Context, __: Inputs) -> Any:
    await _async_deep()


async def raises_async_late(_: Context, __: Inputs) -> Any:
    yield {"Out": 1}
    await _async_deep()


@pytest.mark.parametrize("function", [raises, raises_late, raises_async, raises_async_late])
def test_an_exception_is_told_with_the_authors_frames_only(tmp_path: Path, function: Any) -> None:
    with driven(function, tmp_path) as worker:
        _, done = worker.call(1)
        assert (done.error, done.code) == ("ValueError: seven", "engine-exception")
        frames_told = [line for line in done.traceback.splitlines() if "File" in line]
        assert frames_told
        assert [line for line in frames_told if __file__ not in line] == []
        assert f"in {function.__name__}" in frames_told[0]
        assert worker.call(1)[1].error == "ValueError: seven"  # and it works on


def test_the_cause_of_an_exception_is_told_too(tmp_path: Path) -> None:
    def process(_: Context, __: Inputs) -> Any:
        try:
            _deep()
        except ValueError as exc:
            raise RuntimeError("no page") from exc

    with driven(process, tmp_path) as worker:
        _, done = worker.call(1)
        assert done.error == "RuntimeError: no page"
        assert "in _deep" in done.traceback
        assert "direct cause" in done.traceback


def test_an_exception_that_cannot_be_shown_or_is_very_long_is_told_all_the_same(
    tmp_path: Path,
) -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("mute")

    def process(_: Context, inputs: dict[str, Any]) -> Any:
        raise MuteError if inputs["Control"] == "mute" else ValueError("x" * 1_000_000)

    with driven(process, tmp_path) as worker:
        _, done = worker.call("mute")
        assert done.error == "MuteError: <its message cannot be shown>"
        _, done = worker.call("long")
        assert done.error.startswith("ValueError: xxx")
        assert len(done.error) < 5_000
        assert len(done.traceback) < 50_000


def test_fail_is_told_without_a_traceback(tmp_path: Path) -> None:
    def process(_: Context, __: Inputs) -> Any:
        raise Fail("blank page")

    with driven(process, tmp_path) as worker:
        _, done = worker.call(1)
        assert (done.error, done.code, done.traceback) == ("blank page", "failed", "")


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ([("Out", 1)], ["'step'", "{channel: value}", "not list"]),
        ("Out", ["{channel: value}", "not str"]),
        ({"Uot": 1}, ["'step'", "'Uot'", "Out, Text, Data"]),
        ({"Out": object()}, ["channel 'Out'", "no JSON"]),
        ({"Text": 7}, ["channel 'Text'", "takes str, not int"]),
        ({"Data": "x"}, ["channel 'Data'", "takes bytes, not str"]),
        ({"Status": "finish"}, ['{"type": "…", …}']),
        ({"Status": {"type": 1}}, ['{"type": "…", …}']),
    ],
)
def test_a_wrong_output_is_named(tmp_path: Path, output: Any, words: list[str]) -> None:
    with driven(lambda _, __: output, tmp_path) as worker:
        _, done = worker.call(1)
        assert (done.code, done.traceback) == ("wrong-type", "")
        assert [word for word in words if word not in done.error] == []


def test_a_wrong_input_is_named(tmp_path: Path) -> None:
    with driven(plain, tmp_path) as worker:
        _, done = worker.call(b"{")
        assert done.code == "wrong-type"
        assert "no JSON" in done.error


def test_status_messages_are_said_in_order_with_the_outputs(tmp_path: Path) -> None:
    def process(context: Context, _: Inputs) -> Any:
        context.progress(np.float32(1), 2, "half")
        yield {"Status": {"type": "warm", "at": np.int64(7)}, "Out": 1}
        context.status("custom", path=Path("/x"))

    with driven(process, tmp_path) as worker:
        written, done = worker.call(1)
        assert done.error == ""
        told = [
            (f.kind, orjson.loads(f.body)) if isinstance(f, frames.Say) else "out" for f in written
        ]
        assert told == [
            ("progress", {"type": "progress", "done": 1.0, "total": 2, "message": "half"}),
            "out",
            ("warm", {"type": "warm", "at": 7}),
            ("custom", {"type": "custom", "path": "/x"}),
        ]


@pytest.mark.parametrize("kind", ["finish", "error"])
def test_nothing_is_called_after_finish_or_error(tmp_path: Path, kind: str) -> None:
    calls = []

    def process(_: Context, inputs: Inputs) -> Any:
        calls.append(inputs["Control"])
        yield {"Status": {"type": kind}}
        calls.append("went on")

    with driven(process, tmp_path) as worker:
        for number in range(3):
            worker.work(number)
        worker.until_done(3)
        assert calls == [0]


def test_a_session_may_be_cancelled_between_two_values(tmp_path: Path) -> None:
    closed = threading.Event()

    def process(context: Context, _: Inputs) -> Any:
        try:
            while not context.cancelled:
                yield {"Out": 1}
                worker.flags.raise_(1)
        finally:
            closed.set()

    with driven(process, tmp_path) as worker:
        assert worker.values() == [1]
        assert closed.is_set()
        assert worker.values() == []  # no call is made any more


def test_a_held_generator_stops_half_way_and_others_go_on(tmp_path: Path) -> None:
    with driven(generator, tmp_path) as worker:
        worker.begin(2)
        worker.flags.hold(1, 0, True)
        worker.work(3, no=1)
        worker.work(1, no=1)
        assert worker.values(2, no=2) == [0, 1]
        # one value at a time while it stays held
        worker.flags.hold(1, 0, False)
        worker.send(frames.Resume(1))
        assert jsons(worker.until_done(2)[0]) == [0, 1, 2, 0]


def test_a_value_that_was_written_when_it_was_held_is_not_lost(tmp_path: Path) -> None:
    def process(_: Context, __: Inputs) -> Any:
        for number in range(4):
            if number == 2:
                worker.flags.hold(1, 0, True)
            yield {"Out": number}

    with driven(process, tmp_path) as worker:
        worker.begin(2)
        worker.work(None)
        # another session's call is answered in between
        worker.work(None, no=2)
        written, done = worker.until_done()
        assert jsons([f for f in written if f.no == 1]) == [0, 1, 2]  # type: ignore[union-attr]
        assert done.no == 2
        worker.flags.hold(1, 0, False)
        worker.send(frames.Resume(1))
        written, done = worker.until_done()
        assert jsons(written) == [3]
        assert done.no == 1


def test_a_run_is_a_call_for_each_of_its_messages(tmp_path: Path) -> None:
    with driven(plain, tmp_path) as worker:
        worker.run(1, 2, 3)
        written, done = worker.until_done(3)
        assert jsons(written) == [1, 2, 3]
        assert done.error == ""


def test_what_a_run_writes_comes_in_few_frames(tmp_path: Path) -> None:
    with driven(plain, tmp_path) as worker:
        worker.run(*range(1000))
        got, done = worker.until_done(1000)
        assert jsons(got) == list(range(1000))
        assert len(got) < 500
        assert done.error == ""


def test_a_run_ends_at_the_call_that_fails_and_what_came_before_is_told(tmp_path: Path) -> None:
    def process(_: Context, inputs: Inputs) -> Any:
        return {"Out": 1 // inputs["Control"]}

    with driven(process, tmp_path) as worker:
        worker.run(1, 1, 0, 1)
        written, done = worker.until_done(3)
        assert jsons(written) == [1, 1]
        assert (done.calls, done.code) == (1, "engine-exception")


def test_a_run_stops_half_way_when_its_session_is_held(tmp_path: Path) -> None:
    def process(_: Context, inputs: Inputs) -> Any:
        worker.flags.hold(1, 0, inputs["Control"] == 2)
        return {"Out": inputs["Control"]}

    with driven(process, tmp_path) as worker:
        worker.begin(2)
        worker.run(1, 2, 3, 4)
        assert jsons(worker.until_done(2)[0]) == [1, 2]
        assert worker.values(0, no=2) == [0]
        worker.flags.hold(1, 0, False)
        worker.send(frames.Resume(1))
        assert jsons(worker.until_done(2)[0]) == [3, 4]


def test_runs_of_two_ports_are_told_apart(tmp_path: Path) -> None:
    def process(_: Context, inputs: Inputs) -> Any:
        return {"Out": inputs["Control"], "Text": str(inputs["Control"])}

    with driven(process, tmp_path) as worker:
        worker.run(1, 2)
        written, _ = worker.until_done(2)
        outs = [f for f in written if isinstance(f, frames.Out)]
        assert [p for f in outs if f.port == "Out" for p in f.payloads] == [b"1", b"2"]
        assert [p for f in outs if f.port == "Text" for p in f.payloads] == [b"1", b"2"]


@pytest.mark.parametrize("function", [generator, async_generator])
def test_a_held_session_that_is_over_answers_every_call(tmp_path: Path, function: Any) -> None:
    stopped = []
    with driven(function, tmp_path, stop_func=lambda c: stopped.append(c.session_id)) as worker:
        worker.flags.hold(1, 0, True)
        for _ in range(3):
            worker.work(5)
        worker.send(frames.Leave(1))
        assert worker.until_done(3)[0] == []
        assert isinstance(worker.receive(), frames.Left)
        assert stopped == ["s1"]


def test_a_first_value_does_not_wait_for_the_code_behind_it(tmp_path: Path) -> None:
    """Outputs share writes, but not at the price of waiting for a slow call."""
    go_on = threading.Event()

    def process(_: Context, __: Inputs) -> Any:
        for number in range(5):
            yield {"Out": number}
        go_on.wait(10)
        yield {"Out": 5}

    with driven(process, tmp_path) as worker:
        worker.work(None)
        got: list[Any] = []
        while len(got) < 5:
            got += jsons([worker.receive()])
        assert got == [0, 1, 2, 3, 4]
        assert not go_on.is_set()
        go_on.set()
        assert len(worker.until_done()[0]) == 1


@pytest.mark.parametrize("together", [True, False])
def test_what_a_call_wrote_does_not_wait_for_the_next_call(tmp_path: Path, together: bool) -> None:
    go_on = threading.Event()

    def process(_: Context, inputs: Inputs) -> Any:
        if inputs["Control"] == "wait":
            go_on.wait(10)
        return {"Out": inputs["Control"]}

    with driven(process, tmp_path) as worker:
        if together:
            worker.run("at once", "wait")
        else:
            worker.work("at once")
            worker.work("wait")
        assert jsons([worker.receive()]) == ["at once"]
        assert not go_on.is_set()
        go_on.set()
        worker.until_done(2)


def test_a_stop_func_that_raises_is_told(tmp_path: Path) -> None:
    def stop(_: Context) -> None:
        raise OSError("stuck")

    with driven(plain, tmp_path, stop_func=stop) as worker:
        worker.send(frames.Leave(1))
        logged, left = worker.receive(), worker.receive()
        assert isinstance(logged, frames.Logged)
        assert "in stop" in logged.text
        assert isinstance(left, frames.Left)
        assert left.error == "OSError: stuck"
        assert "in stop" in left.traceback


def test_terminate_func_runs_at_the_end(tmp_path: Path) -> None:
    ended = []
    with driven(plain, tmp_path, terminate_func=lambda c: ended.append(c.init_data)) as worker:
        worker.send(frames.Quit())
    assert ended == [None]


def test_a_terminate_func_that_raises_is_logged_and_the_worker_ends_in_order(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def terminate(_: Context) -> None:
        raise OSError("no way out")

    with driven(plain, tmp_path, terminate_func=terminate) as worker:
        worker.send(frames.Quit())
    assert "terminate_func of step 'step' failed" in caplog.text
    assert "no way out" in caplog.text
    assert "child.py" not in caplog.messages[0]


def test_large_values_go_by_a_file_and_small_ones_inline(tmp_path: Path) -> None:
    def process(_: Context, inputs: Inputs) -> Any:
        return {"Data": bytes(inputs["Control"])}

    with driven(process, tmp_path) as worker:
        worker.begin(2, outbox=True)
        for size, by_file in ((64 * 1024, False), (64 * 1024 + 1, True)):
            [out], _ = worker.call(size, no=2)
            assert isinstance(out, frames.Out)
            assert (bool(out.file), out.size, len(out.payloads[0])) == (
                by_file, size, 0 if by_file else size,
            )  # fmt: skip
            if by_file:
                assert Path(out.file).read_bytes() == bytes(size)
        # without a blob store everything is inline
        [out], _ = worker.call(100_000, no=1)
        assert isinstance(out, frames.Out)
        assert (out.file, len(out.payloads[0])) == ("", 100_000)


def test_files_that_came_inline_do_not_overwrite_each_other(tmp_path: Path) -> None:
    def process(_: Context, inputs: Inputs) -> Any:
        file: File = inputs["Doc"]
        return {"Out": [str(file.path), file.path.read_text()]}

    with driven(process, tmp_path) as worker:
        got = [worker.values(text.encode(), port="Doc")[0] for text in ("one", "two", "three")]
        assert [text for _, text in got] == ["one", "two", "three"]
        assert len({path for path, _ in got}) == 3


def test_the_worker_ends_when_its_parent_is_gone(tmp_path: Path) -> None:
    with driven(generator, tmp_path) as worker:
        worker.work(10**9)
        worker.receive()
    # leaving the block closes the parent's end and joins the worker
