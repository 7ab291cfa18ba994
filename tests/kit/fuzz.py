"""Fuzz the gateway by its own OpenAPI document: ``python -m tests.kit.fuzz [--examples N]``.

Schemathesis makes the requests: valid and invalid ones for each route, then chains of them along the
links in the document (submit, read, push, stop …). They go to a gateway process on a real Redis, with
management and a real engine beside it. What it looks for: a 5xx, an answer the document does not
name, a body that is not what the document says, a method that is not refused.
"""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.kit.servers import RealRedis
from tests.kit.wait import wait_until

ROOT: Final = Path(__file__).parents[2]
CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
)
ENDLESS: Final = ("follow_session",)
"""Operations whose answer lasts as long as a session; tests of their own hold these."""
ENGINE: Final = ROOT / "engines" / "hello" / "engine.py"
SEED: Final = 20261122
START_SECONDS: Final = 300.0


@contextmanager
def a_gateway(folder: Path) -> Iterator[str]:
    """Run Redis, management, an engine and a gateway; its URL."""
    with RealRedis() as redis, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        environment = {
            **os.environ,
            "REDIS_URL": redis.url,
            "BLOB_DIR": str(folder / "blobs"),
            "RESTFUL_PORT": str(port),
            "RESTFUL_MAX_WAIT": "0.05",
            "RESTFUL_MAX_UPLOAD": str(1 << 20),
        }
        programs = [
            ["-m", "apps.management.main"],
            ["-m", "apps.restful.main"],
            [str(ENGINE)],
        ]
        with (folder / "log").open("wb") as log:
            processes = [
                subprocess.Popen(
                    [sys.executable, *program],
                    cwd=ROOT,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
                for program in programs
            ]
            try:
                url = f"http://127.0.0.1:{port}"
                wait_until(lambda: _has_engine(url), START_SECONDS, what="the engine attends")
                # Made once; Schemathesis waits ten seconds for it, and a busy machine may need more.
                urllib.request.urlopen(f"{url}/openapi.json", timeout=START_SECONDS).close()
                yield url
            finally:
                _end(processes)


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    """End them; the engine not when its sessions end, for nobody ends the interactive ones."""
    for _ in range(2):
        for process in processes:
            process.terminate()
        with suppress(subprocess.TimeoutExpired):
            for process in processes:
                process.wait(5)
    for process in processes:
        process.kill()
        process.wait()


def _has_engine(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/api/v1/engines", timeout=5) as answer:
            return bool(json.load(answer)["data"]["engines"])
    except OSError:
        return False


def fuzz(folder: Path, *, examples: int, seed: int = SEED, phases: str = "") -> tuple[int, str]:
    """Run it; (exit code, what Schemathesis says)."""
    with a_gateway(folder) as url:
        command = [
            str(Path(sys.executable).with_name("st")),
            "run",
            f"{url}/openapi.json",
            f"--checks={','.join(CHECKS)}",
            f"--max-examples={examples}",
            f"--seed={seed}",
            "--request-timeout=30",
            "--suppress-health-check=all",
            "--no-color",
            *(f"--exclude-operation-id={name}" for name in ENDLESS),
            *([f"--phases={phases}"] if phases else []),
        ]
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "COLUMNS": "120"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout


def cases(told: str) -> int:
    """Return how many requests were made, as Schemathesis counts them."""
    found = re.search(r"Test cases:\s+([\d,]+) generated|([\d,]+) generated", told)
    return int((found[1] or found[2]).replace(",", "")) if found else 0


def main() -> int:
    """Run with the arguments of the command line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.kit.fuzz", description=__doc__)
    parser.add_argument("--examples", type=int, default=150, help="per route and phase")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--phases", default="", help="some of: examples,coverage,fuzzing,stateful")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="blueengine-fuzz-") as folder:
        code, told = fuzz(
            Path(folder), examples=options.examples, seed=options.seed, phases=options.phases
        )
        sys.stdout.write(told)
        if code:
            sys.stdout.write(Path(folder, "log").read_text(errors="replace")[-20_000:])
    sys.stdout.write(f"{cases(told):,} requests in {time.monotonic() - began:.0f} s\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
