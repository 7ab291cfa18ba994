"""Guarded tasks, loops that go on, and sleeps that can be woken."""

import asyncio
import itertools
import logging
import os
import signal

import pytest

from blueengine.errors import StoreAwayError
from blueengine.kit import aio


@pytest.mark.looptime
async def test_a_loop_goes_on_after_errors_later_each_time() -> None:
    times: list[float] = []

    async def step() -> None:
        times.append(asyncio.get_running_loop().time())
        raise StoreAwayError("away") if len(times) % 2 else ValueError("bug")

    async with aio.Tasks() as tasks:
        tasks.start(aio.forever(step, name="loop", first=1, longest=8), name="loop")
        await asyncio.sleep(60)
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert 0.5 <= gaps[0] <= 1
    assert all(gap <= 8 for gap in gaps)
    assert gaps[-1] >= 4


@pytest.mark.looptime
async def test_after_a_success_the_delays_begin_anew() -> None:
    times: list[float] = []

    async def step() -> None:
        times.append(asyncio.get_running_loop().time())
        if len(times) == 6:
            return
        raise ValueError

    async with aio.Tasks() as tasks:
        tasks.start(aio.forever(step, name="loop", first=1, longest=100), name="loop")
        await asyncio.sleep(60)
    assert times[7] - times[6] <= 1


async def test_a_task_that_ends_by_itself_is_seen(caplog: pytest.LogCaptureFixture) -> None:
    async def short() -> None:
        pass

    async with aio.Tasks() as tasks:
        tasks.start(short(), name="short")
        assert await tasks.until(asyncio.Event()) is False
    assert "short ended by itself" in caplog.text


async def test_a_task_that_fails_is_seen(caplog: pytest.LogCaptureFixture) -> None:
    async def wrong() -> None:
        raise ValueError("no")

    async with aio.Tasks() as tasks:
        tasks.start(wrong(), name="wrong")
        assert await tasks.until(asyncio.Event()) is False
    assert "wrong failed" in caplog.text


async def test_closing_ends_the_latest_first(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    ended: list[str] = []

    async def work(name: str) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            ended.append(name)

    stop = asyncio.Event()
    async with aio.Tasks() as tasks:
        for name in "abc":
            tasks.start(work(name), name=name)
        await asyncio.sleep(0)
        stop.set()
        assert await tasks.until(stop) is True
    assert ended == ["c", "b", "a"]
    assert not caplog.records


@pytest.mark.looptime
async def test_a_nap_ends_when_woken_or_over() -> None:
    loop, wake = asyncio.get_running_loop(), asyncio.Event()
    loop.call_later(3, wake.set)
    assert await aio.nap(wake, 10) is True
    assert loop.time() == 3
    assert not wake.is_set()
    assert await aio.nap(wake, 10) is False
    assert loop.time() == 13


@pytest.mark.parametrize("number", aio.STOP_SIGNALS)
async def test_a_signal_sets_the_event(number: signal.Signals) -> None:
    async with aio.stop_signals() as stop:
        os.kill(os.getpid(), number)
        async with asyncio.timeout(5):
            await stop.wait()


def test_a_program_runs() -> None:
    async def main() -> int:
        await asyncio.sleep(0)
        return 3

    assert aio.run(main()) == 3
