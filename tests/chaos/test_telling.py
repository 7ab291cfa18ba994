"""The oracle of webhooks finds what it is there for."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from apps.sessions.outbox import Watching
from apps.sessions.store import Entry
from blueengine.wire.webhook import SESSION_CHANGED, Webhook
from tests.chaos.listening import Heard
from tests.chaos.telling import Hook, content_faults, delivery_faults
from tests.kit.hooks import Received

SESSION = "session-process-workflow-0-1-" + "x" * 21
HOOK = Webhook(url="http://127.0.0.1:1/", receiver="127.0.0.1:1", types=("*",))
TOLD = Watching(
    webhook=HOOK, told=3, waiting=0, delivered=3, dead=0, dropped=0, deliveries=()
)  # fmt: skip
STATUSES = ("pending", "processing", "finished")


def heard(number: int, *, signed: bool = True, answered: bool = True, body: bytes = b"{}") -> Heard:
    name = f"evt_{'x' * 21}_0_{number}"
    return Heard(Received("/in", {"webhook-id": name}, body), signed, answered)


def wrong(came: list[Heard], told: Watching = TOLD) -> str:
    return "; ".join(delivery_faults(SESSION, 0, told, came))


def test_nothing_is_wrong_with_events_in_order_some_of_them_again() -> None:
    came = [heard(1), heard(2, answered=False), heard(2), heard(3), heard(2)]
    assert wrong(came) == ""


@pytest.mark.parametrize(
    ("came", "complaint"),
    [
        ([heard(1), heard(2)], "never taken"),
        ([heard(1), heard(2), heard(3, answered=False)], "never taken"),
        ([heard(1), heard(3), heard(2)], "came before"),
        ([heard(1), heard(2, answered=False), heard(3), heard(2)], "came before"),
        ([heard(1), heard(2), heard(3, signed=False)], "without a valid signature"),
        ([heard(1), heard(2), heard(2, body=b"[]"), heard(3)], "another body"),
        ([heard(1), heard(2), heard(3), heard(4)], "never there"),
    ],
)
def test_what_is_wrong_with_deliveries_is_found(came: list[Heard], complaint: str) -> None:
    assert complaint in wrong(came)


@pytest.mark.parametrize(
    "changes", [{"dead": 1, "delivered": 2}, {"waiting": 1, "delivered": 2}, {"dropped": 1}]
)
def test_what_the_platform_gave_up_is_found(changes: dict[str, Any]) -> None:
    assert "is (3, " in wrong([heard(1), heard(2), heard(3)], replace(TOLD, **changes))


def events(*statuses: str, **more: Any) -> list[dict[str, Any]]:
    return [
        {"sessionId": SESSION, "type": SESSION_CHANGED, "status": status, "data": {}, **more}
        for status in statuses
    ]


def differs(told: list[dict[str, Any]], hook: Hook, results: dict[str, list[Any]]) -> str:
    entries = [
        Entry(id=f"{at}-0.0", at=at, attempt=1, fields={"k": "session", "st": status})
        for at, status in enumerate(STATUSES)
    ]
    said = {"k": "notice", "n": "a", "type": "said", "body": orjson.dumps({"n": 1}).decode()}
    history = [*entries[:2], Entry(id="9-0.0", at=9, attempt=1, fields=said), entries[2]]
    return "; ".join(content_faults(SESSION, hook, told, history, results))


def test_what_it_was_told_is_compared_with_what_happened() -> None:
    hook = Hook(receiver=0, types=(SESSION_CHANGED,))
    assert differs(events(*STATUSES), hook, {}) == ""
    assert "was told" in differs(events("pending", "finished"), hook, {})
    assert "the last status" in differs(events("pending", "processing"), hook, {})
    assert "nobody asked" in differs([*events(*STATUSES), *events("x", type="said")], hook, {})
    assert "an event of" in differs(events(*STATUSES, sessionId="other"), hook, {})


def test_what_engines_said_must_come() -> None:
    hook = Hook(receiver=0)
    said = events("processing", type="said", data={"n": 1})
    assert differs([*events(*STATUSES), *said], hook, {}) == ""
    assert "said was" in differs(events(*STATUSES), hook, {})


def test_the_last_event_shows_the_results() -> None:
    hook = Hook(receiver=0, types=(SESSION_CHANGED,), results="Out")
    for shown, more, complaint in (
        ([1, 2], {}, ""),
        ([1], {"more": {"Out": "…"}}, ""),
        ([1], {}, "shown 1 results of 2"),
        ([2, 1], {}, "shown 2 results of 2"),
    ):
        told = [
            *events("pending", "processing"),
            *events("finished", results={"Out": shown}, **more),
        ]
        assert complaint in differs(told, hook, {"Out": [1, 2]})
        assert bool(complaint) == bool(differs(told, hook, {"Out": [1, 2]}))
