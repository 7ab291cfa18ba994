"""The rendered Lua walks the status tables exactly as Python does."""

from collections.abc import Mapping
from importlib.resources import files

from blueengine import ledger
from blueengine.errors import IllegalTransitionError
from blueengine.kit.redis_link import Link
from blueengine.wire import lifecycle
from blueengine.wire.lifecycle import (
    SUB_TRANSITIONS,
    TERMINAL,
    TRANSITIONS,
    Event,
    Status,
    SubEvent,
    SubStatus,
)

_LIBS = "\n".join(
    (files(ledger) / "lua" / "lib" / f"{name}.lua").read_text() for name in ("base", "session")
)
_WALK = """
local S = {id = 's', st = ARGV[2], fields = {['n:st'] = ARGV[2]}, dirty = {}, history = {}}
if ARGV[1] == 'session' then
  local ended = terminal(S)
  local moved = advance(S, ARGV[3])
  return {moved and 1 or 0, S.st, #S.history, ended and 1 or 0}
end
local to = sub_advance(S, 'n', ARGV[3])
return {to and 1 or 0, to or S.fields['n:st'], #S.dirty, 0}
"""


async def test_every_session_status_with_every_event(every_link: Link) -> None:
    for status in Status:
        for event in Event:
            moved, to, told, ended = await walk(every_link, "session", status, event)
            assert (bool(moved), to.decode()) == expected(TRANSITIONS, status, event)
            assert bool(told) == bool(moved), "a move is history, a refused one is not"
            assert bool(ended) == (status in TERMINAL)


async def test_every_part_status_with_every_event(every_link: Link) -> None:
    for status in SubStatus:
        for event in SubEvent:
            moved, to, _, _ = await walk(every_link, "part", status, event)
            assert (bool(moved), to.decode()) == expected(SUB_TRANSITIONS, status, event)


async def walk(link: Link, kind: str, status: str, event: str) -> tuple[int, bytes, int, int]:
    script = ledger.render(_LIBS, _WALK)
    reply: tuple[int, bytes, int, int] = await link.send("EVAL", script, 0, kind, status, event)
    return reply


def expected(
    table: Mapping[lifecycle.S, Mapping[lifecycle.E, lifecycle.S]],
    status: lifecycle.S,
    event: lifecycle.E,
) -> tuple[bool, str]:
    try:
        return True, lifecycle.advance(table, status, event).value
    except IllegalTransitionError:
        return False, status.value
