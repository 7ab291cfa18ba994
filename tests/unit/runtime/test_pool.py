"""A step's workers: more of them with sessions, fewer when they idle. Time is virtual."""

import asyncio
import itertools

import pytest

from blueengine.kit.turn import Turn
from blueengine.runtime import frames
from blueengine.runtime.workers import Pool, WorkerProcess

pytestmark = pytest.mark.looptime

IDLE = 60.0


class Workers:
    """A pool of workers that have no process."""

    def __init__(self, *, least: int = 1, most: int = 3) -> None:
        self.ended: list[WorkerProcess] = []
        self._numbers = itertools.count(1)
        self.pool = Pool(self._start, self.ended.append, least=least, most=most, idle_seconds=IDLE)
        self.pool.fill()

    def _start(self) -> WorkerProcess:
        return WorkerProcess("step", 0, lambda *_: None, lambda *_: None, Turn())

    def take(self) -> tuple[int, WorkerProcess]:
        no = next(self._numbers)
        return no, self.pool.assign(no)

    @property
    def count(self) -> int:
        return len(self.pool.workers)


async def test_workers_come_with_sessions_and_go_when_they_have_been_idle_for_long() -> None:
    workers = Workers()
    taken = [workers.take() for _ in range(5)]
    assert workers.count == 3
    for no, worker in taken:
        worker.part_from(no)
    await asyncio.sleep(IDLE - 1)
    assert workers.count == 3
    await asyncio.sleep(2)
    assert workers.count == 1
    assert len(workers.ended) == 2
    assert workers.pool.workers == [taken[0][1]], "the first, which is asked first, stays"


async def test_never_fewer_than_the_default_count() -> None:
    workers = Workers(least=2)
    for no, worker in [workers.take() for _ in range(3)]:
        worker.part_from(no)
    await asyncio.sleep(10 * IDLE)
    assert workers.count == 2


async def test_a_worker_with_a_session_is_never_ended() -> None:
    workers = Workers()
    (one, first), (two, second), (_, third) = [workers.take() for _ in range(3)]
    first.part_from(one)
    second.part_from(two)
    await asyncio.sleep(10 * IDLE)
    assert workers.pool.workers == [third]
    assert workers.ended == [second, first]


async def test_a_worker_that_owes_an_answer_is_ended_once_it_gave_it() -> None:
    workers = Workers()
    (one, first), (two, second) = workers.take(), workers.take()
    second.ask(two, frames.Leave(two))
    second.part_from(two)
    await asyncio.sleep(2 * IDLE)
    assert workers.count == 2
    second.answered(two)
    await asyncio.sleep(2 * IDLE)
    assert workers.pool.workers == [first]
    first.part_from(one)


async def test_a_worker_that_gets_a_session_in_time_stays() -> None:
    workers = Workers()
    (_, _first), (two, second) = workers.take(), workers.take()
    second.part_from(two)
    await asyncio.sleep(IDLE - 1)
    three, again = workers.take()
    assert again is second
    await asyncio.sleep(10 * IDLE)
    assert workers.count == 2
    again.part_from(three)
    await asyncio.sleep(IDLE - 1)
    assert workers.count == 2
    await asyncio.sleep(2)
    assert workers.count == 1


async def test_a_session_comes_after_the_pool_shrank() -> None:
    workers = Workers(most=2)
    for no, worker in [workers.take() for _ in range(2)]:
        worker.part_from(no)
    await asyncio.sleep(2 * IDLE)
    assert workers.count == 1
    for _ in range(2):
        workers.take()
    assert workers.count == 2
