"""``blueengine demo``: a real session on a platform of its own, from nothing to nothing."""

import asyncio
import contextlib
import difflib
import itertools
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import apps
from apps.local import catalogue, timeline
from apps.local.data_folder import DataFolder
from apps.local.platform import Options, running
from apps.local.redis_server import free_port
from blueengine.cli import output, progress
from blueengine.client import AsyncClient, Outcome, load
from blueengine.client.answers import Detail
from blueengine.errors import BlueEngineError

RIGHT_SHARE: Final = 0.95
"""At least so many of the lines must be read without a fault."""
LOG_LINES: Final = 5


class DemoError(BlueEngineError):
    """The demo did not go as it must."""

    code = "demo-failed"


class Demo:
    """One run of the demo."""

    def __init__(self, *, keep: bool) -> None:
        """Make the folder for its data; ``keep``: it stays afterwards."""
        self._keep = keep
        self._folder = Path(tempfile.mkdtemp(prefix="blueengine-demo-"))
        self._console = output.console()

    def remove(self) -> None:
        """Remove the data."""
        if self._keep:
            self._say(f"Data and logs are in {self._folder}")
        else:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def run(self, *, limit: float) -> int:
        """Run it; the exit code.

        Raises:
            BlueEngineError: What went wrong, in one line.
        """
        try:
            async with asyncio.timeout(limit):
                return await self._run()
        except TimeoutError:
            self._show_logs()
            raise DemoError(
                f"the demo did not end within {limit:g} s; try again with a longer --timeout"
            ) from None
        except BlueEngineError:
            self._show_logs()
            raise
        finally:
            self.remove()

    async def _run(self) -> int:
        pdf, truth, workflow = _sample_files()
        job = load(workflow)
        options = Options(
            data=DataFolder(self._folder),
            port=free_port(),
            engines=catalogue.find("", os.environ),
            most=1,
            cooldown=3600.0,
        )
        clock = asyncio.get_running_loop().time
        began = clock()
        self._say("Starting the platform: Redis, gateway, management …")
        async with running(options, notice=self._notice):
            self._say(
                f"It is up at {options.url} after {clock() - began:.1f} s; no engine runs yet."
            )
            self._say(f"Submitting {workflow.name} with {pdf.name}.")
            async with AsyncClient(options.url) as client:
                session = await client.submit(job, {"Document": pdf})
                board = progress.Board(list(job.nodes))
                await progress.show(board, session.events(), self._console)
                outcome = await session.wait()
                detail = await session.detail()
            right = self._report(outcome, detail, truth)
            self._say("Stopping the platform …")
        self._say("Everything is stopped." + (" All is well." if right else ""))
        return 0 if right else 1

    # -- what is shown ----------------------------------------------------------------------------

    def _say(self, text: str = "") -> None:
        self._console.print(text, markup=False)

    def _notice(self, text: str) -> None:
        """Show news of processes; while a table is live it goes above it."""
        self._say(f"  {text}")

    def _report(
        self,
        outcome: Outcome,
        detail: Detail,
        truth: Path,
    ) -> bool:
        """Show what came out; whether it is what it must be."""
        if outcome.status != "finished":
            error = outcome.process.error
            raise DemoError(
                f"the session {outcome.status}: {error.message if error else 'no reason'}"
            )
        pages = outcome.results.get("Text", [])
        for page in pages:
            self._say(f"\n--- page {page['page']} " + "-" * 60)
            self._say(_aligned(page["text"]))
        self._say()
        self._show_times(detail)
        return self._check(pages, truth)

    def _show_times(self, detail: Detail) -> None:
        times = detail.durations
        self._say("What happened when:")
        for name, value, words in (
            ("queued", times.queued_ms, "until all three engines had started and were picked"),
            ("ready", times.ready_ms, "until all had said that they are ready"),
            ("first result", times.first_result_ms, "until the text of page 1 was stored"),
            ("run", times.run_ms, "from ready to finished"),
            ("total", times.total_ms, ""),
        ):
            self._say(f"  {name:13}{output.milliseconds(value):>9}  {words}")
        self._say()
        for part in detail.sub_sessions:
            calls = f"{part.calls} call{'s' * (part.calls != 1)}"
            self._say(f"  {part.name:13}{output.milliseconds(part.busy_ms):>9}  in {calls}")
        spans: dict[str, Sequence[timeline.Span]] = {
            part.name: part.spans for part in detail.sub_sessions
        }
        if rows := timeline.gantt(spans):
            self._say("\nWho worked when (the number is the page):")
            for row in rows:
                self._say(f"  {row}")
            found, read, shared = timeline.overlap(
                spans.get("detect_text", ()), spans.get("ocr", ())
            )
            if shared:
                self._say(
                    f"  While ocr read page {read}, detect_text was on page {found} already: "
                    f"{shared / 1000:.0f} ms side by side."
                )
        self._say()

    def _check(self, pages: Sequence[Mapping[str, Any]], truth: Path) -> bool:
        wanted = [
            page.split("\n") for page in truth.read_text(encoding="utf-8").strip().split("\n\n")
        ]
        got = [str(page["text"]).split("\n") for page in pages]
        right = 0
        for number, lines in enumerate(wanted):
            read = got[number] if number < len(got) else []
            same = difflib.SequenceMatcher(a=lines, b=read, autojunk=False).get_opcodes()
            for word, begin, end, read_begin, read_end in same:
                if word == "equal":
                    right += end - begin
                else:
                    self._say(
                        f"  page {number + 1}: wanted {lines[begin:end]}, read {read[read_begin:read_end]}"
                    )
        total = sum(map(len, wanted))
        self._say(f"Checked against {truth.name}: {right} of {total} lines are right.")
        return len(got) == len(wanted) and right >= RIGHT_SHARE * total

    def _show_logs(self) -> None:
        """Show the end of each log, for the folder goes."""
        for path in sorted((self._folder / "logs").glob("*.log")):
            with contextlib.suppress(OSError):
                lines = path.read_text(errors="replace").splitlines()[-LOG_LINES:]
                self._say(f"--- {path.name}")
                for line in lines:
                    self._say(f"  {line}")


def _aligned(text: str) -> str:
    """Return a page with the cells of each table below each other."""
    lines: list[str] = []
    for has_cells, group in itertools.groupby(text.split("\n"), key=lambda line: "\t" in line):
        if not has_cells:
            lines += group
            continue
        rows = [line.split("\t") for line in group]
        widths = [max(map(len, cells)) for cells in itertools.zip_longest(*rows, fillvalue="")]
        for row in rows:
            cells = zip(row, widths, strict=False)  # a row may have fewer cells
            lines.append("  ".join(cell.ljust(width) for cell, width in cells).rstrip())
    return "\n".join(lines)


def _sample_files() -> tuple[Path, Path, Path]:
    """Return the document, its text and the workflow.

    Raises:
        DemoError: They are not here.
    """
    checkout = Path(apps.__file__).parent.parent
    for root in (checkout, Path.cwd()):
        files = (
            root / "samples" / "ocr-sample.pdf",
            root / "samples" / "ocr-sample.txt",
            root / "workflows" / "ocr.yml",
        )
        if all(path.is_file() for path in files):
            return files
    raise DemoError(
        "the demo needs samples/ and workflows/ of the repository; run it in a checkout: make demo"
    )
