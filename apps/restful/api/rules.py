"""Which key may do what: one line for each route, and no route without a line.

A gateway with a route that is not in the table does not start, and a request whose path and method
are not in it is never routed (see ``door``). A route with ``{session_id}`` in its path is only for
who sees that session; others are told that there is none.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from starlette.routing import compile_path

from blueengine.errors import BlueEngineError
from blueengine.wire.access import Scope

WEBSOCKET: Final = "WS"
"""Stands for the method of a WebSocket's route."""
SESSION: Final = "session_id"
"""The path parameter that names a session, in every route that has one."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may use a route."""

    scope: Scope | None = None
    """What the key must be for; None: anybody may, without a key."""
    operator: bool = False
    """Only keys of the operator's tenant."""
    writes: bool = False
    """It changes something, so that its use goes into the audit log."""


PUBLIC: Final = Rule()
SUBMIT: Final = Rule(Scope.SUBMIT, writes=True)
READ: Final = Rule(Scope.READ)
ADMIN: Final = Rule(Scope.ADMIN)
CHANGE_KEYS: Final = Rule(Scope.ADMIN, writes=True)
OPERATE: Final = Rule(Scope.ADMIN, operator=True, writes=True)

_API: Final = "/api/v1"

RULES: Final[Mapping[tuple[str, str], Rule]] = {
    ("GET", "/healthz"): PUBLIC,
    ("GET", "/readyz"): PUBLIC,
    ("GET", "/openapi.json"): PUBLIC,
    ("GET", "/docs"): PUBLIC,
    ("GET", "/docs/oauth2-redirect"): PUBLIC,
    ("GET", "/redoc"): PUBLIC,
    ("GET", "/metrics"): Rule(Scope.READ, operator=True),
    ("POST", f"{_API}/process-single-engine"): SUBMIT,
    ("POST", f"{_API}/process-workflow"): SUBMIT,
    ("GET", f"{_API}/process-single-engine/{{session_id}}"): READ,
    ("GET", f"{_API}/process-workflow/{{session_id}}"): READ,
    ("GET", f"{_API}/sessions"): READ,
    ("GET", f"{_API}/sessions/{{session_id}}"): READ,
    ("POST", f"{_API}/sessions/{{session_id}}/stop"): SUBMIT,
    ("GET", f"{_API}/sessions/{{session_id}}/results/{{channel}}"): READ,
    ("GET", f"{_API}/sessions/{{session_id}}/results/{{channel}}/{{index}}/blob"): READ,
    ("GET", f"{_API}/sessions/{{session_id}}/recordings/{{engine}}"): READ,
    ("GET", f"{_API}/sessions/{{session_id}}/recordings/{{engine}}/{{number}}"): READ,
    ("GET", f"{_API}/sessions/{{session_id}}/events"): READ,
    ("GET", f"{_API}/sessions/{{session_id}}/logs"): READ,
    ("POST", f"{_API}/sessions/{{session_id}}/channels/{{name}}"): SUBMIT,
    ("POST", f"{_API}/sessions/{{session_id}}/channels/{{name}}/end"): SUBMIT,
    # what it pushes needs the scope submit, too; a socket is one line of the audit log, at its end
    (WEBSOCKET, f"{_API}/sessions/{{session_id}}/ws"): Rule(Scope.READ, writes=True),
    ("GET", f"{_API}/engines"): READ,
    ("GET", f"{_API}/engines/{{engine_id}}"): READ,
    ("POST", f"{_API}/files"): SUBMIT,
    ("PUT", f"{_API}/files/{{file_id}}"): SUBMIT,
    ("GET", f"{_API}/files/{{file_id}}/upload"): READ,
    ("GET", f"{_API}/files/{{file_id}}"): READ,
    ("GET", f"{_API}/stats"): READ,
    ("GET", f"{_API}/webhooks"): READ,
    ("GET", f"{_API}/webhooks/secret"): ADMIN,
    ("POST", f"{_API}/webhooks/secret/rotate"): CHANGE_KEYS,
    ("GET", f"{_API}/webhooks/{{delivery_id}}"): READ,
    ("POST", f"{_API}/webhooks/{{delivery_id}}/redeliver"): SUBMIT,
    ("GET", f"{_API}/keys"): ADMIN,
    ("POST", f"{_API}/keys"): CHANGE_KEYS,
    ("GET", f"{_API}/keys/{{key_id}}"): ADMIN,
    ("DELETE", f"{_API}/keys/{{key_id}}"): CHANGE_KEYS,
    ("GET", f"{_API}/tenants"): Rule(Scope.ADMIN, operator=True),
    ("GET", f"{_API}/tenants/{{tenant}}"): READ,
    ("PUT", f"{_API}/tenants/{{tenant}}"): OPERATE,
}
"""(method, path) -> rule."""


class RuleMissingError(BlueEngineError):
    """A route has no rule, or a rule no route."""

    code = "rule-missing"


class Found(NamedTuple):
    """The rule of a request."""

    rule: Rule
    path: str
    """As the route has it, with its parameters' names."""
    session: str
    """Whose session it is about; empty: none's."""


class Rules:
    """The table, made for looking up."""

    def __init__(self, rules: Mapping[tuple[str, str], Rule] = RULES) -> None:
        """Take a table."""
        self._fixed: dict[tuple[str, str], Found] = {}
        self._paths: dict[str, dict[str, Found]] = {}
        for (method, path), rule in rules.items():
            found = Found(rule, path, "")
            self._paths.setdefault(path, {})[method] = found
            if "{" not in path:
                self._fixed[method, path] = found
        patterns = []
        self._with_session: dict[str, str] = {}
        self._templates: dict[str, str] = {}
        for number, path in enumerate(path for path in self._paths if "{" in path):
            text = compile_path(path)[0].pattern.removeprefix("^").removesuffix("$")
            self._templates[f"r{number}"] = path
            patterns.append(f"(?P<r{number}>{_renamed(text, number)})")
            if f"{{{SESSION}}}" in path:
                self._with_session[f"r{number}"] = f"r{number}_{SESSION}"
        self._pattern = re.compile("|".join(patterns))

    def find(self, method: str, path: str) -> Found | None:
        """Return the rule of a request; None when no route is for it."""
        found = self._fixed.get((method, path))
        if found is not None:
            return found
        match = self._pattern.fullmatch(path)
        if match is None:
            return None
        # the outer group closes last, so it is what `lastgroup` names
        group = str(match.lastgroup)
        found = self._paths[self._templates[group]].get(method)
        if found is not None and group in self._with_session:
            return found._replace(session=match[self._with_session[group]])
        return found

    def methods(self, path: str) -> list[str]:
        """Return the methods that a path has rules for."""
        return sorted(
            method
            for method in {method for methods in self._paths.values() for method in methods}
            if self.find(method, path) is not None
        )


def _renamed(pattern: str, number: int) -> str:
    """Return a pattern with group names that no other pattern has."""
    return re.sub(r"\(\?P<(\w+)>", rf"(?P<r{number}_\1>", pattern)


def check(routes: Iterable[Any], rules: Mapping[tuple[str, str], Rule] = RULES) -> None:
    """See that routes and rules are the same.

    Raises:
        RuleMissingError: They are not; the message names them.
    """
    there = set()
    for route in routes:
        methods = set(route.methods or {WEBSOCKET})
        there |= {(method, route.path) for method in methods - {"HEAD"}}
    without = sorted(there - set(rules))
    if without:
        named = ", ".join(f"{method} {path}" for method, path in without)
        raise RuleMissingError(
            f"no rule says who may use {named}; add a line to RULES in {__name__.replace('.', '/')}.py"
        )
    gone = sorted(set(rules) - there)
    if gone:
        named = ", ".join(f"{method} {path}" for method, path in gone)
        raise RuleMissingError(f"there is a rule and no route for {named}")
