"""Webhooks over REST: asked for, looked at, delivered again; and start data by URL."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from apps.restful.settings import RestfulSettings
from blueengine.kit.redis_link import Link
from tests.integration.restful.conftest import Gateway, an_echo, running
from tests.integration.restful.fake_engine import FakeEngine
from tests.kit.hooks import Receiver, answer

SECRET = "Bearer never-to-be-seen"


def a_hook(**changes: Any) -> dict[str, Any]:
    return {
        "statusTypes": ["finish"],
        "callbackUrl": "https://hooks.example.com/in",
        "callbackHeader": {"Authorization": SECRET},
        "resultChan": "Result",
        **changes,
    }


@pytest.fixture
async def open_gateway(settings: RestfulSettings) -> AsyncIterator[Gateway]:
    """A gateway that may call loopback."""
    allowing = replace(settings.system, outside_allow="loopback")
    limited = replace(settings, system=allowing, max_upload=100_000, fetch_timeout=5)
    async with running(limited) as gateway:
        yield gateway


async def one_dead(gateway: Gateway, session: str) -> str:
    """Give the first event of a session up; its id."""
    outbox = gateway.parts.outbox
    (claim,), _ = await outbox.claim(at_most=1, lease=60, per_receiver=1, rooms={})
    assert claim.event.session == session
    tried = {"at": 1_700_000_000_000_000, "ms": 12.5, "code": 500, "response": "oh no"}
    assert await outbox.settle(claim, "dead", tried=tried, body=b"{}")
    return claim.event.id


async def test_a_session_shows_its_webhooks_and_never_their_secrets(gateway: Gateway) -> None:
    session = await gateway.submit(webhooks=[a_hook(statusTypes=["*"])])
    event = await one_dead(gateway, session)
    answer = await gateway.get(f"/sessions/{session}")
    (hook,) = answer.json()["data"]["webhooks"]
    (delivery,) = hook.pop("deliveries")
    assert hook == {
        "callbackUrl": "https://hooks.example.com/in",
        "callbackHeader": {"Authorization": "***"},
        "statusTypes": ["*"],
        "resultChan": "Result",
        "events": 2,
        "waiting": 1,
        "delivered": 0,
        "dead": 1,
        "dropped": 0,
    }
    assert (delivery["deliveryId"], delivery["state"]) == (event, "dead")
    assert delivery["log"] == [
        {
            "at": "2023-11-14T22:13:20.000Z",
            "latencyMs": 12.5,
            "code": 500,
            "response": "oh no",
            "error": "",
        }
    ]
    for route in (f"/sessions/{session}", "/webhooks?state=dead", f"/webhooks/{event}"):
        assert "never-to-be-seen" not in (await gateway.get(route)).text


async def test_a_dead_event_is_listed_and_delivered_again(gateway: Gateway) -> None:
    session = await gateway.submit(webhooks=[a_hook(statusTypes=["*"])])
    event = await one_dead(gateway, session)
    listed = (await gateway.get("/webhooks")).json()["data"]
    assert [one["deliveryId"] for one in listed["deliveries"]] == [event]
    assert listed["cursor"] is None
    answer = await gateway.post(f"/webhooks/{event}/redeliver")
    assert (answer.status_code, answer.json()["data"]["state"]) == (202, "retrying")
    again = await gateway.post(f"/webhooks/{event}/redeliver")
    assert (again.status_code, again.json()["data"]["errors"][0]["type"]) == (409, "not-dead")
    assert (await gateway.get("/webhooks")).json()["data"]["deliveries"] == []


async def test_deliveries_are_paged(gateway: Gateway) -> None:
    events = []
    for _ in range(3):
        session = await gateway.submit(webhooks=[a_hook(statusTypes=["sessionStatusChanged"])])
        events.append(await one_dead(gateway, session))
    first = (await gateway.get("/webhooks", limit=2)).json()["data"]
    rest = (await gateway.get("/webhooks", limit=2, cursor=first["cursor"])).json()["data"]
    found = [one["deliveryId"] for one in first["deliveries"] + rest["deliveries"]]
    assert found == events[::-1]


@pytest.mark.parametrize("delivery", ["evt_nothing_0_1", "nothing", "evt_" + "x" * 200])
async def test_a_delivery_that_is_not_there_is_404(gateway: Gateway, delivery: str) -> None:
    assert (await gateway.get(f"/webhooks/{delivery}")).status_code == 404
    assert (await gateway.post(f"/webhooks/{delivery}/redeliver")).status_code == 404


async def test_the_secret_is_shown_and_replaced(gateway: Gateway) -> None:
    shown = await gateway.get("/webhooks/secret")
    (secret,) = shown.json()["data"]["secrets"]
    assert shown.headers["cache-control"] == "no-store"
    assert secret["secret"].startswith("whsec_")
    changed = await gateway.post("/webhooks/secret/rotate?keepOldSecond=60")
    new, old = changed.json()["data"]["secrets"]
    assert (old["secret"], new["signsUntil"]) == (secret["secret"], None)
    assert old["signsUntil"] is not None


async def test_results_that_are_not_kept_cannot_go_with_a_webhook(gateway: Gateway) -> None:
    answer = await gateway.post(
        "/process-single-engine",
        an_echo(webhooks=[a_hook(resultChan="Control"), a_hook(resultChan="Gone")]),
    )
    assert answer.status_code == 422
    assert [e["loc"] for e in answer.json()["data"]["errors"]] == [
        "/webhooks/0/resultChan",
        "/webhooks/1/resultChan",
    ]
    assert "kept are: Result" in answer.json()["data"]["errors"][0]["msg"]


async def test_a_refused_webhook_does_not_show_its_header(gateway: Gateway) -> None:
    hook = a_hook(callbackHeader={"Authorization": "never-to-be-seen\r\nX: y"})
    answer = await gateway.post("/process-single-engine", an_echo(webhooks=[hook]))
    assert answer.status_code == 422
    assert "never-to-be-seen" not in answer.text


async def test_the_metrics_count_tries(gateway: Gateway) -> None:
    session = await gateway.submit(webhooks=[a_hook(statusTypes=["*"])])
    await one_dead(gateway, session)
    text = (await gateway.client.get("/metrics")).text
    assert 'blueengine_webhook_attempts_total{outcome="dead"} 1.0' in text


# ---- start data by URL ---------------------------------------------------------------------------


def with_url(url: str) -> dict[str, Any]:
    inputs = {"Image": {"type": "Image", "payload": {"url": url, "name": "cat.png"}}}
    return an_echo(inputs=inputs)


@pytest.mark.parametrize("size", [1000, 90_000])
async def test_start_data_by_url_is_fetched(
    open_gateway: Gateway, redis_server: Any, size: int, tmp_path: Path
) -> None:
    picture = bytes(range(250)) * (size // 250)

    async with (
        Receiver(lambda _: answer(200, picture, content_type="image/png")) as there,
        FakeEngine(redis_server.url) as engine,
    ):
        posted = await open_gateway.post("/process-single-engine", with_url(there.url))
        assert posted.status_code == 202, posted.text
        (feed,) = (await engine.accept()).feeds
        kept = feed.payload or open_gateway.parts.blobs.read(feed.blob)
        assert kept == picture
        assert bool(feed.blob) == (size > 64 * 1024)
        assert b"image/png" in feed.meta
        assert b"cat.png" in feed.meta


async def test_a_redirect_is_followed_to_where_it_may_lead(open_gateway: Gateway) -> None:
    async with Receiver() as there, Receiver() as here:
        here.behave = lambda _: answer(302, b"", location=there.url)
        posted = await open_gateway.post("/process-single-engine", with_url(here.url))
        assert posted.status_code == 202, posted.text
        assert len(there.got) == 1
        here.behave = lambda _: answer(302, b"", location="http://10.0.0.1/secret")
        refused = await open_gateway.post("/process-single-engine", with_url(here.url))
        assert refused.json()["data"]["errors"][0]["type"] == "forbidden-address"


@pytest.mark.parametrize(
    ("said", "word", "kind"),
    [
        (answer(404, b""), "answered 404", "url-failed"),
        (None, "cannot be read", "url-failed"),
        (b"garbage\r\n\r\n", "cannot be read", "url-failed"),
        (answer(200, b"x" * 100_001), "more than 100000 bytes", "too-large"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200_000, "more than 100000 bytes", "too-large"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nshort", "cannot be read", "url-failed"),
    ],
)
async def test_what_cannot_be_fetched_is_a_fault_and_leaves_nothing(
    said: bytes | None, word: str, kind: str, open_gateway: Gateway, link: Link
) -> None:
    async with Receiver(lambda _: said) as there:
        refused = await open_gateway.post("/process-single-engine", with_url(there.url))
        assert refused.status_code == 422
        (fault,) = refused.json()["data"]["errors"]
        assert (fault["loc"], fault["type"]) == ("/inputs/Image/payload/url", kind)
        assert word in fault["msg"]
    files = [path for path in open_gateway.blobs.rglob("*") if path.is_file()]
    assert files == []


async def test_an_address_inside_is_not_fetched_whatever_its_name(gateway: Gateway) -> None:
    async with Receiver() as there:
        for host in ("localhost", "127.0.0.1", "127.1", "[::1]", "2130706433"):
            url = f"http://{host}:{there.port}/"
            refused = await gateway.post("/process-single-engine", with_url(url))
            assert refused.status_code == 422
            assert "OUTSIDE_ALLOW" in refused.json()["data"]["errors"][0]["msg"]
        assert there.got == []
