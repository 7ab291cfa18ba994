"""What is said of a session's events."""

import io
from typing import Any

import pytest
from rich.console import Console

from blueengine.cli import progress
from blueengine.client.answers import Event


def event(kind: str, /, **data: Any) -> Event:
    return Event(name=kind, data=data)


@pytest.fixture
def board() -> progress.Board:
    return progress.Board(["detect", "ocr"], clock=lambda: 0.0)


@pytest.mark.parametrize(
    ("happened", "said"),
    [
        (event("status", status="queuing"), "session queuing"),
        (event("part", name="ocr", status="finished"), "ocr finished"),
        (event("results", name="ocr", channel="Text", count=1), "Text: 1 result"),
        (event("results", name="ocr", channel="Text", count=2), "Text: 2 results"),
        (
            event("progress", name="ocr", body={"done": 1, "total": 4, "message": "page 1"}),
            "ocr 1/4 page 1",
        ),
        (event("progress", name="ocr", body={"done": 7}), "ocr 7"),
        (event("progress", name="ocr", body=None), ""),
        (event("finish", name="ocr"), ""),
        (event("model.loaded", name="ocr"), "ocr: model.loaded"),
    ],
)
def test_each_event_has_its_line(board: progress.Board, happened: Event, said: str) -> None:
    assert board.feed(happened) == said


def test_the_board_shows_where_each_engine_is(board: progress.Board) -> None:
    for happened in (
        event("status", status="processing"),
        event("progress", name="detect", body={"done": 1, "total": 4, "message": "page 1 of 4"}),
        event("part", name="detect", status="finished"),
        event("results", channel="Text", count=3),
    ):
        board.feed(happened)
    out = io.StringIO()
    Console(file=out, width=100).print(board.table())
    detect, ocr, session = out.getvalue().splitlines()
    assert "finished" in detect
    assert "page 1 of 4" in detect
    assert "works" in ocr
    assert "results: Text 3" in session


def test_a_session_that_is_queued_again_begins_anew(board: progress.Board) -> None:
    board.feed(event("status", status="processing"))
    board.feed(event("progress", name="ocr", body={"done": 3, "total": 4}))
    board.feed(event("part", name="ocr", status="failed"))
    board.feed(event("status", status="pending"))
    assert board.rows["ocr"].done == 0
    assert board.rows["ocr"].status == "waits for a slot"


async def test_a_pipe_gets_a_line_an_event(board: progress.Board) -> None:
    async def events() -> Any:
        yield event("status", status="pending")
        yield event("finish", name="ocr")
        yield event("status", status="finished")

    out = io.StringIO()
    await progress.show(board, events(), Console(file=out, width=100))
    assert out.getvalue().splitlines() == [
        "   0.00 s  session pending",
        "   0.00 s  session finished",
    ]
