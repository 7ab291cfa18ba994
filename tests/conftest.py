"""Guards round every test: it leaves no task, no thread, no process and no setting behind.

Warnings are errors too; that one is set in pyproject.toml. Nothing else belongs here: servers and
builders are in `tests/kit`.
"""

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TypeVar

import pytest
import pytest_asyncio

pytest_plugins = ["tests.kit.fixtures"]

T = TypeVar("T")

# How long what a test has just closed may take to be gone.
GRACE_SECONDS = 2.0
POLL_SECONDS = 0.02
PREFIX = "BLUE"


def pytest_configure() -> None:
    """Begin every run alike, however it was started.

    looptime asks for the current loop in every test; unless told that there is none, asyncio makes
    one that nobody closes, and some later test is blamed for it. And a shell starts background jobs
    with SIGINT ignored, which every process that a test starts and interrupts would inherit.
    """
    asyncio.set_event_loop(None)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def environment_restored() -> Iterator[None]:
    """Put every environment variable of ours back to what it was."""
    before = _our_environment()
    yield
    for name in _our_environment():
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(autouse=True)
def no_leftover_process(environment_restored: None) -> Iterator[None]:
    """Fail a test whose child processes, or theirs, outlive it; a child not waited for counts.

    What a process that was there before starts (a platform shared by a module's tests, which scales
    its engines) is that one's to end.
    """
    before = descendants().keys()

    def ours() -> set[int]:
        now = descendants()
        theirs = set(before)
        while more := {pid for pid in now.keys() - theirs if now[pid] in theirs}:
            theirs |= more
        return now.keys() - theirs

    yield
    left = _left_after_grace(ours)
    if left:
        shown = [f"{pid} {command_line(pid)}" for pid in sorted(left)]
        pytest.fail(f"child processes left behind: {shown}", pytrace=False)


@pytest.fixture(autouse=True)
def no_leftover_thread(no_leftover_process: None) -> Iterator[None]:
    """Fail a test that leaves a thread which would keep the interpreter from ending."""
    before = set(threading.enumerate())
    yield

    def left() -> set[threading.Thread]:
        return {t for t in threading.enumerate() if not t.daemon} - before

    if threads := _left_after_grace(left):
        pytest.fail(f"threads left behind: {sorted(t.name for t in threads)}", pytrace=False)


@pytest.fixture(autouse=True)
def no_leftover_task(request: pytest.FixtureRequest, no_leftover_thread: None) -> None:
    """Fail an async test that leaves a task running on its loop, once its fixtures are closed."""
    if pytest_asyncio.is_async_test(request.node):
        # Asked for by name: as an argument it would start a loop for plain tests too.
        request.getfixturevalue("_no_leftover_task_on_loop")


@pytest.fixture
async def _no_leftover_task_on_loop(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield

    def left() -> set[asyncio.Task[object]]:
        return asyncio.all_tasks() - before - {asyncio.current_task()}

    await asyncio.sleep(0)  # what was cancelled a moment ago ends now
    if request.node.get_closest_marker("looptime") is None and left():
        # Not after virtual time: seen from the real clock, its timers are all long due.
        await asyncio.wait(left(), timeout=POLL_SECONDS)
    if tasks := left():
        pytest.fail(f"tasks left behind: {sorted(map(repr, tasks))}", pytrace=False)


def descendants() -> dict[int, int]:
    """Processes below this one as {pid: parent's pid}, without multiprocessing's own helper."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat = (entry / "stat").read_text()
        except OSError:
            continue  # it ended while we looked
        # The name, in brackets, may hold spaces and brackets; the parent is the second after it.
        parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found = {os.getpid(): 0}
    while more := {
        p: parent for p, parent in parents.items() if parent in found and p not in found
    }:
        found |= more
    helper = getattr(resource_tracker, "_resource_tracker", None)
    for pid in (os.getpid(), getattr(helper, "_pid", None)):
        found.pop(pid, None)  # type: ignore[arg-type]
    return found


def command_line(pid: int) -> str:
    """Tell what a process runs, as far as it still can be read."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return "(gone)"
    return raw.replace(b"\0", b" ").decode(errors="replace").strip() or "(ended, not waited for)"


def _our_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}


def _left_after_grace(look: Callable[[], set[T]]) -> set[T]:
    deadline = time.monotonic() + GRACE_SECONDS
    while (left := look()) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return left
