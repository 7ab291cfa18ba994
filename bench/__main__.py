"""Run the benchmarks: ``python -m bench [--quick] [--only sessions,streaming] [--json FILE]``."""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench import (
    claims,
    door,
    drive,
    files,
    kafka,
    recovery,
    report,
    scale,
    sdk,
    sessions,
    streaming,
    trips,
)
from bench.errors import BenchError
from bench.measure import Section
from bench.stack import Stack, running
from blueengine.errors import BlueEngineError
from blueengine.kit import aio

ALL: Final = (
    "sessions",
    "trips",
    "appendfsync",
    "streaming",
    "kafka",
    "files",
    "door",
    "claims",
    "recovery",
    "scale",
    "sdk",
)
DEFAULT_FILE: Final = Path("build", "bench.json")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument(
        "--only", default=",".join(ALL), help=f"some of: {', '.join(ALL)} (with commas between)"
    )
    parser.add_argument("--json", type=Path, default=DEFAULT_FILE, help="file to write")
    options = parser.parse_args(arguments)
    options.only = [word.strip() for word in options.only.split(",") if word.strip()]
    if unknown := set(options.only) - set(ALL):
        parser.error(f"--only: there is no {min(unknown)}; known: {', '.join(ALL)}")
    return options


async def _measure(stack: Stack, name: str, *, quick: bool) -> Section:  # noqa: C901, PLR0911 - a table
    match name:
        case "sessions":
            return await sessions.run(stack, quick=quick, say=_say)
        case "trips":
            return await trips.run(stack, say=_say)
        case "claims":
            return await claims.run(quick=quick, say=_say)
        case "recovery":
            return await recovery.run(stack, quick=quick, say=_say)
        case "scale":
            return await scale.run(stack, quick=quick, say=_say)
        case "appendfsync":
            return await sessions.durability(stack, quick=quick, say=_say)
        case "kafka":
            return await kafka.run(stack, quick=quick, say=_say)
        case "files":
            return await files.run(stack, quick=quick, say=_say)
        case "door":
            return await door.run(stack, quick=quick, say=_say)
        case "sdk":
            return await sdk.run(stack, quick=quick, say=_say)
        case _:
            return await streaming.run(stack, quick=quick, say=_say)


async def _run(options: argparse.Namespace) -> int:
    found: list[Section] = []
    load = [os.getloadavg()[0]]
    if load[0] > 0.3 * (os.cpu_count() or 1):
        _say(f"note: this machine is busy (load {load[0]:.1f}); trust the ratios, and them not far")
    async with running([*drive.CHAIN, *drive.INLINE]) as stack:
        info = (await stack.link.send("INFO", "server")).decode()
        version = info.partition("redis_version:")[2].partition("\r")[0]
        for name in options.only:
            section = await _measure(stack, name, quick=options.quick)
            found.append(section)
            load.append(os.getloadavg()[0])
            print(report.table(section), end="\n\n", flush=True)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    document = report.document(found, redis=version, quick=options.quick, load=load)
    options.json.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    print(f"written to {options.json}")
    return 0


async def _until_signal(options: argparse.Namespace) -> int:
    """Run until done; a signal ends it in order, so that nothing is left behind."""
    async with aio.stop_signals() as stop:
        work = asyncio.create_task(_run(options))
        waiting = asyncio.create_task(stop.wait())
        await asyncio.wait((work, waiting), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not work.done():
            _say("stopping")
            await aio.cancel(work)
            return 130
        return work.result()


def main() -> int:
    """Run with the arguments of the command line; the exit code."""
    options = _parse(sys.argv[1:])
    try:
        return aio.run(_until_signal(options))
    except TimeoutError:
        _say("error: a step took too long")
        return 1
    except (BenchError, BlueEngineError) as exc:
        _say(f"error: {exc}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
