"""Waiting for the end of a child process, with and without a descriptor of it."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from blueengine.kit.child_exit import exit_code


@pytest.fixture(params=[True, False], ids=["pidfd", "thread"], autouse=True)
def pidfd(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_pid: int, _flags: int = 0) -> int:
        raise OSError(38, "Function not implemented")

    if not request.param:
        monkeypatch.setattr(os, "pidfd_open", none)


def python(code: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)


async def test_the_loop_goes_on_until_a_process_ends() -> None:
    with python("import sys; sys.stdin.read(); sys.exit(7)") as process:
        waiting = asyncio.create_task(exit_code(process))
        await asyncio.sleep(0)
        assert not waiting.done()
        assert process.stdin
        process.stdin.close()
        assert await waiting == 7


async def test_a_signal_is_told_by_its_number() -> None:
    with python("import sys; sys.stdin.read()") as process:
        process.kill()
        assert await exit_code(process) == -signal.SIGKILL


async def test_a_process_that_ended_before_is_waited_for_no_longer() -> None:
    with python("") as process:
        await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert await exit_code(process) == 0


async def test_a_process_may_be_waited_for_by_others_meanwhile() -> None:
    with python("import sys; sys.stdin.read(); sys.exit(3)") as process:
        waiting = asyncio.create_task(exit_code(process))
        await asyncio.sleep(0)
        assert process.stdin
        process.stdin.close()
        assert await asyncio.to_thread(process.wait) == 3
        assert await waiting == 3
