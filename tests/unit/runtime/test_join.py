"""Which messages make one call."""

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from blueengine.runtime.join import AT_ONCE, Join


def test_without_required_channels_every_message_is_a_call() -> None:
    join: Join[int] = Join()
    assert join.offer("a", 1) == [{"a": 1}]
    assert join.offer("b", 2) == [{"b": 2}]
    assert join.leftover() == {}


def test_required_channels_are_joined_first_with_first() -> None:
    join: Join[int] = Join(["a", "b"])
    assert join.offer("a", 1) == []
    assert join.offer("a", 2) == []
    assert join.offer("b", 10) == [{"a": 1, "b": 10}]
    assert join.offer("b", 20) == [{"a": 2, "b": 20}]


def test_what_found_no_partner_is_told() -> None:
    join: Join[int] = Join(["a", "b"])
    join.offer("a", 1)
    join.offer("a", 2)
    assert join.leftover() == {"a": 2}


def test_other_channels_join_the_next_call() -> None:
    join: Join[int] = Join(["a"])
    assert join.offer("x", 7) == []
    assert join.offer("a", 1) == [{"a": 1, "x": 7}]
    assert join.offer("a", 2) == [{"a": 2}]


def test_a_kept_message_is_repeated_until_another_comes() -> None:
    join: Join[int] = Join(["a", "k"], ["k"])
    assert join.offer("a", 1) == []
    assert join.offer("k", 0) == [{"k": 0, "a": 1}]
    assert join.offer("a", 2) == [{"k": 0, "a": 2}]
    assert join.offer("k", 5) == []
    assert join.offer("a", 3) == [{"k": 5, "a": 3}]


def test_a_kept_channel_without_required_ones_is_repeated_too() -> None:
    join: Join[int] = Join((), ["k"])
    assert join.offer("k", 1) == [{"k": 1}]
    assert join.offer("a", 2) == [{"k": 1, "a": 2}]


def test_others_are_not_left_lying_when_all_that_is_required_is_kept() -> None:
    join: Join[int] = Join(["k"], ["k"])
    assert join.offer("a", 1) == join.offer("a", 2) == []
    assert join.offer("k", 0) == [{"k": 0, "a": 1}, {"k": 0, "a": 2}]


def test_one_message_makes_one_call_when_all_that_is_required_is_kept() -> None:
    join: Join[int] = Join(["k"], ["k"])
    assert join.offer("k", 1) == [{"k": 1}]
    assert join.offer("k", 2) == [{"k": 2}]


def test_many_calls_of_what_waited_are_made_in_portions() -> None:
    join: Join[int] = Join(["a", "k"], ["k"])
    for n in range(3 * AT_ONCE):
        join.offer("a", n)
    assert join.missing() == ["k"]
    calls = join.offer("k", 7)
    assert len(calls) == AT_ONCE
    while more := join.more():
        assert len(more) <= AT_ONCE
        calls += more
    assert calls == [{"k": 7, "a": n} for n in range(3 * AT_ONCE)]


def test_messages_that_come_while_much_waits_make_no_more_calls_than_there_is_room_for() -> None:
    join: Join[int] = Join(["a", "k"], ["k"])
    for n in range(3 * AT_ONCE):
        join.offer("a", n)
    calls = join.offer("k", 7)
    for n in range(3 * AT_ONCE, 4 * AT_ONCE):
        came = join.offer("a", n, 1)
        assert len(came) == 1
        calls += came
    while more := join.more():
        calls += more
    assert calls == [{"k": 7, "a": n} for n in range(4 * AT_ONCE)]


def test_no_further_call_is_made_of_nothing_but_what_is_kept() -> None:
    join: Join[int] = Join(["k"], ["k"])
    join.offer("k", 1)
    assert join.more() == []


CHANNELS = ("a", "b", "c", "k", "x")
SUBSETS = st.sets(st.sampled_from(CHANNELS))


@given(
    required=SUBSETS,
    keep=SUBSETS,
    offers=st.lists(st.tuples(st.sampled_from(CHANNELS), st.integers(0, 3)), max_size=40),
)
def test_it_does_what_a_simple_reference_does(
    required: set[str], keep: set[str], offers: list[tuple[str, int]]
) -> None:
    join: Join[int] = Join(sorted(required), sorted(keep))
    queues: dict[str, deque[int]] = {name: deque() for name in CHANNELS}
    kept: dict[str, int] = {}
    for channel, value in offers:
        got = join.offer(channel, value)
        expected = []
        if channel in keep:
            kept[channel] = value
        else:
            queues[channel].append(value)
        if not required:
            queues[channel].clear()
            expected = [{**kept, channel: value}]
        else:
            while all(name in kept or queues[name] for name in required):
                takes = {name for name in CHANNELS if queues[name]}
                if expected and not takes:
                    break
                expected.append(kept | {name: queues[name].popleft() for name in takes})
        assert got == expected
    left = {n: len(queues[n]) for n in required - keep if queues[n]}
    assert join.leftover() == left
