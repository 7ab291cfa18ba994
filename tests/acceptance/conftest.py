"""One platform for the acceptance tests: ``blueengine up`` as a user starts it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from blueengine.client import AsyncClient
from tests.integration.local.platform_kit import Up, up

TROUBLE = '''
import os, time
from blueengine import BlueEngine, Fail

def work(context, inputs):
    """Do as the message says."""
    match inputs["Control"]["do"]:
        case "raise":
            raise ValueError("no such thing")
        case "fail":
            raise Fail("the picture is upside down; turn it")
        case "exit":
            os._exit(3)
        case "hang":
            while True:
                time.sleep(60)
        case "wait":
            while not context.cancelled:
                time.sleep(0.005)
        case "wrong":
            return {"Elsewhere": 1}
    return {"Result": "done"}

engine = BlueEngine()
engine.add_step("work", process_func=work, input_channels=["Control"], output_channels=["Result"])
engine.start()
'''

CONFIG = """
ENGINE: {ID: trouble, CONCURRENCY: 2, MAX_WORKER: 1, STOP_GRACE_SECONDS: 0.3}
INPUTS: {NAMES: [Control], TYPES: [JSON]}
OUTPUTS: {NAMES: [Result], TYPES: [JSON]}
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A running platform with the built-in engines and one that makes trouble."""
    engine = tmp_path_factory.mktemp("trouble")
    (engine / "configs").mkdir()
    (engine / "engine.py").write_text(TROUBLE)
    (engine / "configs" / "engine.yml").write_text(CONFIG)
    data: Path = tmp_path_factory.mktemp("platform") / "data"
    with up(data, "--engines", str(engine)) as running:
        yield running
        running.end()
        assert running.alive() == {}


@pytest.fixture
async def client(platform: Up) -> AsyncIterator[AsyncClient]:
    """A client of the platform."""
    async with AsyncClient(platform.url) as client:
        yield client
