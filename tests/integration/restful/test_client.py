"""The Python client against a gateway on a real Redis, over real sockets."""

import asyncio
import contextlib
import hashlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from blueengine.client import (
    AsyncClient,
    Blob,
    Client,
    ConflictError,
    InvalidError,
    Many,
    NotFoundError,
    SessionFailedError,
    Webhook,
    Workflow,
    WorkflowError,
)
from blueengine.wire import codec
from blueengine.wire.envelope import Meta, Stored
from tests.integration.restful.conftest import Gateway
from tests.integration.restful.fake_engine import FakeEngine
from tests.kit.fault_proxy import FaultProxy

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(f"http://127.0.0.1:{gateway.port}") as client:
        yield client


def an_echo_workflow() -> Workflow:
    wf = Workflow()
    echo = wf.engine("echo")
    wf.input("In", echo)
    echo.result("Result")
    return wf


async def test_a_session_from_submit_to_its_results(
    client: AsyncClient, engine: FakeEngine
) -> None:
    session = await client.submit(
        an_echo_workflow(), {"In": Many([{"a": 1}, 2])}, labels={"t": "b"}
    )
    part = await engine.accept()
    assert [json.loads(feed.payload) for feed in part.feeds] == [{"a": 1}, 2]
    waiting = asyncio.ensure_future(session.wait())
    await part.say({"x": 1}, 2)
    assert (await session.outcome()).results == {"Result": [{"x": 1}, 2]}
    await part.finish()
    outcome = (await waiting).raise_for_status()
    assert outcome.status == "finished"
    assert outcome.results == {"Result": [{"x": 1}, 2]}
    detail = await session.detail()
    assert detail.labels == {"t": "b"}
    assert detail.dag.engines[0].outputs[0].link_to == "Result"
    assert [row.session_id async for row in client.sessions(labels={"t": "b"})] == [session.id]


async def test_results_and_events_come_while_it_runs(
    client: AsyncClient, engine: FakeEngine
) -> None:
    session = await client.submit(an_echo_workflow(), {"In": 1})
    part = await engine.accept()
    async with contextlib.aclosing(session.results("Result")) as results:
        await part.say("first")
        assert await anext(results) == "first"
        await part.say("second", "third")
        assert await anext(results) == "second"
        await part.fail("no paper")
        assert await anext(results) == "third"
        with pytest.raises(SessionFailedError, match="no paper"):
            await anext(results)
    names = [event.name async for event in session.events()]
    assert names.count("results") == 2
    assert names[-1] == "status"


async def test_a_cut_connection_is_seen_by_nobody(gateway: Gateway, engine: FakeEngine) -> None:
    with FaultProxy(gateway.port) as proxy:
        client = AsyncClient(f"http://127.0.0.1:{proxy.port}")
        session = await client.submit(an_echo_workflow(), {"In": 1})
        part = await engine.accept()
        events = session.events()
        seen = [await anext(events)]
        waiting = asyncio.ensure_future(session.wait())
        for number in range(3):
            await part.say(number)
            while seen[-1].name != "results" or seen[-1].data["count"] != number + 1:
                seen.append(await anext(events))
            proxy.reset()
        await part.finish()
        seen += [event async for event in events]
        assert (await waiting).results == {"Result": [0, 1, 2]}
        await client.aclose()
    async with AsyncClient(gateway_url(gateway)) as client:
        whole = [event async for event in client.session(session.id).events()]
    assert [event.id for event in seen] == [event.id for event in whole]


def gateway_url(gateway: Gateway) -> str:
    return f"http://127.0.0.1:{gateway.port}"


async def test_the_same_key_is_the_same_session(client: AsyncClient) -> None:
    one, other, third = [
        await client.submit(an_echo_workflow(), {"In": 1}, idempotency_key=key)
        for key in ("k", "k", "j")
    ]
    assert one.id == other.id != third.id


async def test_files_go_both_ways(client: AsyncClient, engine: FakeEngine, tmp_path: Path) -> None:
    source = tmp_path / "big image.png"
    source.write_bytes(os.urandom(3_000_000))
    upload = await client.upload(source)
    assert upload.size == 3_000_000
    assert upload.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    saved = await client.download(upload, tmp_path / "back")
    assert saved.read_bytes() == source.read_bytes()

    session = await client.submit_engine("echo", {"Image": source}, results=["Picture"])
    part = await engine.accept()
    (feed,) = part.feeds
    assert codec.decode(Meta, feed.meta).name == "big image.png"
    meta = codec.encode(Meta(content_type="image/png", facts={"page": 3}))
    await part.output("Picture", Stored("Image", b"\x89PNG small", meta, size=10))
    await part.finish()
    (blob,) = (await session.wait()).results["Picture"]
    assert isinstance(blob, Blob)
    assert blob.meta["page"] == 3
    assert await client.read(blob) == b"\x89PNG small"


async def test_what_the_platform_alone_knows_is_its_refusal(
    client: AsyncClient, engine: FakeEngine
) -> None:
    wf = Workflow()
    wf.engine("echo").result("Nothing")
    with pytest.raises(InvalidError, match="engine 'echo' has no output 'Nothing'") as caught:
        await client.submit(wf)
    assert caught.value.faults[0].loc == "/engines/0/outputs/0"
    known = Workflow(await client.engines())
    known.engine("echo").result("Nothing")
    with pytest.raises(WorkflowError, match="engine 'echo' has no output 'Nothing'"):
        await client.submit(known)
    with pytest.raises(NotFoundError, match="was never seen"):
        await client.engine("dance")


async def test_a_dry_run_says_what_is_lacking(client: AsyncClient, engine: FakeEngine) -> None:
    assert (await client.dry_run(an_echo_workflow())).would_be_placed
    wf = an_echo_workflow()
    wf.engine("dance").reads("In", "Result")
    placement = await client.dry_run(wf)
    assert not placement.would_be_placed
    assert "was never seen" in placement.lacking[0].satisfied_by


async def test_a_session_is_stopped(client: AsyncClient, engine: FakeEngine) -> None:
    session = await client.submit(an_echo_workflow(), {"In": 1})
    part = await engine.accept()
    assert await session.stop() == "stopping"
    await part.stop()
    assert (await session.wait()).status == "canceled"


async def test_more_input_is_pushed_while_it_runs(client: AsyncClient, engine: FakeEngine) -> None:
    session = await client.submit(an_echo_workflow(), {"In": 1}, interactive=True)
    part = await engine.accept()
    assert [await session.push("In", {"page": n}) for n in range(3)] == [0, 1, 2]
    await session.end("In")
    await part.finish()
    assert (await session.wait()).status == "finished"


async def test_the_blocking_client_does_the_same(gateway: Gateway, engine: FakeEngine) -> None:
    def work() -> list[object]:
        with Client(gateway_url(gateway)) as client:
            session = client.submit(an_echo_workflow(), {"In": 1})
            found = list(session.results("Result"))
            assert session.wait().results == {"Result": found}
            return found

    working = asyncio.get_running_loop().run_in_executor(None, work)
    part = await engine.accept()
    await part.say(1, 2)
    await part.finish()
    assert await working == [1, 2]


async def one_given_up(gateway: Gateway, session: str) -> str:
    """Have the first event of a session's webhook given up; its id."""
    outbox = gateway.parts.outbox
    (claim,), _ = await outbox.claim(at_most=1, lease=60, per_receiver=1, rooms={})
    assert claim.event.session == session
    tried = {"at": 1_700_000_000_000_000, "ms": 12.5, "code": 500, "response": "oh no"}
    assert await outbox.settle(claim, "dead", tried=tried, body=b"{}")
    return claim.event.id


async def test_deliveries_are_looked_at_and_sent_again(
    client: AsyncClient, gateway: Gateway
) -> None:
    hook = Webhook(
        url="https://hooks.example.com/in",
        types=["sessionStatusChanged"],  # of a session that waits there is one
        headers={"Authorization": "never-shown"},
    )
    given_up = []
    for _ in range(3):
        session = await client.submit(an_echo_workflow(), {"In": 1}, webhooks=[hook])
        given_up.append(await one_given_up(gateway, session.id))
    found = [one.delivery_id async for one in client.deliveries()]
    assert found == given_up[::-1]
    assert [one.delivery_id async for one in client.deliveries(limit=2)] == found[:2]
    assert [one async for one in client.deliveries(state="delivered")] == []

    (shown,) = await session.webhooks()
    assert (shown.callback_url, shown.dead) == (hook.url, 1)
    assert shown.callback_header == {"Authorization": "***"}
    assert [one.delivery_id for one in shown.deliveries] == [found[0]]

    one = await client.delivery(found[0])
    assert (one.state, one.tries, one.session_id) == ("dead", 1, session.id)
    assert (one.log[0].code, one.log[0].response) == (500, "oh no")
    assert (await client.redeliver(found[0])).state == "retrying"
    with pytest.raises(ConflictError, match="only dead events"):
        await client.redeliver(found[0])
    with pytest.raises(NotFoundError):
        await client.delivery("evt_nothing")


async def test_the_secret_of_webhooks_is_replaced(client: AsyncClient) -> None:
    (first,) = await client.webhook_secrets()
    assert first.secret not in repr([first])
    new, old = await client.rotate_webhook_secret(keep_old=60)
    assert (old.secret, new.signs_until) == (first.secret, None)
    assert await client.rotate_webhook_secret(keep_old=0) != [new]


async def test_keys_are_made_listed_and_revoked(client: AsyncClient) -> None:
    made = [
        await client.create_key(tenant="acme", scopes=["read"], name=f"key {n}", expires_in=60)
        for n in range(3)
    ]
    assert made[0].key.startswith(f"be_{made[0].id}_")
    assert made[0].key not in repr(made)
    assert (made[0].tenant, made[0].scopes, made[0].state) == ("acme", ["read"], "active")
    listed = [key.id async for key in client.api_keys(tenant="acme")]
    assert listed == [key.id for key in made[::-1]]
    assert [key.id async for key in client.api_keys(limit=1)] == listed[:1]
    assert (await client.revoke_key(made[0].id)).state == "revoked"
    assert (await client.api_key(made[0].id)).state == "revoked"
    with pytest.raises(NotFoundError):
        await client.revoke_key("nothing")
    with pytest.raises(InvalidError, match="tenant"):
        await client.create_key(tenant="a:b")


async def test_tenants_are_limited(client: AsyncClient) -> None:
    assert (await client.limit_tenant("acme", max_running=2)).max_running == 2
    assert [tenant.tenant for tenant in await client.tenants()] == ["acme"]
    assert (await client.tenant("acme")).max_pending == 0
    with pytest.raises(NotFoundError):
        await client.tenant("globex")


async def test_operators_may_do_without_a_loop(gateway: Gateway) -> None:
    def work() -> list[str]:
        with Client(f"http://127.0.0.1:{gateway.port}") as client:
            client.create_key(tenant="acme")
            assert list(client.deliveries()) == []
            return [key.tenant for key in client.api_keys()]

    assert await asyncio.to_thread(work) == ["acme"]
