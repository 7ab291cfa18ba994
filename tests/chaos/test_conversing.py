"""What a client on a WebSocket makes of what it is shown, however often it has to come back."""

from typing import Any

import pytest

from tests.chaos.conversing import BrokenOffError, Shown

PUSHES = [{"n": 0}, {"n": 1}]


def ack(sequence: int, *, ended: bool = False, repeated: bool = False) -> dict[str, Any]:
    return {"type": "ack", "sequence": sequence, "ended": ended, "repeated": repeated}


def error(status: int, kind: str) -> dict[str, Any]:
    return {"type": "error", "status": status, "errors": [{"type": kind}]}


def result(index: int, value: Any) -> dict[str, Any]:
    return {"type": "result", "index": index, "value": value}


def test_it_pushes_each_message_once_and_then_the_end() -> None:
    shown = Shown(PUSHES)
    frames = [shown.next(ahead) for ahead in range(4)]
    assert [frame and (frame["type"], frame.get("sequence")) for frame in frames] == [
        ("push", 0),
        ("push", 1),
        ("end", None),
        None,
    ]
    shown.take(ack(0))
    assert shown.next(0) == frames[1]
    shown.take(ack(1, repeated=True))
    shown.take(ack(2, ended=True))
    assert (shown.pushed, shown.again, shown.next(0), shown.findings) == (2, 1, None, [])


def test_an_answer_to_another_message_is_a_finding() -> None:
    shown = Shown(PUSHES)
    shown.take(ack(1))
    assert shown.findings


def test_a_session_that_has_ended_takes_no_more() -> None:
    shown = Shown(PUSHES)
    shown.take(error(409, "session-ended"))
    assert (shown.next(0), shown.findings) == (None, [])


@pytest.mark.parametrize(("status", "found"), [(503, False), (429, False), (500, True)])
def test_it_comes_back_after_an_error(status: int, found: bool) -> None:
    shown = Shown(PUSHES)
    with pytest.raises(BrokenOffError):
        shown.take(error(status, "away"))
    assert bool(shown.findings) == found
    assert shown.next(0) is not None


def test_a_result_may_come_again_and_nothing_else() -> None:
    shown = Shown(PUSHES)
    for frame in (result(0, "a"), result(1, "b"), result(0, "a")):
        shown.take(frame)
    assert shown.findings == []
    assert shown.complaint(["a", "b"], whole=True) == ""
    assert shown.complaint(["a", "b", "c"], whole=False) == ""
    assert shown.complaint(["a", "b", "c"], whole=True)
    shown.take(result(1, "x"))
    shown.take(result(5, "y"))
    assert len(shown.findings) == 2


def test_the_end_of_the_session_is_the_end() -> None:
    shown = Shown(PUSHES)
    shown.take({"type": "event", "id": "1-0", "event": "part", "data": {"status": "finished"}})
    assert (shown.over, shown.after) == (False, "1-0")
    shown.take({"type": "event", "id": "2-0", "event": "status", "data": {"status": "finished"}})
    assert (shown.over, shown.after) == (True, "2-0")
