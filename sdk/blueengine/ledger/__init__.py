"""The ledger: sessions, slots and queues in Redis, changed by one atomic script per step.

``lua/`` holds the scripts; their heads say what they promise. This module puts them together: the
shared parts a script includes (``lua/lib``), then the script, with the key names and status tables
of ``blueengine.wire`` filled in. ``instance.py`` is what an engine instance may do; what
the services may do is ``apps.sessions.store``.

Scripts that engines run (ready, output, close, …) act at once and need no service to be up:
a session whose engines are picked runs to its end with nobody watching.
"""

import re
from collections import Counter
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from blueengine.kit.redis_link import Script
from blueengine.wire import lifecycle, names

_INCLUDE: Final = re.compile(r"^-- include: (.+)$", re.MULTILINE)
_LATER: Final = re.compile(r"^-- include later: (.+)$", re.MULTILINE)
_FUNCTION: Final = re.compile(
    r"^local function (\w+)\((?:[^\n]* end\n|[^\n]*\n.*?^end\n)", re.MULTILINE | re.DOTALL
)
_NAME: Final = re.compile(r"\bK\.(\w+)\(([^()]*)\)")


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


def _needed(text: str) -> str:
    """Return a script without the included functions it never comes to.

    Redis makes every function of a script anew at each call, needed or not.
    """
    while True:
        words = Counter(re.findall(r"\w+", re.sub(r"--.*", "", text)))
        unused = [f for f in _FUNCTION.finditer(text) if words[f[1]] == 1]
        if not unused:
            return text
        for function in reversed(unused):
            text = text[: function.start()] + text[function.end() :]


def _made_later(text: str) -> str:
    """Return functions a script seldom needs as one, ``later``, which makes and returns them."""
    made = ", ".join(f"{function[1]} = {function[1]}" for function in _FUNCTION.finditer(text))
    return f"local function later()\n{text}\nreturn {{{made}}}\n end\n"


def render(text: str) -> str:
    """Return a script with its key names spelled out and the status tables it mentions before it."""
    text = _needed(text)
    tables = [
        f"local {n} = {value!r}" for n, value in _TABLES.items() if re.search(rf"\b{n}\b", text)
    ]
    return "\n".join([*tables, _NAME.sub(_spell, text)])


def _gather(
    library: Traversable, pattern: re.Pattern[str], body: str, found: dict[str, str]
) -> dict[str, str]:
    """Add the parts that ``body`` includes to ``found``, each behind those it includes itself."""
    names = pattern.search(body)
    for name in names[1].split() if names else ():
        if name not in found:
            text = (library / f"{name}.lua").read_text()
            _gather(library, _INCLUDE, text, found)
            found[name] = text
    return found


@cache
def load(*wanted: str) -> Mapping[str, Script]:
    """Return the scripts of these names (all when none is given), ready to be sent to Redis."""
    folder = files(__name__) / "lua"
    available = sorted(item.name[:-4] for item in folder.iterdir() if item.name.endswith(".lua"))

    def parts(pattern: re.Pattern[str], body: str) -> str:
        return "\n".join(_gather(folder / "lib", pattern, body, {}).values())

    scripts = {}
    for name in wanted or available:
        body = (folder / f"{name}.lua").read_text()
        later = parts(_LATER, body)
        text = [parts(_INCLUDE, body), _made_later(later) if later else "", body]
        scripts[name] = Script(name, render("\n".join(text)))
    return scripts
