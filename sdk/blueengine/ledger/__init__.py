"""The ledger: sessions, slots and queues in Redis, changed by one atomic script per step.

``lua/`` holds the scripts; their heads say what they promise. This module puts them together: the
shared parts a script includes (``lua/lib``), then the script, with the key names and status tables
of ``blueengine.wire`` filled in. ``instance.py`` is what an engine instance may do; what
the services may do is ``apps.sessions.store``.

Scripts that engines run (ready, output, close, …) act at once and need no service to be up:
a session whose engines are picked runs to its end with nobody watching.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from blueengine.kit.redis_link import Script
from blueengine.wire import lifecycle, names

_SCRIPTS: Final = Path(__file__).with_name("lua")
_INCLUDE: Final = re.compile(r"-- include: (.+)")
_LATER: Final = re.compile(r"-- include later: (.+)")
_FUNCTION: Final = re.compile(
    r"^local function (\w+)\((?:[^\n]* end\n|[^\n]*\n.*?^end\n)", re.MULTILINE | re.DOTALL
)
_NAME: Final = re.compile(r"\bK\.(\w+)\(([^()]*)\)")
_WORD: Final = re.compile(r"\w+")
_COMMENT: Final = re.compile(r"--.*")


def _arrows(table: Mapping[lifecycle.S, Mapping[lifecycle.E, lifecycle.S]]) -> str:
    """Return a status table as text; building a Lua table at each call would cost more."""
    arrows = (f"{st}/{event}={to}" for st, row in table.items() for event, to in row.items())
    return f" {' '.join(arrows)} "


_TABLES: Final = {
    "ARROWS": _arrows(lifecycle.TRANSITIONS),
    "SUB_ARROWS": _arrows(lifecycle.SUB_TRANSITIONS),
}


def _spell(name: re.Match[str]) -> str:
    """Return the Lua expression of a key that a script writes as ``K.name(argument, …)``."""
    first, *rest = names.TEMPLATES[name[1]].split("{}")
    arguments = [argument.strip() for argument in name[2].split(",") if argument.strip()]
    pairs = zip(arguments, rest, strict=True)
    return "(" + repr(first) + "".join(f" .. {value} .. {text!r}" for value, text in pairs) + ")"


class _Piece(NamedTuple):
    """A function of a script, or what is between two."""

    function: str
    text: str
    words: frozenset[str]


def _piece(function: str, text: str) -> _Piece:
    words = frozenset(_WORD.findall(_COMMENT.sub("", text)))
    return _Piece(function, _NAME.sub(_spell, text), words)


@cache
def _pieces(part: str) -> Sequence[_Piece]:
    """Cut a part of a script; most parts are included by several."""
    pieces, at = [], 0
    for function in _FUNCTION.finditer(part):
        pieces += [_piece("", part[at : function.start()]), _piece(function[1], function[0])]
        at = function.end()
    return [*pieces, _piece("", part[at:])]


def _made_later(text: str) -> str:
    """Return functions a script seldom needs as one, ``later``, which makes and returns them."""
    made = ", ".join(f"{function[1]} = {function[1]}" for function in _FUNCTION.finditer(text))
    return f"local function later()\n{text}\nreturn {{{made}}}\n end\n"


def render(*parts: str) -> str:
    """Return a script with its key names spelled out and the status tables it mentions before it.

    Functions it never comes to are left out: Redis makes every function anew at each call.
    """
    pieces = [_pieces(part) for part in parts]
    waiting = [piece for part in pieces for piece in part]
    needed, words = {""}, set[str]()
    while called := [piece for piece in waiting if piece.function in needed]:
        words.update(*(piece.words for piece in called))
        waiting = [piece for piece in waiting if piece.function not in needed]
        needed = {piece.function for piece in waiting} & words
    left_out = {id(piece) for piece in waiting}
    text = ["".join(p.text for p in part if id(p) not in left_out) for part in pieces]
    return "\n".join(
        [*(f"local {n} = {value!r}" for n, value in _TABLES.items() if n in words), *text]
    )


@cache
def _part(name: str) -> str:
    return (_SCRIPTS / "lib" / f"{name}.lua").read_text()


def _gather(pattern: re.Pattern[str], body: str, found: dict[str, str]) -> dict[str, str]:
    """Add the parts that ``body`` includes to ``found``, each behind those it includes itself."""
    names = pattern.search(body)
    for name in names[1].split() if names else ():
        if name not in found:
            text = _part(name)
            _gather(_INCLUDE, text, found)
            found[name] = text
    return found


@cache
def load(*wanted: str) -> Mapping[str, Script]:
    """Return the scripts of these names (all when none is given), ready to be sent to Redis."""
    scripts = {}
    for name in wanted or sorted(path.stem for path in _SCRIPTS.glob("*.lua")):
        body = (_SCRIPTS / f"{name}.lua").read_text()
        later = "\n".join(_gather(_LATER, body, {}).values())
        parts = [*_gather(_INCLUDE, body, {}).values(), _made_later(later) if later else "", body]
        scripts[name] = Script(name, render(*parts))
    return scripts
