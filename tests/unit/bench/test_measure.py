"""The arithmetic of the benchmarks."""

import orjson
import pytest

from bench import cpu, report, stream, trips
from bench.lean_http import post
from bench.measure import Section, Target, p50, p99, percentile


def test_a_percentile_is_one_of_the_values() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert (p50(values), p99(values), percentile(values, 0.2)) == (3.0, 5.0, 1.0)
    assert p50([7.0]) == 7.0


@pytest.mark.parametrize(
    ("value", "at_least", "verdict"),
    [
        (1.9, False, "then"),
        (2.5, False, "first"),
        (3.1, False, "missed"),
        (3.1, True, "first"),
        (1.9, True, "missed"),
    ],
)
def test_a_target_has_two_bounds(value: float, at_least: bool, verdict: str) -> None:
    first, then = (2.0, 4.0) if at_least else (3.0, 2.0)
    assert Target(first, then, at_least=at_least).verdict(value) == verdict


def test_a_ratio_is_taken_within_each_round() -> None:
    section = Section("s")
    section.ratio("ours ÷ theirs", [2.0, 30.0, 4.0], [1.0, 10.0, 4.0], Target(3, 1))
    (row,) = section.rows
    assert list(row.rounds) == [2.0, 3.0, 1.0]
    assert row.as_json()["verdict"] == "first"
    text = report.table(section)
    assert "ours ÷ theirs" in text
    assert "1.00 … 3.00" in text
    assert "≤ 3, then ≤ 1" in text


def test_cpu_time_is_read_past_a_name_with_brackets() -> None:
    text = "17 (a (b) c) S 4 17 17 0 -1 4194560 1 0 0 0 30 12 7 7 20 0 1 0 99 1 1"
    parent, seconds = cpu.parse_stat(text)
    assert parent == 4
    assert seconds == pytest.approx(42 / cpu.TICK)


def test_cpu_of_a_session_leaves_out_who_did_nothing() -> None:
    each = cpu.per_session({"a": 1.0, "b": 2.0}, {"a": 1.5, "b": 2.0, "c": 0.1}, 1000)
    assert each == pytest.approx({"a": 500.0, "c": 100.0})


def test_trips_leave_out_the_background_and_what_scripts_do_there() -> None:
    lines = [
        "+OK\r\n",
        '1.0 [0 127.0.0.1:1] "EVALSHA" "aa" "0" "x"\r\n',
        '1.0 [0 lua] "HSET" "k" "v"\r\n',
        '1.1 [0 127.0.0.1:2] "EVALSHA" "bb" "0"\r\n',
        '1.1 [0 lua] "TIME"\r\n',
        '1.2 [1 127.0.0.1:3] "BRPOP" "celery"\r\n',
        '1.3 [0 127.0.0.1:4] "xread" "COUNT" "1"\r\n',
    ]
    counted = trips.count(lines, {"aa": "submit", "bb": "beat"})
    assert counted.commands == {"submit": 1, "XREAD": 1}
    assert counted.inside == 1


def test_a_request_says_how_long_it_is() -> None:
    request = post("/x", b'{"a":1}')
    assert request.startswith(b"POST /x HTTP/1.1\r\n")
    assert b"Content-Length: 7\r\n" in request
    assert request.endswith(b'\r\n\r\n{"a":1}')


def test_messages_are_of_the_size_asked_for() -> None:
    size = len(orjson.dumps(stream.message(199_999, 200_000, 1_700_000_000_000_000_000, 1024)))
    assert size == 1024
    body = bytes(4096 - stream.FRAME_HEAD.size)
    frame = stream.frame(3, 9, 17, body)
    assert len(frame) == 4096
    assert stream.FRAME_HEAD.unpack_from(frame) == (3, 9, 17)
