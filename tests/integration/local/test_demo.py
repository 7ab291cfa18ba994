"""``blueengine demo``: the whole thing once, and nothing left of it."""

from pathlib import Path

import pytest

from tests.integration.local.platform_kit import run

pytestmark = pytest.mark.timeout(240)


def test_the_demo_reads_the_document_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = run("demo", seconds=200, TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "63 of 63 lines are right" in done.stdout
    assert "detect_text was on page" in done.stdout
    assert done.stdout.rstrip().endswith("Everything is stopped. All is well.")
    assert list(tmp_path.iterdir()) == []


def test_a_demo_that_takes_too_long_is_ended_with_a_reason(tmp_path: Path) -> None:
    done = run("demo", "--timeout", "2", TMPDIR=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == (
        "error: the demo did not end within 2 s; try again with a longer --timeout\n"
    )
    assert list(tmp_path.iterdir()) == []
