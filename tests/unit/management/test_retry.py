"""When a delivery is tried again: a whole day in no time."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.management.webhooks.retry import GIVE_UP_SECONDS, Schedule, retry_after


@pytest.mark.looptime
@pytest.mark.parametrize("seed", range(5))
async def test_a_receiver_that_stays_away_is_tried_for_exactly_a_day(seed: int) -> None:
    schedule, tries = Schedule(rng=random.Random(seed)), 0
    began = asyncio.get_running_loop().time()
    pauses = []
    while True:
        age = asyncio.get_running_loop().time() - began
        wait = schedule.wait(tries=tries, age=age)
        if wait is None:
            break
        pauses.append(wait)
        tries += 1
        await asyncio.sleep(wait)
    assert asyncio.get_running_loop().time() - began == pytest.approx(GIVE_UP_SECONDS)
    assert 25 < tries < 120
    # soon at first, and then about twice an hour
    assert sum(pauses[:4]) < 60
    assert max(pauses) <= 3600


@pytest.mark.looptime
async def test_a_receiver_that_comes_back_after_an_hour_is_reached_within_the_next() -> None:
    schedule = Schedule(rng=random.Random(1))
    loop = asyncio.get_running_loop()
    back_at, tries = loop.time() + 3600, 0
    while loop.time() < back_at:
        await asyncio.sleep(schedule.wait(tries=tries, age=loop.time() - back_at + 3600) or 0)
        tries += 1
    assert loop.time() - back_at < 3600


@given(
    tries=st.integers(0, 10_000),
    age=st.floats(0, GIVE_UP_SECONDS * 1.5),
    asked=st.floats(0, 1e9),
    seed=st.integers(),
)
def test_the_next_try_is_within_the_day_and_never_at_once(
    tries: int, age: float, asked: float, seed: int
) -> None:
    wait = Schedule(rng=random.Random(seed)).wait(tries=tries, age=age, asked=asked)
    if age >= GIVE_UP_SECONDS:
        assert wait is None
        return
    assert wait is not None
    left = GIVE_UP_SECONDS - age
    assert min(1.0, left) <= wait <= left
    assert wait >= min(asked, left)


def test_the_delay_is_random_over_its_whole_range() -> None:
    schedule = Schedule(rng=random.Random(0))
    waits = [schedule.wait(tries=6, age=0) or 0 for _ in range(1000)]
    assert min(waits) < 10
    assert max(waits) > 310
    assert 140 < sum(waits) / len(waits) < 180


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("", 0),
        ("120", 120),
        (" 7 ", 7),
        ("-5", 0),
        ("1.5", 0),
        ("soon", 0),
        ("Thu, 01 Jan 1970 00:20:00 GMT", 200),
        ("Thu, 01 Jan 1970 00:10:00 GMT", 0),
        ("9" * 400, 999_999_999),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float) -> None:
    assert retry_after(value, now=1000.0) == seconds
