"""What the tests of the engines share: a context without the SDK running, and the sample."""

import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from blueengine import File
from engines.pdf_to_image import steps as pdf_steps

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class FakeContext:
    """As much of a `blueengine.Context` as a step function touches."""

    init_data: Any = None
    start_data: Any = None
    cancelled: bool = False
    session_id: str = "session-process-workflow-0-0-test"
    logger: logging.Logger = field(default_factory=lambda: logging.getLogger("test.engines"))
    told: list[tuple[int, int, str]] = field(default_factory=list)

    def progress(self, done: int, total: int, message: str) -> None:
        self.told.append((done, total, message))


@pytest.fixture(autouse=True)
def _settings_of_the_developer_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PDF_SCALE", "PDF_MAX_PIXELS", "OCR_THREADS", "DETECT_MAX_SIDE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def context() -> FakeContext:
    return FakeContext()


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def truth() -> list[list[str]]:
    """The lines of the sample, page by page."""
    text = (ROOT / "samples" / "ocr-sample.txt").read_text(encoding="utf-8")
    return [block.splitlines() for block in text.strip().split("\n\n")]


@pytest.fixture
def sample(tmp_path: Path) -> File:
    """The sample PDF as a step sees it on a File channel."""
    path = shutil.copy(ROOT / "samples" / "ocr-sample.pdf", tmp_path)
    return File(path, name="ocr-sample.pdf", content_type="application/pdf")


@pytest.fixture
def pages(sample: File) -> Iterator[Any]:
    """The sample's pages as messages on an Image channel, drawn one by one when asked for."""
    context = FakeContext()
    context.init_data = pdf_steps.init(context)
    return (output["Image"] for output in pdf_steps.render(context, {"File": sample}))
