"""Small parts: delays between tries, ids, the clock."""

import itertools
import random
import re

from blueengine import ids
from blueengine.kit import backoff
from blueengine.kit.clock import SystemClock


def test_delays_double_up_to_the_longest_with_half_jitter() -> None:
    full = [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    for seed in range(50):
        got = list(itertools.islice(backoff.delays(0.1, 1.0, random.Random(seed)), len(full)))
        assert all(whole / 2 <= delay <= whole for whole, delay in zip(full, got, strict=True))


def test_delays_of_two_programs_differ() -> None:
    first, second = (list(itertools.islice(backoff.delays(1, 9), 8)) for _ in range(2))
    assert first != second


def test_a_session_id_says_kind_rank_and_time() -> None:
    made = ids.session_id("process-workflow", -3, unix_time=1636105719.5759473, entropy=zeros)
    assert made == "session-process-workflow--3-1636105719.5759473-" + "0" * 21


def test_ids_hold_only_url_safe_characters() -> None:
    made = ids.nanoid(lambda size: bytes(range(256))[:size], 64)
    assert re.fullmatch(r"[A-Za-z0-9_-]{64}", made)
    assert len(set(made)) == 64


def test_each_byte_of_entropy_counts() -> None:
    assert ids.nanoid(lambda size: bytes([0xFF]) * size) != ids.nanoid(zeros)
    assert ids.instance_id("ocr", entropy=zeros) == "ocr-" + "0" * 12


def zeros(size: int) -> bytes:
    return bytes(size)


def test_the_clock_goes_on() -> None:
    clock = SystemClock()
    assert clock.monotonic() <= clock.monotonic()
    assert clock.unix() > 1_700_000_000
