"""``blueengine sessions logs`` shows what a real engine wrote with context.logger."""

import json
from pathlib import Path

import pytest

from tests.integration.local.platform_kit import an_engine, run, up

pytestmark = pytest.mark.timeout(180)

CODE = """
from blueengine import BlueEngine

def work(context, inputs):
    context.logger.info("hello %s", inputs["Control"]["name"])
    context.logger.warning("that was all")
    return {"Result": {}}

engine = BlueEngine()
engine.add_step("work", process_func=work, input_channels=["Control"], output_channels=["Result"])
engine.start()
"""


def test_what_an_engine_logs_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = an_engine(tmp_path / "holder", code=CODE)
    with up(tmp_path / "data", "--engines", f"none,{folder}") as platform:
        monkeypatch.setenv("BLUEENGINE_URL", platform.url)
        session = platform.ask(
            "/api/v1/process-single-engine",
            {
                "engineId": "holder",
                "inputs": {"Control": {"type": "JSON", "payload": {"name": "Ada"}}},
                "waitTimeSecond": 30,
            },
        )["sessionId"]
        done = run("sessions", "logs", session, "--follow")
        assert done.returncode == 0, done.stderr
        first, second = done.stdout.splitlines()
        assert first.endswith("info     holder: hello Ada")
        assert second.endswith("warning  holder: that was all")
        lines = run("sessions", "logs", session, "--json").stdout.splitlines()
        assert [json.loads(line)["message"] for line in lines] == ["hello Ada", "that was all"]
        platform.end()
