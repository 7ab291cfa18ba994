"""The table of rules: no route without one, and nothing slips past it."""

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import compile_path

from apps.restful.api.rules import RULES, RuleMissingError, Rules, check
from blueengine.wire.access import Scope

PATHS = sorted({path for _, path in RULES})
WORDS = st.text(alphabet="abz019._-~%\n\r /\\:;{}é", max_size=12)


def an_app(*paths: str) -> list[object]:
    app = FastAPI(openapi_url=None)
    for path in paths:
        app.add_api_route(path, lambda: None, methods=["GET"])
    return list(iter_route_contexts(app.routes))


def test_a_route_without_a_rule_is_named() -> None:
    rules = {("GET", "/a"): RULES["GET", "/metrics"]}
    check(an_app("/a"), rules)
    with pytest.raises(RuleMissingError, match="who may use GET /b; add a line"):
        check(an_app("/a", "/b"), rules)
    with pytest.raises(RuleMissingError, match="no route for GET /a"):
        check(an_app(), rules)


def test_a_websocket_needs_a_rule_too() -> None:
    app = FastAPI(openapi_url=None)
    app.add_api_websocket_route("/live", lambda: None)
    with pytest.raises(RuleMissingError, match="WS /live"):
        check(iter_route_contexts(app.routes), {})


def test_a_request_finds_its_rule_and_session() -> None:
    rules = Rules()
    found = rules.find("GET", "/api/v1/sessions/session-x/results/Out/3/blob")
    assert found
    assert (found.path, found.session) == (
        "/api/v1/sessions/{session_id}/results/{channel}/{index}/blob",
        "session-x",
    )
    assert found.rule.scope is Scope.READ
    assert rules.find("POST", "/api/v1/sessions/session-x/stop").session == "session-x"  # type: ignore[union-attr]
    assert rules.find("GET", "/api/v1/files/session-x").session == ""  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/metrics\n"),
        ("GET", "/metrics/"),
        ("GET", "//metrics"),
        ("GET", "/METRICS"),
        ("GET", "/api/v1/sessions/"),
        ("GET", "/api/v1/sessions/a/b"),
        ("GET", "/api/v1/sessions/../keys"),
        ("DELETE", "/api/v1/sessions/a"),
        ("HEAD", "/metrics"),
        ("", ""),
    ],
)
def test_what_is_not_in_the_table_has_no_rule(method: str, path: str) -> None:
    assert Rules().find(method, path) is None


@given(path=st.sampled_from(PATHS), words=st.lists(WORDS, min_size=4, max_size=4), end=WORDS)
def test_whatever_a_router_would_route_has_the_rule_of_that_route_or_none(
    path: str, words: list[str], end: str
) -> None:
    """The router takes the first route that matches; the rule must be that route's."""
    made = path
    for name, word in zip(("session_id", "channel", "index", "key_id"), words, strict=True):
        made = made.replace(f"{{{name}}}", word)
    made += end
    rules = Rules()
    for method in ("GET", "POST", "DELETE"):
        found = rules.find(method, made)
        routed = [p for m, p in RULES if m == method and compile_path(p)[0].match(made)]
        if found is not None:
            assert routed[0] == found.path


def test_methods_of_a_path_are_told() -> None:
    assert Rules().methods("/api/v1/keys/abc") == ["DELETE", "GET"]
    assert Rules().methods("/nothing") == []
