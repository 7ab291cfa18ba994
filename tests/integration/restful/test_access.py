"""Who may do what: every route against every kind of key, and keys that come and go."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import httpx
import orjson
import pytest
import websockets
from fastapi.routing import iter_route_contexts

from apps.restful.api import sse
from apps.restful.api.app import build
from apps.restful.settings import RestfulSettings
from blueengine.wire.access import OPERATOR, Scope
from blueengine.wire.webhook import SESSION_CHANGED
from tests.integration.restful.conftest import API, Gateway, an_echo, running
from tests.integration.restful.fake_engine import FakeEngine
from tests.kit.wait import until

# What each route needs, written down a second time: a new route must be thought of here, too.
NEEDS: Final = {
    "GET /healthz": "nothing",
    "GET /readyz": "nothing",
    "GET /openapi.json": "nothing",
    "GET /docs": "nothing",
    "GET /docs/oauth2-redirect": "nothing",
    "GET /redoc": "nothing",
    "GET /metrics": "operator read",
    "POST /api/v1/process-single-engine": "submit",
    "POST /api/v1/process-workflow": "submit",
    "GET /api/v1/process-single-engine/{session_id}": "read",
    "GET /api/v1/process-workflow/{session_id}": "read",
    "GET /api/v1/sessions": "read",
    "GET /api/v1/sessions/{session_id}": "read",
    "GET /api/v1/sessions/{session_id}/logs": "read",
    "POST /api/v1/sessions/{session_id}/stop": "submit",
    "GET /api/v1/sessions/{session_id}/results/{channel}": "read",
    "GET /api/v1/sessions/{session_id}/results/{channel}/{index}/blob": "read",
    "GET /api/v1/sessions/{session_id}/recordings/{engine}": "read",
    "GET /api/v1/sessions/{session_id}/recordings/{engine}/{number}": "read",
    "GET /api/v1/sessions/{session_id}/events": "read",
    "POST /api/v1/sessions/{session_id}/channels/{name}": "submit",
    "POST /api/v1/sessions/{session_id}/channels/{name}/end": "submit",
    "WS /api/v1/sessions/{session_id}/ws": "read",
    "GET /api/v1/engines": "read",
    "GET /api/v1/engines/{engine_id}": "read",
    "POST /api/v1/files": "submit",
    "GET /api/v1/files/{file_id}": "read",
    "PUT /api/v1/files/{file_id}": "submit",
    "GET /api/v1/files/{file_id}/upload": "read",
    "GET /api/v1/stats": "read",
    "GET /api/v1/webhooks": "read",
    "GET /api/v1/webhooks/secret": "admin",
    "POST /api/v1/webhooks/secret/rotate": "admin",
    "GET /api/v1/webhooks/{delivery_id}": "read",
    "POST /api/v1/webhooks/{delivery_id}/redeliver": "submit",
    "GET /api/v1/keys": "admin",
    "POST /api/v1/keys": "admin",
    "GET /api/v1/keys/{key_id}": "admin",
    "DELETE /api/v1/keys/{key_id}": "admin",
    "GET /api/v1/tenants": "operator admin",
    "GET /api/v1/tenants/{tenant}": "read",
    "PUT /api/v1/tenants/{tenant}": "operator admin",
}

OWNED: Final = ("{session_id}", "{file_id}", "{key_id}", "{tenant}", "{delivery_id}")
"""What belongs to a tenant."""

# kind of key -> (tenant, scopes), or None: it is no valid key
KINDS: Final[dict[str, tuple[str, set[Scope]] | None]] = {
    "none": None,
    "garbage": None,
    "unknown": None,
    "expired": None,
    "revoked": None,
    "submit": ("acme", {Scope.SUBMIT}),
    "read": ("acme", {Scope.READ}),
    "both": ("acme", {Scope.SUBMIT, Scope.READ}),
    "admin": ("acme", {Scope.ADMIN}),
    "other's both": ("globex", {Scope.SUBMIT, Scope.READ}),
    "other's admin": ("globex", {Scope.ADMIN}),
    "operator's read": (OPERATOR, {Scope.READ}),
    "operator's admin": (OPERATOR, {Scope.ADMIN}),
}


def expected(route: str, kind: str) -> str:
    """Return what must come of it: ``in``, ``401``, ``403`` or ``404``; from the promises alone."""
    needs = NEEDS[route]
    if needs == "nothing":
        return "in"
    key = KINDS[kind]
    if key is None:
        return "401"
    tenant, scopes = key
    *by, scope = needs.split()
    if scope not in scopes and Scope.ADMIN not in scopes:
        return "403"
    if by and tenant != OPERATOR:
        return "403"
    sees_all = tenant == OPERATOR and Scope.ADMIN in scopes
    if any(name in route for name in OWNED) and not sees_all and tenant != "acme":
        return "404"
    return "in"


@dataclass
class Keyed:
    """A gateway that needs keys, with keys of every kind and things that belong to ``acme``."""

    gateway: Gateway
    audit: Path
    redis_url: str
    keys: dict[str, str]
    things: dict[str, str]

    async def send(self, kind: str, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.keys[kind]}"} if self.keys[kind] else {}
        headers |= more.pop("headers", {})
        return await self.gateway.client.request(method, path, headers=headers, **more)

    def lines(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.audit.read_text().splitlines()]


async def make_keys(gateway: Gateway) -> dict[str, str]:
    store = gateway.parts.keys.store
    keys = {"none": "", "garbage": "Sesame", "unknown": "be_" + "0" * 12 + "_" + "0" * 43}
    for kind, found in KINDS.items():
        tenant, scopes = found or ("acme", {Scope.ADMIN})
        if kind not in keys:
            expires = 1_000_000 if kind == "expired" else 0
            record, keys[kind] = await store.create(tenant=tenant, scopes=scopes, expires=expires)
            if kind == "revoked":
                assert await store.revoke(record.id)
    return keys


@pytest.fixture
def key_settings(settings: RestfulSettings, tmp_path: Path) -> RestfulSettings:
    return replace(settings, auth="on", audit_log=str(tmp_path / "audit.log"))


@pytest.fixture
async def keyed(key_settings: RestfulSettings) -> AsyncIterator[Keyed]:
    async with running(key_settings) as gateway:
        url = key_settings.system.redis_url
        keyed = Keyed(gateway, Path(key_settings.audit_log), url, await make_keys(gateway), {})
        hook = {"callbackUrl": "https://hooks.example.com/in", "statusTypes": [SESSION_CHANGED]}
        body = an_echo(webhooks=[hook])
        answer = await keyed.send("both", "POST", f"{API}/process-single-engine", json=body)
        session = answer.json()["data"]["sessionId"]
        (claim,), _ = await gateway.parts.outbox.claim(
            at_most=1, lease=60, per_receiver=1, rooms={}
        )
        assert await gateway.parts.outbox.settle(claim, "dead", tried={"at": 1}, body=b"{}")
        graph = {"engines": [{"id": "echo"}]}
        answer = await keyed.send("both", "POST", f"{API}/process-workflow", json=graph)
        workflow = answer.json()["data"]["sessionId"]
        for one in (session, workflow):
            await keyed.send("both", "POST", f"{API}/sessions/{one}/stop")
        saved = await keyed.send("both", "POST", f"{API}/files", content=b"x")
        spare, _ = await gateway.parts.keys.store.create(tenant="acme", scopes={Scope.READ})
        keyed.things |= {
            "session_id": session,
            "workflow_id": workflow,
            "file_id": saved.json()["data"]["fileId"],
            "key_id": spare.id,
            "channel": "Result",
            "name": "Control",
            "index": "0",
            "engine": "echo",
            "number": "0",
            "engine_id": "echo",
            "tenant": "acme",
            "delivery_id": claim.event.id,
        }
        yield keyed


def routes_of(gateway: Gateway) -> set[str]:
    found = set()
    for route in iter_route_contexts(build(gateway.parts).routes):
        for method in set(route.methods or {"WS"}) - {"HEAD"}:
            found.add(f"{method} {route.path}")
    return found


async def test_every_route_stands_in_this_table(keyed: Keyed) -> None:
    assert routes_of(keyed.gateway) == NEEDS.keys()


@pytest.mark.parametrize("kind", KINDS)
async def test_every_route_lets_in_whom_it_should(keyed: Keyed, kind: str) -> None:
    wrong = []
    for route in sorted(NEEDS):
        method, path = route.split()
        if "process-workflow" in path:
            path = path.replace("{session_id}", "{workflow_id}")
        path = path.format(**keyed.things)
        if method == "WS":
            outcome = await websocket(keyed, kind, path)
        else:
            body: dict[str, Any] = {"json": {}} if method in {"POST", "PUT"} else {}
            if method == "PUT":  # what a parameter lacks is told before a route looks further
                body["headers"] = {"Content-Range": "bytes 0-1/2"}
            answer = await keyed.send(kind, method, path, **body)
            outcome = outcome_of(answer)
        if outcome != expected(route, kind):
            wrong.append((route, outcome, expected(route, kind)))
    assert not wrong


def outcome_of(answer: httpx.Response) -> str:
    code = answer.status_code
    assert code < 500, answer.text
    if code == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")
    if code == 404 and not any(
        words in answer.text
        for words in (
            "there is no session",
            "there is no file",
            "there is no key",
            "there is no tenant",
            "there is no delivery",
        )
    ):
        return "in"  # it has no result 0, or no engine is there
    return str(code) if code in {401, 403, 404} else "in"


async def websocket(keyed: Keyed, kind: str, path: str) -> str:
    headers = {"X-API-Key": keyed.keys[kind]} if keyed.keys[kind] else {}
    try:
        async with websockets.connect(
            f"ws://127.0.0.1:{keyed.gateway.port}{path}", additional_headers=headers
        ):
            return "in"
    except websockets.InvalidStatus as exc:
        code = exc.response.status_code
        return str(code) if code in {401, 403, 404} else "in"


async def test_what_belongs_to_others_is_as_if_it_were_not_there(keyed: Keyed) -> None:
    """Word by word: the answer for another tenant's session is that for one that never was."""
    session, file = keyed.things["session_id"], keyed.things["file_id"]
    for path in (f"/sessions/{session}", f"/files/{file}", f"/keys/{keyed.things['key_id']}"):
        real = path.rpartition("/")[2]
        made_up = real[:-3] + "abc"
        kind = "other's admin"
        others = await keyed.send(kind, "GET", API + path)
        nobodys = await keyed.send(kind, "GET", (API + path).replace(real, made_up))
        assert others.status_code == nobodys.status_code == 404
        assert others.text.replace(real, "ID") == nobodys.text.replace(made_up, "ID")


async def test_a_tenant_lists_and_counts_its_own_sessions_only(keyed: Keyed) -> None:
    for kind, times in (("both", 2), ("other's both", 3)):
        for _ in range(times):
            await keyed.send(kind, "POST", f"{API}/process-single-engine", json=an_echo())

    async def seen(kind: str, **params: str) -> int:
        answer = await keyed.send(kind, "GET", f"{API}/sessions", params=params)
        return len(answer.json()["data"]["sessions"])

    async def counted(kind: str) -> dict[str, int]:
        data = (await keyed.send(kind, "GET", f"{API}/stats")).json()["data"]
        assert data["totalSessions"] == sum(data["sessions"].values())
        return {status: n for status, n in data["sessions"].items() if n}

    assert [await seen("read"), await seen("other's both"), await seen("operator's admin")] == [
        4,
        3,
        7,
    ]
    assert await seen("operator's read") == 0
    assert [await seen("read", status=word) for word in ("pending", "canceled")] == [2, 2]
    assert [await seen("other's both", status=word) for word in ("pending", "canceled")] == [3, 0]
    assert await counted("read") == {"pending": 2, "canceled": 2}
    assert await counted("other's both") == {"pending": 3}
    assert await counted("operator's admin") == {"pending": 5, "canceled": 2}


async def test_a_list_of_a_tenant_is_paged_without_a_gap(keyed: Keyed) -> None:
    for _ in range(4):
        for kind in ("both", "other's both"):
            await keyed.send(kind, "POST", f"{API}/process-single-engine", json=an_echo())
    found, cursor = [], ""
    while True:
        params = {"limit": "2", "cursor": cursor}
        page = (await keyed.send("both", "GET", f"{API}/sessions", params=params)).json()["data"]
        found += [row["sessionId"] for row in page["sessions"]]
        cursor = page["cursor"]
        if not cursor:
            break
    assert len(found) == len(set(found)) == 6


async def test_two_tenants_may_use_the_same_idempotency_key(keyed: Keyed) -> None:
    async def submit(kind: str) -> str:
        answer = await keyed.send(
            kind,
            "POST",
            f"{API}/process-single-engine",
            json=an_echo(),
            headers={"Idempotency-Key": "one"},
        )
        assert answer.status_code == 202
        session: str = answer.json()["data"]["sessionId"]
        return session

    assert await submit("both") == await submit("both")
    assert await submit("both") != await submit("other's both")


async def test_a_file_of_another_tenant_is_no_start_data(keyed: Keyed) -> None:
    body = an_echo(
        inputs={"Image": {"type": "Image", "payload": {"fileId": keyed.things["file_id"]}}}
    )
    mine = await keyed.send("both", "POST", f"{API}/process-single-engine", json=body)
    assert mine.status_code == 202
    other = await keyed.send("other's both", "POST", f"{API}/process-single-engine", json=body)
    assert other.status_code == 422
    assert other.json()["data"]["errors"][0]["type"] == "unknown-file"


async def test_a_key_is_taken_from_either_header(keyed: Keyed) -> None:
    key, path = keyed.keys["read"], f"{API}/sessions"
    get = keyed.gateway.client.get
    for headers in (
        {"Authorization": f"Bearer {key}"},
        {"authorization": f"bearer  {key}"},
        {"X-API-Key": key},
        {"X-API-Key": key, "Authorization": "Basic abc"},
    ):
        assert (await get(path, headers=headers)).status_code == 200, headers
    for headers in ({"Authorization": key}, {"Authorization": f"Basic {key}"}, {"Cookie": key}):
        assert (await get(path, headers=headers)).status_code == 401, headers
    assert (await get(path, params={"key": key, "api_key": key})).status_code == 401


async def test_revoking_a_key_acts_at_once_at_every_gateway(
    keyed: Keyed, key_settings: RestfulSettings
) -> None:
    path = f"{API}/sessions"
    key = {"Authorization": f"Bearer {keyed.keys['read']}"}
    key_id = keyed.keys["read"].split("_")[1]
    async with running(key_settings) as second:
        for gateway in (keyed.gateway, second):
            assert (await gateway.client.get(path, headers=key)).status_code == 200
        gone = await keyed.send("admin", "DELETE", f"{API}/keys/{key_id}")
        assert (gone.status_code, gone.json()["data"]["state"]) == (200, "revoked")
        answer = await keyed.gateway.client.get(path, headers=key)
        assert answer.status_code == 401
        assert "revoked" in answer.json()["message"]
        began = time.monotonic()

        async def refused() -> bool:
            return (await second.client.get(path, headers=key)).status_code == 401

        await until(refused, 5)
        assert time.monotonic() - began < 5
        again = await keyed.send("admin", "DELETE", f"{API}/keys/{key_id}")
        assert again.json()["data"]["revokedAt"] == gone.json()["data"]["revokedAt"]


async def test_a_key_that_is_known_costs_redis_nothing(keyed: Keyed) -> None:
    link = keyed.gateway.parts.store._link

    async def commands() -> int:
        info = (await link.send("INFO", "stats")).decode()
        return int(re.search(r"total_commands_processed:(\d+)", info)[1])  # type: ignore[index]

    async def cost(kind: str, path: str) -> int:
        before = await commands()
        await keyed.send(kind, "GET", path)
        return await commands() - before - 1

    session = f"{API}/sessions/{keyed.things['session_id']}/results/Result"
    for path in (f"{API}/stats", session):
        for kind in ("read", "operator's admin"):
            await keyed.send(kind, "GET", path)
        assert await cost("read", path) == await cost("operator's admin", path) > 0


async def test_keys_are_made_listed_and_shown_once(keyed: Keyed) -> None:
    asked = {"scopes": ["read"], "name": "web shop", "expiresInSecond": 60, "ratePerSecond": 5}
    made = (await keyed.send("admin", "POST", f"{API}/keys", json=asked)).json()["data"]
    assert made["tenant"] == "acme"
    assert made["expiresAt"] > made["createdAt"]
    mine = {"Authorization": f"Bearer {made['key']}"}
    assert (await keyed.gateway.client.get(f"{API}/stats", headers=mine)).status_code == 200
    listed = (await keyed.send("admin", "GET", f"{API}/keys")).json()["data"]["keys"]
    assert {key["tenant"] for key in listed} == {"acme"}
    assert listed[0]["id"] == made["id"]
    assert made["key"] not in str(listed)
    everything = (await keyed.send("operator's admin", "GET", f"{API}/keys?limit=500")).json()
    assert {key["tenant"] for key in everything["data"]["keys"]} == {"acme", "globex", OPERATOR}
    for_others = {"scopes": ["read"], "tenant": "globex"}
    assert (await keyed.send("admin", "POST", f"{API}/keys", json=for_others)).status_code == 403
    by_operator = await keyed.send("operator's admin", "POST", f"{API}/keys", json=for_others)
    assert by_operator.json()["data"]["tenant"] == "globex"
    pages = await keyed.send("operator's admin", "GET", f"{API}/keys?limit=2")
    cursor = pages.json()["data"]["cursor"]
    following = await keyed.send("operator's admin", "GET", f"{API}/keys?limit=2&cursor={cursor}")
    ids = [key["id"] for page in (pages, following) for key in page.json()["data"]["keys"]]
    assert len(set(ids)) == 4


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"scopes": []},
        {"scopes": ["fly"]},
        {"scopes": ["read"], "tenant": "a b"},
        {"scopes": ["read"], "tenant": "a:b"},
        {"scopes": ["read"], "tenant": "default"},
        {"scopes": ["read"], "expiresInSecond": 0},
        {"scopes": ["read"], "ratePerSecond": -1},
        {"scopes": ["read"], "colour": "red"},
    ],
)
async def test_a_key_that_cannot_be_meant_is_422(keyed: Keyed, body: dict[str, Any]) -> None:
    answer = await keyed.send("operator's admin", "POST", f"{API}/keys", json=body)
    assert answer.status_code == 422, answer.text


async def test_a_key_has_a_rate_and_a_body_limit(keyed: Keyed) -> None:
    asked = {"scopes": ["submit", "read"], "ratePerSecond": 2, "maxBody": 2000}
    made = (await keyed.send("admin", "POST", f"{API}/keys", json=asked)).json()["data"]
    keyed.keys["small"] = made["key"]
    large = an_echo(labels={f"label-{n}": "x" * 200 for n in range(10)})
    answer = await keyed.send("small", "POST", f"{API}/process-single-engine", json=large)
    assert answer.status_code == 413
    assert "2000" in answer.json()["message"]
    answers = [await keyed.send("small", "GET", f"{API}/stats") for _ in range(10)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert refused[0].headers["retry-after"] == "1"
    assert refused[0].json()["data"]["errors"][0]["type"] == "rate-limit"
    await asyncio.sleep(1.1)
    upload = await keyed.send("small", "POST", f"{API}/files", content=b"x" * 3000)
    assert upload.status_code == 413
    assert (await keyed.send("both", "GET", f"{API}/stats")).status_code == 200


async def test_the_audit_log_says_who_did_what_and_holds_no_secret(keyed: Keyed) -> None:
    body = an_echo(labels={"card": "4111-1111"})
    answer = await keyed.send(
        "both", "POST", f"{API}/process-single-engine", json=body, headers={"X-Other": "tr0ub4dor"}
    )
    session = answer.json()["data"]["sessionId"]
    await keyed.send("read", "POST", f"{API}/sessions/{session}/stop")
    await keyed.send("other's both", "POST", f"{API}/sessions/{session}/stop")
    await keyed.send("revoked", "GET", f"{API}/sessions?label=card:4111-1111")
    await keyed.send("garbage", "GET", f"{API}/sessions")
    await keyed.send("read", "GET", f"{API}/sessions")
    made = await keyed.send("admin", "POST", f"{API}/keys", json={"scopes": ["read"]})
    *_, submitted, forbidden, others, revoked, garbage, new = keyed.lines()
    ids = {kind: key.split("_")[1] for kind, key in keyed.keys.items() if key.count("_") > 1}
    assert submitted | {"time": ""} == {
        "time": "",
        "key": ids["both"],
        "tenant": "acme",
        "method": "POST",
        "route": "/api/v1/process-single-engine",
        "session": session,
        "status": 202,
        "outcome": "ok",
        "from": "127.0.0.1",
    }
    assert (forbidden["key"], forbidden["status"], forbidden["outcome"]) == (
        ids["read"],
        403,
        "forbidden",
    )
    assert (others["tenant"], others["session"], others["status"]) == ("globex", session, 404)
    assert (revoked["key"], revoked["tenant"], revoked["outcome"]) == (
        ids["revoked"],
        "",
        "unauthorized",
    )
    assert (garbage["key"], garbage["status"]) == ("", 401)
    assert (new["route"], new["status"]) == ("/api/v1/keys", 201)
    text = keyed.audit.read_text()
    secrets = [key[-20:] for key in keyed.keys.values() if key]
    for secret in [*secrets, made.json()["data"]["key"][-20:], "4111", "tr0ub4dor", "Bearer"]:
        assert secret not in text
    assert keyed.audit.stat().st_mode & 0o077 == 0


def a_connection(keyed: Keyed, kind: str, session: str) -> websockets.connect:
    url = f"ws://127.0.0.1:{keyed.gateway.port}{API}/sessions/{session}/ws"
    return websockets.connect(url, additional_headers={"X-API-Key": keyed.keys[kind]}, proxy=None)


async def answered(connection: websockets.ClientConnection, **frame: Any) -> dict[str, Any]:
    """Send a frame and return its answer."""
    await connection.send(orjson.dumps(frame).decode())
    while True:
        answer: dict[str, Any] = orjson.loads(await asyncio.wait_for(connection.recv(), 20))
        if answer["type"] in {"ack", "error"}:
            return answer


async def an_interactive(keyed: Keyed) -> str:
    body = an_echo(interactive=True)
    answer = await keyed.send("both", "POST", f"{API}/process-single-engine", json=body)
    session: str = answer.json()["data"]["sessionId"]
    return session


async def test_what_is_sent_over_a_websocket_is_written_down_frame_by_frame(keyed: Keyed) -> None:
    session = await an_interactive(keyed)
    before = len(keyed.lines())
    async with a_connection(keyed, "both", session) as connection:
        push = {"type": "push", "channel": "Control", "payload": "4111-1111", "sequence": 0}
        assert (await answered(connection, **push))["type"] == "ack"
        assert (await answered(connection, **push))["repeated"]
        assert (await answered(connection, **push | {"channel": "Nope"}))["status"] == 404
        assert (await answered(connection, type="end", channel="Control"))["ended"]
    async with a_connection(keyed, "read", session) as connection:
        assert (await answered(connection, **push))["status"] == 403

    async def there() -> bool:
        return len(keyed.lines()) >= before + 7

    await until(there, 20)
    lines = keyed.lines()[before:]
    assert {line["session"] for line in lines} == {session}
    assert {line["route"] for line in lines} == {"/api/v1/sessions/{session_id}/ws"}
    assert [
        (line.get("frame"), line.get("channel"), line["status"], line["outcome"]) for line in lines
    ] == [
        ("push", "Control", 202, "ok"),
        ("push", "Control", 200, "ok"),
        ("push", "Nope", 404, "not-found"),
        ("end", "Control", 202, "ok"),
        (None, None, 101, "ok"),
        ("push", "Control", 403, "forbidden"),
        (None, None, 101, "ok"),
    ]
    assert lines[0]["key"] == keyed.keys["both"].split("_")[1]
    assert "4111" not in keyed.audit.read_text()


async def test_a_revoked_key_pushes_no_more_over_a_socket_that_is_open(keyed: Keyed) -> None:
    session = await an_interactive(keyed)
    push = {"type": "push", "channel": "Control", "payload": 1}
    async with a_connection(keyed, "both", session) as connection:
        assert (await answered(connection, **push))["type"] == "ack"
        key_id = keyed.keys["both"].split("_")[1]
        await keyed.send("admin", "DELETE", f"{API}/keys/{key_id}")
        await connection.send(orjson.dumps(push).decode())
        with contextlib.suppress(websockets.ConnectionClosedError):
            async for frame in connection:
                assert orjson.loads(frame)["type"] != "ack"
        assert (connection.close_code, connection.close_reason) == (
            1008,
            "the API key is no longer valid",
        )


async def test_a_revoked_key_hears_no_more_of_a_session(
    keyed: Keyed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "ALIVE_EVERY", 0.05)
    session = await an_interactive(keyed)
    headers = {"X-API-Key": keyed.keys["both"]}
    stream = keyed.gateway.client.stream("GET", f"{API}/sessions/{session}/events", headers=headers)
    async with stream as following, a_connection(keyed, "both", session) as connection:
        lines = following.aiter_lines()
        assert await anext(lines) == "retry: 1000"
        key_id = keyed.keys["both"].split("_")[1]
        await keyed.send("admin", "DELETE", f"{API}/keys/{key_id}")
        async with asyncio.timeout(20):
            with contextlib.suppress(websockets.ConnectionClosedError):
                assert [frame async for frame in connection]
            assert connection.close_code == 1008
            assert [line async for line in lines]


async def test_pushes_over_a_socket_count_for_the_rate_of_a_key(keyed: Keyed) -> None:
    session = await an_interactive(keyed)
    asked = {"scopes": ["submit", "read"], "ratePerSecond": 2}
    made = (await keyed.send("admin", "POST", f"{API}/keys", json=asked)).json()["data"]
    keyed.keys["slow"] = made["key"]
    async with a_connection(keyed, "slow", session) as connection:
        push = {"type": "push", "channel": "Control", "payload": 1}
        answers = [await answered(connection, **push) for _ in range(6)]
    assert 429 in [answer.get("status") for answer in answers]
    assert [answer["type"] for answer in answers].count("ack") < 6


async def test_every_answer_carries_the_security_headers(keyed: Keyed) -> None:
    answers = [
        await keyed.send("read", "GET", f"{API}/sessions"),
        await keyed.send("none", "GET", f"{API}/sessions"),
        await keyed.send("none", "GET", "/nothing"),
        await keyed.send("both", "POST", f"{API}/process-single-engine", json={}),
        await keyed.send("read", "GET", f"{API}/files/{keyed.things['file_id']}"),
    ]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        for name in answer.headers:
            assert len(answer.headers.get_list(name)) == 1, name
    assert "content-security-policy" not in (await keyed.send("none", "GET", "/docs")).headers


async def test_what_is_no_route_is_told_at_the_door(keyed: Keyed) -> None:
    for kind in ("none", "operator's admin"):
        assert (await keyed.send(kind, "GET", "/api/v1/keys%0A")).status_code == 404
        assert (await keyed.send(kind, "GET", "/metrics/")).status_code == 404
        wrong = await keyed.send(kind, "PUT", f"{API}/keys")
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, POST")


async def test_a_tenant_over_its_quota_waits_and_is_told_why(keyed: Keyed) -> None:
    async def limit(**limits: int) -> dict[str, Any]:
        answer = await keyed.send("operator's admin", "PUT", f"{API}/tenants/acme", json=limits)
        assert answer.status_code == 200, answer.text
        data: dict[str, Any] = answer.json()["data"]
        return data

    async def submit(kind: str, query: str = "") -> httpx.Response:
        path = f"{API}/process-workflow{query}"
        return await keyed.send(kind, "POST", path, json={"engines": [{"id": "echo"}]})

    assert await limit(maxRunning=1, maxPending=2) == {
        "tenant": "acme", "maxRunning": 1, "maxPending": 2, "running": 0, "pending": 0,
    }  # fmt: skip
    async with FakeEngine(keyed.redis_url):
        running = await submit("both")
        assert running.json()["data"]["process"]["status"] == "queuing"
        tried = (await submit("both", "?dryRun=true")).json()["data"]
        assert (tried["wouldBePlaced"], tried["lacking"]) == (False, [])
        assert tried["quota"] == {"running": 1, "maxRunning": 1}
        waiting = (await submit("both")).json()["data"]
        assert waiting["process"]["status"] == "pending"
        detail = await keyed.send("read", "GET", f"{API}/sessions/{waiting['sessionId']}")
        assert detail.json()["data"]["pending"]["quota"] == {"running": 1, "maxRunning": 1}
        assert (await submit("both")).status_code == 202
        full = await submit("both")
        assert (full.status_code, full.headers["retry-after"]) == (429, "2")
        assert full.json()["data"]["errors"][0]["type"] == "queue-full"
        assert "sessions of your tenant" in full.json()["message"]
        assert (await submit("other's both")).json()["data"]["process"]["status"] == "queuing"
    mine = await keyed.send("read", "GET", f"{API}/tenants/acme")
    assert mine.json()["data"] | {"pending": 0} == await limit(maxRunning=1, maxPending=2) | {
        "pending": 0
    }
    listed = (await keyed.send("operator's admin", "GET", f"{API}/tenants")).json()["data"]
    assert [tenant["tenant"] for tenant in listed["tenants"]] == ["acme", "globex", OPERATOR]


async def test_a_gateway_takes_so_many_pending_sessions(settings: RestfulSettings) -> None:
    async with running(replace(settings, max_pending_engine=2, max_pending=3)) as gateway:

        async def submit(engine: str) -> httpx.Response:
            return await gateway.post("/process-workflow", {"engines": [{"id": engine}]})

        codes = [(await submit(engine)).status_code for engine in ("a", "a", "a", "b", "b")]
        assert codes == [202, 202, 429, 202, 429]
        for engine, words in (("a", "3 sessions are pending"), ("b", "3 sessions are pending")):
            answer = await submit(engine)
            assert words in answer.json()["message"]
            assert int(answer.headers["retry-after"]) >= 1
        assert len((await gateway.get("/sessions")).json()["data"]["sessions"]) == 3
