"""The main job over REST: a PDF becomes text, and what is no PDF a clear error."""

from pathlib import Path

import pytest
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas

from blueengine.client import AsyncClient, Outcome, load
from blueengine.client.answers import Detail
from tests.integration.local.platform_kit import Up
from tests.kit.wait import until

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "samples" / "ocr-sample.pdf"
TRUTH = ROOT / "samples" / "ocr-sample.txt"
PAGES = 4

pytestmark = [pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="function")]


async def read(client: AsyncClient, pdf: Path) -> tuple[Outcome, Detail]:
    """Run the OCR workflow on a file; its outcome and all that is known of it."""
    session = await client.submit(load(ROOT / "workflows" / "ocr.yml"), {"Document": pdf})
    return await session.wait(), await session.detail()


async def slots_are_free(client: AsyncClient) -> bool:
    """Whether no engine is in use any more."""
    return all(engine.used_slots == 0 for engine in await client.engines())


async def test_every_printed_line_of_the_sample_is_right_and_no_page_is_read_twice(
    client: AsyncClient, platform: Up
) -> None:
    outcome, detail = await read(client, SAMPLE)
    assert outcome.status == "finished", outcome.process.error
    texts = outcome.results["Text"]
    assert [page["page"] for page in texts] == [1, 2, 3, 4]
    assert "\n\n".join(page["text"] for page in texts) + "\n" == TRUTH.read_text()
    parts = {part.engine: part for part in detail.sub_sessions}
    assert parts["pdf_to_image"].messages_out == PAGES
    assert parts["detect_text"].calls == parts["ocr"].calls == PAGES

    # the detector is at page 2 while the recogniser reads page 1
    (read_at, read_for), (found_at, found_for) = (
        parts["ocr"].spans[0],
        parts["detect_text"].spans[1],
    )
    assert max(read_at, found_at) < min(read_at + read_for, found_at + found_for)

    await until(lambda: slots_are_free(client), 10)
    left = [p for p in (platform.data / "blobs" / "sessions").rglob("*") if p.is_file()]
    assert left == []  # page images went when they were read


async def test_a_file_that_is_no_pdf_fails_with_its_name_and_what_to_do(
    client: AsyncClient, tmp_path: Path
) -> None:
    path = tmp_path / "letter.pdf"
    path.write_text("Dear Sir or Madam")
    outcome, _ = await read(client, path)
    assert outcome.status == "failed"
    assert outcome.process.error
    assert "letter.pdf" in outcome.process.error.message
    assert outcome.process.error.engine == "pdf_to_image"
    assert outcome.process.error.traceback == ""
    await until(lambda: slots_are_free(client), 10)


async def test_an_empty_file_fails_and_says_that_it_is_empty(
    client: AsyncClient, tmp_path: Path
) -> None:
    path = tmp_path / "nothing.pdf"
    path.touch()
    outcome, _ = await read(client, path)
    assert outcome.status == "failed"
    assert outcome.process.error
    assert "nothing.pdf" in outcome.process.error.message
    assert "empty" in outcome.process.error.message


async def test_an_encrypted_pdf_fails_and_asks_for_one_without_a_password(
    client: AsyncClient, tmp_path: Path
) -> None:
    path = tmp_path / "secret.pdf"
    canvas = Canvas(str(path), encrypt=StandardEncryption("let me in"))
    canvas.drawString(100, 700, "secret")
    canvas.save()
    outcome, detail = await read(client, path)
    assert outcome.status == "failed"
    assert outcome.process.error
    assert "password" in outcome.process.error.message
    assert {part.status for part in detail.sub_sessions} <= {"failed", "canceled", "stopping"}
    await until(lambda: slots_are_free(client), 10)
