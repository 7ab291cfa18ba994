"""``blueengine up`` as a process, for tests: started, asked, ended, and nothing left of it."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from apps.local.redis_server import free_port
from tests.conftest import command_line, descendants
from tests.kit.wait import wait_until

COMMAND: Final = [sys.executable, "-m", "blueengine.cli.main"]
PATIENCE: Final = 60.0
"""Seconds after which something will not happen any more; a busy machine takes long to start programs."""

ENGINE: Final = '''
import os, time
from pathlib import Path
from blueengine import BlueEngine, Context

def work(context, inputs):
    """Hold the session until the file named in the message is there."""
    wanted = Path(inputs["Control"]["until"])
    while not wanted.exists() and not context.cancelled:
        time.sleep(0.01)
    return {"Result": {"instance": os.environ["BLUEENGINE_INSTANCE_ID"]}}

engine = BlueEngine()
engine.add_step("work", process_func=work, input_channels=["Control"], output_channels=["Result"])
engine.start()
'''

CONFIG: Final = """
ENGINE: {ID: holder, CONCURRENCY: 1}
INPUTS: {NAMES: [Control], TYPES: [JSON]}
OUTPUTS: {NAMES: [Result], TYPES: [JSON]}
"""


def an_engine(folder: Path, *, code: str = ENGINE) -> Path:
    """Write the engine ``holder``, which works until a file appears; its folder."""
    (folder / "configs").mkdir(parents=True)
    (folder / "engine.py").write_text(code)
    (folder / "configs" / "engine.yml").write_text(CONFIG)
    return folder


@dataclass
class Up:
    """A running ``blueengine up``."""

    process: "subprocess.Popen[str]"
    port: int
    data: Path
    seen: set[int] = field(default_factory=set)
    """Every process that was below it at some time."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, route: str, body: object = None) -> Any:
        """Return the data of an answer."""
        request = urllib.request.Request(
            self.url + route,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as response:
            return json.load(response)["data"]

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + "/readyz", timeout=5) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            assert self.process.poll() is None, self.process.communicate()[0]
            return False

    def submit(self, until: Path, **more: object) -> str:
        """Submit a session of ``holder`` that works until a file is there; its id."""
        answer = self.ask(
            "/api/v1/process-single-engine",
            {
                "engineId": "holder",
                "inputs": {"Control": {"payload": {"until": str(until)}}},
                "outputs": {"Result": {"interested": True}},
                **more,
            },
        )
        return str(answer["sessionId"])

    def status(self, session: str) -> str:
        return str(self.ask(f"/api/v1/sessions/{session}")["status"])

    def wait_for(self, session: str, status: str, seconds: float = PATIENCE) -> None:
        try:
            wait_until(lambda: self.status(session) == status, seconds)
        except TimeoutError:
            pytest.fail(f"not {status}: {self.ask(f'/api/v1/sessions/{session}')}")

    def instances(self, engine: str = "holder") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask(f"/api/v1/engines/{engine}")["instanceList"]
        return found

    def children(self) -> dict[int, str]:
        """Return the processes below this one and what each runs."""
        parents = descendants()
        below = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in below} - below:
            below |= more
        below.discard(self.process.pid)
        self.seen |= below
        return {pid: command_line(pid) for pid in below}

    def end(self, number: signal.Signals = signal.SIGINT, seconds: float = PATIENCE) -> str:
        """Send a signal and wait for the end of everything; what it printed."""
        self.children()
        self.process.send_signal(number)
        return self.wait_ended(seconds)

    def wait_ended(self, seconds: float = PATIENCE) -> str:
        """Wait for the end of everything; what it printed."""
        out, _ = self.process.communicate(timeout=seconds)
        wait_until(lambda: not self.alive(), 10, what="all processes have ended")
        return out

    def alive(self) -> dict[int, str]:
        """Return what of it still runs, whoever is its parent by now."""
        return {pid: command_line(pid) for pid in self.seen if _runs(pid)}


def _runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


@contextmanager
def up(data: Path, *options: str, environment: Mapping[str, str] | None = None) -> Iterator[Up]:
    """Start the platform and wait until it is ready; whatever happens, it is gone after."""
    port = free_port()
    process = subprocess.Popen(
        [*COMMAND, "up", "--port", str(port), "--data", str(data), *options],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    platform = Up(process, port, data)
    try:
        wait_until(platform.ready, PATIENCE, what="the platform is up")
        yield platform
    finally:
        if process.poll() is None:
            platform.end(signal.SIGKILL)
        for pid in platform.alive():
            os.kill(pid, signal.SIGKILL)


def run(*words: str, seconds: float = 50, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run ``blueengine`` with these words."""
    return subprocess.run(
        [*COMMAND, *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
