"""Bells: who waits is woken by a poke, or by time."""

import asyncio
import time

import pytest

from apps.restful.service.wait import Pokes

pytestmark = pytest.mark.looptime


async def test_a_poke_wakes_who_waits_for_that_session() -> None:
    pokes = Pokes("g")
    with pokes.listen("s") as bell, pokes.listen("other") as other:
        waiting = asyncio.ensure_future(bell.wait(60))
        quiet = asyncio.ensure_future(other.wait(60))
        await asyncio.sleep(1)
        pokes.on_message(b"s")
        assert await waiting is True
        assert not quiet.done()
        assert await quiet is False


async def test_a_poke_that_came_before_the_wait_is_not_lost() -> None:
    pokes = Pokes("g")
    with pokes.listen("s") as bell:
        pokes.on_message(b"s")
        pokes.on_message(b"s")
        assert await bell.wait(0) is True
        assert await bell.wait(0) is False


async def test_a_wait_is_over_in_time() -> None:
    loop = asyncio.get_running_loop()
    with Pokes("g").listen("s") as bell:
        assert await bell.wait(30) is False
        assert loop.time() == 30


async def test_several_may_wait_for_one_session() -> None:
    pokes = Pokes("g")
    with pokes.listen("s") as one, pokes.listen("s") as two:
        assert len(pokes) == 2
        pokes.on_message(b"s")
        assert await one.wait(0)
        assert await two.wait(0)
    assert len(pokes) == 0


async def test_nobody_waits_while_the_process_stops() -> None:
    pokes = Pokes("g")
    with pokes.listen("s") as bell:
        waiting = asyncio.ensure_future(bell.wait(60))
        await asyncio.sleep(0)
        pokes.close()
        assert await waiting is True
    with pokes.listen("later") as bell:
        assert await bell.wait(60) is True


async def test_a_poke_for_nobody_does_no_harm() -> None:
    Pokes("g").on_message(b"unknown")


def test_a_thousand_waiters_are_no_scan() -> None:
    pokes = Pokes("g")
    bells = [pokes.listen(f"s{n}").__enter__() for n in range(20_000)]
    began = time.perf_counter()
    for _ in range(1000):
        pokes.on_message(b"s10000")
    assert time.perf_counter() - began < 0.5
    for bell in bells:
        bell.__exit__(None, None, None)


def test_pokes_are_not_mistaken_for_an_answer() -> None:
    with pytest.raises(TypeError):
        bool(Pokes("g"))
