"""What a process of an engine loads before it gets to what is its own: each start waits for it."""

import subprocess
import sys

import pytest


def loaded(module: str) -> set[str]:
    """Return the modules that a process has loaded once it has imported this one."""
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["blueengine.runtime.child", "blueengine.runtime.start"])
def test_a_worker_starts_and_begins_without_what_only_its_parent_needs(module: str) -> None:
    parents = {
        "asyncio",
        "hiredis",
        "ssl",
        "uvloop",
        "blueengine.ledger",
        "blueengine.runtime.host",
    }
    assert loaded(module).isdisjoint(parents)


@pytest.mark.parametrize("module", ["blueengine.runtime.child", "blueengine.runtime.launch"])
def test_what_only_some_engines_use_waits_until_one_does(module: str) -> None:
    seldom = {"confluent_kafka", "numpy", "obstore", "yaml"}
    kinds = {f"blueengine.datatypes.{kind}" for kind in ("file", "image", "structured", "video")}
    assert loaded(module).isdisjoint(seldom | kinds)


def test_a_parent_of_worker_processes_loads_nothing_of_theirs() -> None:
    assert "blueengine.runtime.child" not in loaded("blueengine.runtime.launch")
