"""The rule by which engines are started and stopped."""

import pytest

from apps.local.scaling import Decision, Instance, Scale, desired

NOTHING = Decision()


def scale(concurrency: int = 1, most: int = 4, cooldown: float = 30.0) -> Scale:
    return Scale(concurrency=concurrency, most=most, cooldown=cooldown)


def busy(name: str, held: int = 1, active_at: float = 0.0) -> Instance:
    return Instance(id=name, attending=True, held=held, active_at=active_at)


def idle(name: str, active_at: float = 0.0, *, ours: bool = True) -> Instance:
    return Instance(id=name, attending=True, active_at=active_at, ours=ours)


@pytest.mark.parametrize(
    ("demand", "concurrency", "most", "wanted"),
    [(0, 3, 4, 0), (1, 3, 4, 1), (3, 3, 4, 1), (4, 3, 4, 2), (10, 3, 9, 4), (100, 3, 4, 4)],
)
def test_desired_is_demand_by_concurrency_rounded_up(
    demand: int, concurrency: int, most: int, wanted: int
) -> None:
    assert desired(demand, concurrency, most) == wanted


def test_the_first_session_starts_the_first_instance() -> None:
    assert scale().decide(0, 1, []) == Decision(start=1)


def test_what_is_starting_is_not_started_again() -> None:
    starting = Instance(id="a", attending=False)
    assert scale().decide(0, 1, [starting]) == NOTHING
    assert scale().decide(0, 3, [starting]) == Decision(start=2)


def test_no_more_than_the_maximum_are_started() -> None:
    assert scale(most=2).decide(0, 50, [busy("a")]) == Decision(start=1)
    assert scale(most=2).decide(0, 50, [busy("a"), busy("b")]) == NOTHING


def test_an_idle_instance_is_stopped_once_the_cooldown_is_over() -> None:
    rule = scale(cooldown=30)
    assert rule.decide(10.0, 1, [busy("a", active_at=10.0)]) == NOTHING
    assert rule.decide(39.9, 0, [idle("a", active_at=10.0)]) == NOTHING
    assert rule.decide(40.0, 0, [idle("a", active_at=10.0)]) == Decision(stop=("a",))


def test_a_busy_instance_is_never_stopped() -> None:
    # the demand says one, and two instances hold sessions: both stay
    rule = scale(concurrency=2, cooldown=5)
    for now in range(100):
        assert rule.decide(now, 2, [busy("a"), busy("b")]) == NOTHING


def test_the_peak_of_the_cooldown_is_kept() -> None:
    rule = scale(cooldown=30)
    three = [idle("a"), idle("b"), idle("c")]
    rule.decide(0.0, 3, three)
    rule.decide(20.0, 2, three)
    assert rule.decide(29.0, 0, three) == NOTHING
    assert len(rule.decide(31.0, 0, three).stop) == 1
    assert len(rule.decide(51.0, 0, three).stop) == 3


def test_sessions_between_two_looks_keep_one_instance() -> None:
    rule = scale(cooldown=30)
    # nothing was ever in demand at the moment of a look, and yet it worked a second ago
    for now in range(0, 300, 10):
        assert rule.decide(now, 0, [idle("a", active_at=now - 1.0)]) == NOTHING


def test_the_longest_idle_goes_first() -> None:
    rule = scale(cooldown=10)
    there = [idle("new", 50.0), idle("old", 20.0), busy("busy")]
    assert rule.decide(100.0, 1, there) == Decision(stop=("old", "new"))


def test_an_instance_started_elsewhere_counts_but_is_not_stopped() -> None:
    rule = scale(cooldown=10)
    assert rule.decide(100.0, 1, [idle("theirs", ours=False)]) == NOTHING
    assert rule.decide(200.0, 0, [idle("theirs", ours=False)]) == NOTHING


def test_a_cooldown_of_zero_stops_at_once() -> None:
    assert scale(cooldown=0).decide(5.0, 0, [idle("a", 5.0)]) == Decision(stop=("a",))


def test_failed_starts_are_tried_again_later_each_time() -> None:
    rule = scale()
    waits = [rule.failures.add(0.0, "no") for _ in range(10)]
    assert 0.5 <= waits[0] <= 1.0
    assert 30.0 <= waits[-1] <= 60.0
    assert rule.decide(rule.failures.retry_at - 0.1, 1, []) == NOTHING
    assert rule.decide(rule.failures.retry_at, 1, []) == Decision(start=1)
