"""The pytest plugin: fixtures for engine authors. Loaded by pytest where blueengine is installed.

``run_engine``  starts an engine without a server: ``engine = run_engine("engine.py")``
``platform``    the real platform on its embedded default, one for the whole run; the engines it may
                start are the folders in the setting ``blueengine_engines``
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from blueengine import BlueEngine
    from blueengine.testing import EngineRun, Platform

# What they need is imported when a test asks for them: the plugin is loaded for every run of pytest.


def pytest_addoption(parser: pytest.Parser) -> None:
    """Know the setting."""
    parser.addini(
        "blueengine_engines",
        "folders of engines that the platform fixture may start, from the root of the project",
        type="paths",
        default=[],
    )


@pytest.fixture
def run_engine() -> "Iterator[Callable[..., EngineRun]]":
    """Start engines for this test; takes what ``blueengine.testing.running`` takes."""
    from blueengine.testing import running

    with ExitStack() as stack:

        def run(engine: "BlueEngine | str | Path", **more: Any) -> "EngineRun":
            return stack.enter_context(running(engine, **more))

        yield run


@pytest.fixture(scope="session")
def platform(request: pytest.FixtureRequest) -> "Iterator[Platform]":
    """The platform, started with the first test that asks for it."""
    from blueengine.testing import start_platform

    with start_platform(*request.config.getini("blueengine_engines")) as running:
        yield running
