"""The oracle of webhooks: each event at least once, in order, signed, and nothing else."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from apps.sessions.outbox import Outbox, Watching
from apps.sessions.store import Entry, SessionStore
from blueengine.wire.lifecycle import SUB_ENDED, TERMINAL
from blueengine.wire.webhook import ALL, PART_CHANGED, SESSION_CHANGED
from tests.chaos.listening import Heard

END: Final = ("finish", "error")


@dataclass(frozen=True, kw_only=True)
class Hook:
    """A webhook as it is asked for."""

    receiver: int
    types: tuple[str, ...] = (ALL,)
    results: str = ""

    def body(self, url: str) -> dict[str, Any]:
        """Return it for a request."""
        asked: dict[str, Any] = {"callbackUrl": url, "statusTypes": list(self.types)}
        return asked | ({"resultChan": self.results} if self.results else {})

    def wants(self, kind: str) -> bool:
        return ALL in self.types or kind in self.types


async def whole_history(store: SessionStore, session: str) -> list[Entry]:
    """Return all of a session's history, which may be read in pieces only."""
    found: list[Entry] = []
    while more := await store.history(session, after=found[-1].id if found else ""):
        found += more
    return found


async def complaints(
    outbox: Outbox,
    session: str,
    hooks: Sequence[Hook],
    heard: Sequence[Sequence[Heard]],
    *,
    history: Sequence[Entry],
    results: dict[str, list[Any]],
) -> list[str]:
    """Return what is wrong with what the webhooks of a session were told.

    Args:
        outbox: What the platform believes to have told.
        session: Which has ended.
        hooks: As the client asked for them.
        heard: For each, what its receiver has heard of this session.
        history: All of the session's.
        results: Of the session, those in which each value stands as it is.
    """
    watching = await outbox.watching(session, len(hooks), last=0)
    if len(watching) != len(hooks):
        return [f"has {len(watching)} of {len(hooks)} webhooks"]
    found: list[str] = []
    for number, (hook, told, came) in enumerate(zip(hooks, watching, heard, strict=True)):
        wrong = [
            *delivery_faults(session, number, told, came),
            *content_faults(session, hook, _first_times(came), history, results),
        ]
        found += [f"webhook {number} {hook.types}: {fault}" for fault in wrong]
    return found


def _first_times(came: Iterable[Heard]) -> list[dict[str, Any]]:
    bodies: dict[str, dict[str, Any]] = {}
    for heard in came:
        bodies.setdefault(heard.received.id, heard.received.body)
    return list(bodies.values())


def delivery_faults(
    session: str, number: int, told: Watching, came: Sequence[Heard]
) -> Iterator[str]:
    """Say what was lost, came in the wrong order, changed on its way, or was given up."""
    counts = (told.told, told.delivered, told.waiting, told.dead, told.dropped)
    if counts != (told.told, told.told, 0, 0, 0):
        yield f"(told, delivered, waiting, dead, dropped) is {counts}"
    ids = [f"evt_{session[-21:]}_{number}_{at}" for at in range(1, told.told + 1)]
    earlier = dict(itertools.pairwise(reversed(ids)))
    bodies: dict[str, bytes] = {}
    taken: set[str] = set()
    for heard in came:
        name = heard.received.id
        if not heard.signed:
            yield f"{name} came without a valid signature"
        if bodies.setdefault(name, heard.received.raw) != heard.received.raw:
            yield f"{name} came again with another body"
        before = earlier.get(name, "")
        if before and before not in taken:
            yield f"{name} came before {before} was taken"
        if heard.answered:
            taken.add(name)
    if strange := bodies.keys() - set(ids):
        yield f"events came that were never there: {sorted(strange)}"
    if lost := [name for name in ids if name not in taken]:
        yield f"events were never taken: {lost}"


def content_faults(
    session: str,
    hook: Hook,
    events: Sequence[dict[str, Any]],
    history: Sequence[Entry],
    results: dict[str, list[Any]],
) -> Iterator[str]:
    """Say where the events differ from what has happened by the session's own history."""
    for event in events:
        if event["sessionId"] != session:
            yield f"an event of {event['sessionId']} came"
        if not hook.wants(event["type"]):
            yield f"nobody asked for {event['type']}"
    happened, told = _by_history(history), _by_events(events)
    for kind in filter(hook.wants, happened.keys() | told.keys()):
        was, got = happened.get(kind, []), told.get(kind, [])
        # the end of a part that was told to end is no line of the history
        if not _has_in_order(got, was) if kind == PART_CHANGED else got != was:
            yield f"{kind} was {was}, it was told {got}"
    changes = [event for event in events if event["type"] == SESSION_CHANGED]
    if hook.wants(SESSION_CHANGED):
        yield from _last_faults(changes[-1] if changes else {}, hook, results)


def _has_in_order(told: Iterable[Any], wanted: Iterable[Any]) -> bool:
    """Whether all that is wanted was told in that order, perhaps with more between."""
    rest = iter(told)
    return all(one in rest for one in wanted)


def _by_history(history: Sequence[Entry]) -> dict[str, list[Any]]:
    """Return what has happened, by type.

    Of parts it knows their ends; that these are said by ``finish`` or ``error``, too, is not there.
    """
    found: dict[str, list[Any]] = {}
    for fields in (entry.fields for entry in history):
        match fields["k"]:
            case "session":
                found.setdefault(SESSION_CHANGED, []).append(fields["st"])
            case "part" if fields["st"] in SUB_ENDED:
                found.setdefault(PART_CHANGED, []).append((fields["n"], fields["st"]))
            case "notice" if fields["type"] not in END:
                found.setdefault(fields["type"], []).append(orjson.loads(fields["body"]))
    return found


def _by_events(events: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for event in events:
        kind = event["type"]
        if kind == SESSION_CHANGED:
            found.setdefault(kind, []).append(event["status"])
        elif kind == PART_CHANGED:
            if event["status"] in SUB_ENDED:
                part = (event["data"]["name"], event["status"])
                found.setdefault(kind, []).append(part)
        elif kind not in END:
            found.setdefault(kind, []).append(event["data"])
    return found


def _last_faults(last: dict[str, Any], hook: Hook, results: dict[str, list[Any]]) -> Iterator[str]:
    """Say what is wrong with the last change of the session, which comes with its results."""
    status = last.get("status", "")
    if status not in TERMINAL:
        yield f"the last status it was told is {status!r}"
    elif hook.results in results and status == "finished":
        shown, whole = last["results"][hook.results], results[hook.results]
        if shown != whole[: len(shown)] or (len(shown) < len(whole) and "more" not in last):
            yield f"it was shown {len(shown)} results of {len(whole)}: {shown[:2]}"
