"""``blueengine keys`` and ``tenants``, from the first key on, against a gateway that needs keys."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from apps.restful.settings import RestfulSettings
from blueengine.wire.webhook import SESSION_CHANGED
from tests.integration.restful.conftest import Gateway, an_echo, running

pytestmark = pytest.mark.timeout(180)


@dataclass
class Terminal:
    """Somebody who types commands."""

    gateway: Gateway
    redis: str

    async def run(self, line: str, *, key: str = "") -> tuple[int, str, str]:
        environment = {
            **os.environ,
            "BLUEENGINE_URL": f"http://127.0.0.1:{self.gateway.port}",
            "BLUEENGINE_API_KEY": key,
        }
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "blueengine.cli.main", *line.split()],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    async def made(self, line: str, *, key: str = "") -> Any:
        code, out, err = await self.run(f"{line} --json", key=key)
        assert (code, err) == (0, ""), err
        return orjson.loads(out)


@pytest.fixture
async def terminal(settings: RestfulSettings, tmp_path: Path) -> AsyncIterator[Terminal]:
    needed = replace(settings, auth="on", audit_log=str(tmp_path / "audit.log"))
    async with running(needed) as gateway:
        yield Terminal(gateway, settings.system.redis_url)


async def test_from_the_first_key_to_a_revoked_one(terminal: Terminal) -> None:
    code, _, err = await terminal.run("sessions ls")
    assert code == 1
    assert "needs an API key" in err

    line = f"keys create --tenant operator --scope admin --redis-url {terminal.redis}"
    code, root, note = await terminal.run(line)
    assert code == 0
    assert "cannot be shown again" in note
    root = root.strip()

    shop = await terminal.made("keys create --tenant acme --name shop --expires 90d", key=root)
    assert (shop["tenant"], shop["scopes"]) == ("acme", ["read", "submit"])
    assert shop["expiresAt"][:10] > shop["createdAt"][:10]
    assert await terminal.made("sessions ls", key=shop["key"]) == []
    assert await terminal.made(f"sessions ls --api-key {shop['key']}") == []

    code, out, _ = await terminal.run("keys ls", key=root)
    assert code == 0
    assert [line.split()[1] for line in out.splitlines()] == ["TENANT", "acme", "operator"]
    assert shop["key"] not in out
    assert [key["id"] for key in await terminal.made("keys ls --tenant acme", key=root)] == [
        shop["id"]
    ]

    code, out, _ = await terminal.run(f"keys revoke {shop['id']}", key=root)
    assert (code, out) == (0, f"{shop['id']} of acme is revoked.\n")
    code, _, err = await terminal.run("sessions ls", key=shop["key"])
    assert code == 1
    assert "is revoked; ask for a new one" in err


async def test_keys_are_seen_to_in_redis_when_no_gateway_can_be_asked(terminal: Terminal) -> None:
    direct = f"--redis-url {terminal.redis}"
    made = await terminal.made(f"keys create {direct}")
    assert [key["id"] for key in await terminal.made(f"keys ls {direct}")] == [made["id"]]
    assert (await terminal.made(f"keys revoke {made['id']} {direct}"))["state"] == "revoked"
    code, _, err = await terminal.run(f"keys revoke nothing {direct}")
    assert (code, err) == (1, "error: there is no key 'nothing'; `blueengine keys ls` shows them\n")


async def test_tenants_are_limited_and_listed(terminal: Terminal) -> None:
    root = (await terminal.made(f"keys create --scope admin --redis-url {terminal.redis}"))["key"]
    code, out, _ = await terminal.run("tenants limit acme --max-running 20", key=root)
    assert code == 0
    assert out.splitlines()[1].split() == ["acme", "0", "20", "0", "-"]
    listed = await terminal.made("tenants ls", key=root)
    assert [tenant["tenant"] for tenant in listed] == ["acme", "operator"]


async def test_deliveries_are_listed_shown_and_sent_again(terminal: Terminal) -> None:
    root = (await terminal.made(f"keys create --scope admin --redis-url {terminal.redis}"))["key"]
    hook = {"callbackUrl": "https://hooks.example.com/in", "statusTypes": [SESSION_CHANGED]}
    answer = await terminal.gateway.post(
        "/process-single-engine",
        an_echo(webhooks=[hook]),
        headers={"Authorization": f"Bearer {root}"},
    )
    session = answer.json()["data"]["sessionId"]
    outbox = terminal.gateway.parts.outbox
    (claim,), _ = await outbox.claim(at_most=1, lease=60, per_receiver=1, rooms={})
    tried = {"at": 1_700_000_000_000_000, "ms": 12.5, "code": 500, "response": "oh no"}
    assert await outbox.settle(claim, "dead", tried=tried, body=b"{}")
    event = claim.event.id

    (listed,) = await terminal.made("webhooks ls", key=root)
    assert (listed["deliveryId"], listed["state"], listed["tries"]) == (event, "dead", 1)
    assert [
        one["deliveryId"]
        for one in await terminal.made(f"webhooks ls --session {session}", key=root)
    ] == [event]
    code, out, _ = await terminal.run(f"webhooks show {event}", key=root)
    assert code == 0
    assert f"{event}: dead after 1 tries" in out
    assert "oh no" in out
    code, out, _ = await terminal.run("webhooks redeliver --all-dead", key=root)
    assert (code, out) == (0, f"{event}: retrying\n")
    code, _, err = await terminal.run(f"webhooks redeliver {event}", key=root)
    assert (code, err.count("only dead events")) == (1, 1)
    (secret,) = await terminal.made("webhooks secret", key=root)
    assert secret["secret"].startswith("whsec_")


@pytest.mark.parametrize(
    "line",
    [
        "webhooks ls --state lost",
        "webhooks redeliver",
        "sessions ls --status lost",
        "keys create --tenant default",
        "keys create --expires soon",
        "keys create --tenant a:b",
        "keys create --scope fly",
        "keys revoke be_abc_secret",
        "keys revoke",
    ],
)
async def test_what_cannot_be_meant_is_wrong_usage(terminal: Terminal, line: str) -> None:
    code, out, err = await terminal.run(line)
    assert (code, out) == (2, "")
    assert err
