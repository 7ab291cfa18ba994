"""The status tables: every status with every event, and what follows from the contract."""

from collections.abc import Mapping

import pytest

from blueengine.errors import IllegalTransitionError
from blueengine.wire import lifecycle
from blueengine.wire.lifecycle import (
    SUB_ENDED,
    SUB_TRANSITIONS,
    TERMINAL,
    TRANSITIONS,
    Event,
    Status,
    SubEvent,
    SubStatus,
)

# The contract's own words, not derived from the table.
ARROWS = {
    ("pending", "queuing"), ("queuing", "processing"), ("processing", "finished"),
    ("pending", "canceled"), ("queuing", "canceled"), ("processing", "stopping"),
    ("stopping", "canceled"), ("queuing", "pending"), ("processing", "pending"),
    ("pending", "failed"), ("queuing", "failed"), ("processing", "failed"),
}  # fmt: skip


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("status", Status)
def test_every_session_status_with_every_event(status: Status, event: Event) -> None:
    walk(TRANSITIONS, status, event)


@pytest.mark.parametrize("event", SubEvent)
@pytest.mark.parametrize("status", SubStatus)
def test_every_part_status_with_every_event(status: SubStatus, event: SubEvent) -> None:
    walk(SUB_TRANSITIONS, status, event)


def walk(
    table: Mapping[lifecycle.S, Mapping[lifecycle.E, lifecycle.S]],
    status: lifecycle.S,
    event: lifecycle.E,
) -> None:
    if (to := table[status].get(event)) is not None:
        assert lifecycle.advance(table, status, event) is to
    else:
        with pytest.raises(IllegalTransitionError, match=f"{event.value!r}.*{status.value!r}"):
            lifecycle.advance(table, status, event)


def test_a_session_moves_only_as_the_contract_says() -> None:
    arrows = {(f.value, t.value) for f, row in TRANSITIONS.items() for t in row.values()}
    assert arrows == ARROWS


def test_both_tables_know_every_status() -> None:
    assert TRANSITIONS.keys() == set(Status)
    assert SUB_TRANSITIONS.keys() == set(SubStatus)


def test_nothing_leads_out_of_a_terminal_status() -> None:
    assert {Status.FINISHED, Status.FAILED, Status.CANCELED} == TERMINAL
    assert not any(TRANSITIONS[status] for status in TERMINAL)


def test_an_ended_part_only_begins_again_with_its_session() -> None:
    for status in SUB_ENDED:
        assert set(SUB_TRANSITIONS[status]) <= {SubEvent.REQUEUED}


def test_every_status_can_be_reached_and_left() -> None:
    seen, todo = set(), [Status.PENDING]
    while todo:
        status = todo.pop()
        if status not in seen:
            seen.add(status)
            todo += TRANSITIONS[status].values()
    assert seen == set(Status)
    for status in set(Status) - TERMINAL:
        assert TRANSITIONS[status]
