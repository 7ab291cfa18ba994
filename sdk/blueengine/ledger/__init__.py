"""The ledger: sessions, slots and queues in Redis, changed by one atomic script per step.

``lua/`` holds the scripts; their heads say what they promise. This module puts them together: the
shared parts a script includes (``lua/lib``), then the script, with the key names and status tables
of ``blueengine.wire`` filled in. ``instance.py`` is what an engine instance may do; what
the services may do is ``apps.sessions.store``.

Scripts that engines run (ready, output, close, …) act at once and need no service to be up:
a session whose engines are picked runs to its end with nobody watching.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from blueengine.kit.redis_link import Script
from blueengine.wire import lifecycle, names

_SCRIPTS: Final = Path(__file__).with_name("lua")
_INCLUDE: Final = re.compile(r"-- include: (.+)")
_FUNCTION: Final = re.compile(
    r"^local function (\w+)\((?:[^\n]* end\n|[^\n]*\n.*?^end\n)", re.MULTILINE | re.DOTALL
)
_NAME: Final = re.compile(r"\bK\.(\w+)\(([^()]*)\)")
_ROWS: Final = re.compile(r"^ *-- arrows: (\w+)$", re.MULTILINE)
_TERMINAL: Final = re.compile(r"\bTERMINAL\(([\w.]+)\)")
_CALL: Final = re.compile(r"(?<![\w.:])(\w+)(?=\()")
_SELDOM: Final = re.compile(r".*-- seldom\n")
_COMMENT: Final = re.compile(r"--.*")


def _arrows(table: Mapping[lifecycle.S, Mapping[lifecycle.E, lifecycle.S]]) -> str:
    """Return a status table as comparisons: a Lua table would be built anew at each call."""
    lines = list[str]()
    for status, row in table.items():
        if row:
            lines.append(f"  if from == '{status}' then")
            lines += [
                f"    if what == '{event}' then return '{to}' end" for event, to in row.items()
            ]
            lines += ["    return nil", "  end"]
    return "\n".join(lines)


_TABLES: Final = {
    "TRANSITIONS": _arrows(lifecycle.TRANSITIONS),
    "SUB_TRANSITIONS": _arrows(lifecycle.SUB_TRANSITIONS),
}
_STATUSES: Final = ", ".join(f"'{status}'" for status in lifecycle.Status)


def _is_terminal(status: re.Match[str]) -> str:
    """Return the Lua expression of what a script writes as ``TERMINAL(status)``."""
    tests = (f"{status[1]} == '{st}'" for st in lifecycle.Status if st in lifecycle.TERMINAL)
    return f"({' or '.join(tests)})"


def _spell(name: re.Match[str]) -> str:
    """Return the Lua expression of a key that a script writes as ``K.name(argument, …)``."""
    first, *texts = names.TEMPLATES[name[1]].split("{}")
    arguments = [argument.strip() for argument in name[2].split(",") if argument.strip()]
    pairs = zip(arguments, texts, strict=True)
    rest = (f" .. {value}" + (f" .. {text!r}" if text else "") for value, text in pairs)
    return f"({first!r}{''.join(rest)})"


class _Piece(NamedTuple):
    """A function of a script, or what is between two."""

    function: str
    seldom: bool
    text: str
    calls: frozenset[str]


def _piece(function: str, text: str) -> _Piece:
    calls = frozenset(_CALL.findall(_COMMENT.sub("", text)))
    seldom = function != "" and _SELDOM.match(text) is not None
    text = _ROWS.sub(lambda rows: _TABLES[rows[1]], text)
    text = _TERMINAL.sub(_is_terminal, _NAME.sub(_spell, text))
    return _Piece(function, seldom, text, calls)


@cache
def _pieces(part: str) -> Sequence[_Piece]:
    """Cut a part of a script; most parts are included by several."""
    pieces, at = [], 0
    for function in _FUNCTION.finditer(part):
        pieces += [_piece("", part[at : function.start()]), _piece(function[1], function[0])]
        at = function.end()
    return [*pieces, _piece("", part[at:])]


def _reached(pieces: Iterable[_Piece], calls: Iterable[str]) -> set[str]:
    """Return the names of the functions that these calls come to."""
    functions = {piece.function: piece for piece in pieces}
    found = set[str]()
    while names := {call for call in calls if call in functions} - found:
        found |= names
        calls = {call for name in names for call in functions[name].calls}
    return found


def _made_later(pieces: Sequence[_Piece], wanted: Collection[str]) -> str:
    """Return the function that makes functions a script seldom needs, once it needs one of them."""
    text = "".join(piece.text for piece in pieces)
    made = ", ".join(f"{p.function} = {p.function}" for p in pieces if p.function in wanted)
    return (
        f"later = function()\n{text}\nlocal made = {{{made}}}\n"
        "later = function() return made end\nreturn made\nend\n"
    )


def render(*parts: str) -> str:
    """Return a script with its key names and status tables spelled out.

    Redis makes every function anew at each call. So those that are never come to are left out, and
    those whose first line ends with ``-- seldom`` are made, with what they alone need, when the
    first of them is called.
    """
    *libs, body = [_pieces(part) for part in parts]
    pieces = [piece for lib in libs for piece in lib]
    at_once = [piece for piece in pieces if not piece.seldom]
    calls = {call for piece in (*pieces, *body) if not piece.function for call in piece.calls}
    calls |= {call for piece in body for call in piece.calls}
    now = _reached(at_once, calls)
    calls |= {call for piece in at_once if piece.function in now for call in piece.calls}
    wanted = {piece.function for piece in pieces if piece.seldom} & calls
    late = _reached(pieces, wanted) - now
    ask = re.compile(rf"(?<![\w.:])({'|'.join(sorted(wanted)) or '(?!)'})(?=\()")
    kept = [piece.text for piece in pieces if not piece.function or piece.function in now]
    text = [ask.sub(r"later().\1", part) for part in (*kept, *(piece.text for piece in body))]
    if late:
        text.insert(len(kept), _made_later([p for p in pieces if p.function in late], wanted))
        text.insert(0, "local later\n")
    if any("STATUSES" in part for part in text):
        text.insert(0, f"local STATUSES = {{{_STATUSES}}}\n")
    return "".join(text)


@cache
def _part(name: str) -> str:
    return (_SCRIPTS / "lib" / f"{name}.lua").read_text()


def _gather(body: str, found: dict[str, str]) -> dict[str, str]:
    """Add the parts that ``body`` includes to ``found``, each behind those it includes itself."""
    names = _INCLUDE.search(body)
    for name in names[1].split() if names else ():
        if name not in found:
            text = _part(name)
            _gather(text, found)
            found[name] = text
    return found


@cache
def load(*wanted: str) -> Mapping[str, Script]:
    """Return the scripts of these names (all when none is given), ready to be sent to Redis."""
    scripts = {}
    for name in wanted or sorted(path.stem for path in _SCRIPTS.glob("*.lua")):
        body = (_SCRIPTS / f"{name}.lua").read_text()
        scripts[name] = Script(name, render(*_gather(body, {}).values(), body))
    return scripts
