"""What the author's code logs: shown by the process as ever, and handed on for the session."""

import logging

import pytest

from blueengine.runtime.logger import BURST, LARGEST, SessionLogger


class Kept:
    def __init__(self) -> None:
        self.lines: list[tuple[int, str]] = []
        self.logger = SessionLogger(
            {"session": "s1"}, lambda _at, level, text: self.lines.append((level, text))
        )


@pytest.fixture
def kept(caplog: pytest.LogCaptureFixture) -> Kept:
    caplog.set_level("INFO")
    return Kept()


def test_a_line_goes_both_ways(kept: Kept, caplog: pytest.LogCaptureFixture) -> None:
    kept.logger.info("page %d of %d", 1, 3)
    kept.logger.debug("not at this level")
    assert kept.lines == [(logging.INFO, "page 1 of 3")]
    (record,) = caplog.records
    assert record.getMessage() == "page 1 of 3"
    assert vars(record)["session"] == "s1"
    assert record.filename == "test_logger.py"


def test_an_exception_brings_its_traceback(kept: Kept) -> None:
    try:
        raise ValueError("no page")  # noqa: TRY301 - as the code of an author does
    except ValueError:
        kept.logger.exception("cannot read")
    ((level, text),) = kept.lines
    assert level == logging.ERROR
    assert text.startswith("cannot read\nTraceback")
    assert text.endswith("ValueError: no page")


def test_a_long_line_is_cut_and_a_login_is_not_shown(kept: Kept) -> None:
    kept.logger.warning("x" * 10_000)
    kept.logger.info("at redis://me:secret@host/0")
    assert len(kept.lines[0][1]) == LARGEST + 1
    assert "secret" not in kept.lines[1][1]


def test_a_flood_is_cut_off_and_counted(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("blueengine.runtime.logger.time.monotonic", lambda: now)
    kept = Kept()
    for number in range(1000):
        kept.logger.info("line %d", number)
    assert len(kept.lines) == BURST
    now += 1.0
    kept.logger.info("after a while")
    assert kept.lines[-1][1] == "after a while (800 lines before this one are not shown here)"
