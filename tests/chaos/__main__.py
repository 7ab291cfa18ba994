"""``python -m tests.chaos``: runs of some minutes, one seed after the other.

    python -m tests.chaos --minutes 30 --seed 1         # one run with the seeds 1, 2, 3 … of 3 minutes each
    python -m tests.chaos --seed 5 --round 60 --only redis engine-kill
    python -m tests.chaos --minutes 10 --kafka          # data over Kafka, which is killed and cut off, too
    python -m tests.chaos --plan failed-5.json          # the same faults again

Exit code 1 when something was found; the plan is kept in ``failed-<seed>.json`` then.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import orjson

from tests.chaos import faults
from tests.chaos.run import Report, run
from tests.chaos.sessions import GENERATION


class Plan(msgspec.Struct):
    """A run that can be had again."""

    seed: int
    seconds: float
    clients: int
    timeout: float
    faults: list[faults.Fault]
    kafka: bool = False
    generation: int = 1
    """Of the suite that made it; plans of the first did not say."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--minutes", type=float, default=0, help="at least so long; one run if 0")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--round", type=float, default=180, help="seconds of each run")
    parser.add_argument("--every", type=float, default=2.0, help="mean seconds between two faults")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--timeout", type=float, default=5.0, help="the heartbeat timeout, seconds")
    parser.add_argument("--kafka", action="store_true", help="data goes over Kafka")
    parser.add_argument("--only", nargs="*", default=(), help="targets, or target-kind")
    parser.add_argument("--plan", type=Path, help="a file that a failed run has kept")
    parser.add_argument("--keep", type=Path, default=Path(), help="where plans and reports go")
    parser.add_argument("--quiet", action="store_true")
    given = parser.parse_args()
    # both as Ctrl-C, which asyncio turns into a cancelled run: everything that was started is ended
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    began, seed, failed = time.monotonic(), given.seed, 0
    while True:
        if given.plan:
            plan = msgspec.json.decode(given.plan.read_bytes(), type=Plan)
        else:
            made = faults.plan(
                seed,
                given.round,
                every=given.every,
                timeout=given.timeout,
                kafka=given.kafka,
                only=given.only,
            )
            plan = Plan(
                seed, given.round, given.clients, given.timeout, made, given.kafka, GENERATION
            )
        report = once(plan, say=(lambda _text: None) if given.quiet else show)
        keep(given.keep, plan, report)
        failed += bool(report.findings)
        seed += 1
        if given.plan or time.monotonic() - began > given.minutes * 60:
            return 1 if failed else 0


def show(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def once(plan: Plan, *, say: Callable[[str], None] = show) -> Report:
    """Run one plan."""
    with tempfile.TemporaryDirectory(prefix="blueengine-chaos-") as folder:
        return asyncio.run(
            run(
                Path(folder),
                plan.faults,
                seed=plan.seed,
                seconds=plan.seconds,
                clients=plan.clients,
                heartbeat_timeout=plan.timeout,
                kafka=plan.kafka,
                generation=plan.generation,
                say=say,
            )
        )


def keep(folder: Path, plan: Plan, report: Report) -> None:
    """Print a report; keep it, and the plan of one that failed."""
    text = orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)
    show(text.decode() if not report.findings else text.decode().replace("\\n", "\n"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"chaos-{plan.seed}.json").write_bytes(text)
    if report.findings:
        (folder / f"failed-{plan.seed}.json").write_bytes(msgspec.json.encode(plan))


if __name__ == "__main__":
    sys.exit(main())
