"""The gateway as a process of its own."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.kit.servers import RealRedis
from tests.kit.wait import wait_until

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "gateway.log"


@pytest.fixture
def process(
    redis_server: RealRedis, tmp_path: Path, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    settings = {
        "REDIS_URL": redis_server.url,
        "BLOB_DIR": str(tmp_path / "blobs"),
        "RESTFUL_PORT": "0",
    }
    with log.open("wb") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "apps.restful.main"], env=os.environ | settings, stderr=out
        )
    yield child
    child.kill()
    child.wait()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_asked_to_stop_and_exits_with_0(
    process: subprocess.Popen[bytes], log: Path, how: signal.Signals
) -> None:
    said = wait_until(lambda: re.search(r"listening on (\S+)", log.read_text()), 60)
    assert httpx.get(f"{said[1]}/readyz").status_code == 200
    process.send_signal(how)
    assert process.wait(timeout=10) == 0
    assert "Traceback" not in log.read_text()


def test_without_redis_it_says_so_in_one_line(tmp_path: Path) -> None:
    settings = {
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "BLOB_DIR": str(tmp_path),
        "RESTFUL_PORT": "0",
        "RESTFUL_REDIS_PATIENCE": "0.2",
        "LOG_LEVEL": "CRITICAL",
    }
    done = subprocess.run(
        [sys.executable, "-m", "apps.restful.main"],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("restful: no Redis at 127.0.0.1:1/0")
