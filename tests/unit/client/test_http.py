"""Requests: what is tried again and what is not, what a refusal says, where the key is seen."""

import asyncio
import logging

import httpx
import pytest

from blueengine.client import (
    ApiError,
    AsyncClient,
    BusyError,
    ClientError,
    ConflictError,
    InvalidError,
    KeyRefusedError,
    NotFoundError,
    PlatformAwayError,
)
from tests.unit.client.platform import client, no, ok, outcome, script

ENGINES = {"engines": []}
BODY = {"engineId": "hello"}

pytestmark = pytest.mark.looptime


async def test_faults_are_named_in_one_line() -> None:
    faults = [("/engines/0/id", "unknown"), ("", "no")]
    async with client(lambda _: no(422, "2 faults", *faults)) as api:
        with pytest.raises(InvalidError, match=r"^2 faults: /engines/0/id: unknown; no$") as caught:
            await api.submit(BODY)
    assert caught.value.status == 422
    assert [fault.loc for fault in caught.value.faults] == ["/engines/0/id", ""]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidError),
        (401, KeyRefusedError),
        (403, KeyRefusedError),
        (404, NotFoundError),
        (409, ConflictError),
        (413, InvalidError),
        (507, ApiError),
        (500, ApiError),
    ],
)
async def test_each_refusal_has_its_exception(status: int, kind: type[ApiError]) -> None:
    async with client(lambda _: no(status, "no")) as api:
        with pytest.raises(kind) as caught:
            await api.engines()
    assert type(caught.value) is kind
    assert not caught.value.retriable


async def test_an_answer_that_is_no_envelope_is_an_error_all_the_same() -> None:
    async with client(lambda _: httpx.Response(500, text="<html>")) as api:
        with pytest.raises(ApiError, match="HTTP 500"):
            await api.engines()


async def test_a_platform_that_never_answered_is_not_waited_for() -> None:
    asked, answer = script(httpx.ConnectError("refused"))
    async with client(answer) as api:
        with pytest.raises(PlatformAwayError, match="start one with `blueengine up`"):
            await api.engines()
    assert len(asked) == 1


async def test_a_platform_that_answered_before_is_waited_for() -> None:
    asked, answer = script(
        ok(ENGINES), httpx.ConnectError("refused"), httpx.ReadError("broken"), ok(ENGINES)
    )
    async with client(answer) as api:
        await api.engines()
        assert await api.engines() == []
    assert len(asked) == 4


async def test_the_wait_ends_with_the_patience() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("broken")

    async with client(answer, patience=20) as api:
        with pytest.raises(PlatformAwayError):
            await api.engines()
    assert 15 < asyncio.get_running_loop().time() < 21


async def test_a_post_that_broke_is_sent_again_with_the_same_key() -> None:
    asked, answer = script(httpx.ReadError("broken"), ok(outcome("finished")))
    async with client(answer) as api:
        await api.submit(BODY)
    keys = [request.headers["idempotency-key"] for request in asked]
    assert len(keys) == 2
    assert keys[0] == keys[1]
    assert asked[0].content == asked[1].content


async def test_each_submit_has_a_key_of_its_own() -> None:
    asked, answer = script(ok(outcome("pending")), ok(outcome("pending")), ok(outcome("pending")))
    async with client(answer) as api:
        await api.submit(BODY)
        await api.submit(BODY)
        await api.submit(BODY, idempotency_key="mine")
    keys = [request.headers["idempotency-key"] for request in asked]
    assert len(set(keys)) == 3
    assert keys[2] == "mine"


async def test_what_does_harm_twice_is_not_sent_again() -> None:
    asked, answer = script(ok({}), httpx.ReadError("broken"))
    async with client(answer) as api:
        await api.engines()
        with pytest.raises(PlatformAwayError):
            await api.request("POST", "/api/v1/x", json={}, repeatable=False)
    assert len(asked) == 2


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_respected(status: int) -> None:
    asked, answer = script(no(status, "busy", retry_after="7"), ok(ENGINES))
    async with client(answer) as api:
        await api.engines()
    assert asyncio.get_running_loop().time() == pytest.approx(7, abs=0.1)
    assert len(asked) == 2


async def test_who_asks_for_more_time_than_there_is_patience_is_told_at_once() -> None:
    _, answer = script(no(503, "busy", retry_after="60"))
    async with client(answer) as api:
        with pytest.raises(BusyError) as caught:
            await api.engines()
    assert caught.value.retry_after == 60
    assert caught.value.retriable
    assert asyncio.get_running_loop().time() < 1


async def test_a_broken_gateway_in_between_is_tried_again() -> None:
    _, answer = script(httpx.Response(502, text="<html>"), ok(ENGINES))
    async with client(answer) as api:
        assert await api.engines() == []


async def test_the_key_is_sent_and_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    asked, answer = script(ok(ENGINES), no(401, "the key is unknown"))
    async with client(answer, api_key="be_secret") as api:
        await api.engines()
        with pytest.raises(KeyRefusedError) as caught:
            await api.engines()
    assert asked[0].headers["authorization"] == "Bearer be_secret"
    assert "be_secret" not in repr(api) + repr(vars(api)) + str(caught.value) + caplog.text


async def test_the_key_and_the_url_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BLUEENGINE_API_KEY", "be_env")
    monkeypatch.setenv("BLUEENGINE_URL", "http://elsewhere:1")
    asked, answer = script(ok(ENGINES), ok(ENGINES))
    async with AsyncClient(transport=httpx.MockTransport(answer)) as api:
        assert api.url == "http://elsewhere:1"
        await api.engines()
    async with client(answer, api_key="") as api:
        await api.engines()
    assert asked[0].headers["authorization"] == "Bearer be_env"
    assert "authorization" not in asked[1].headers


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("localhost:8080", "write http://host:port"),
        ("ftp://host", "write http://host:port"),
        ("http://", "write http://host:port"),
        ("http://me:secret@host", "must hold no login"),
    ],
)
async def test_a_wrong_url_is_said_at_once(url: str, said: str) -> None:
    with pytest.raises(ClientError, match=said) as caught:
        AsyncClient(url)
    assert "secret" not in str(caught.value)


async def test_a_key_that_can_be_none_is_not_shown() -> None:
    with pytest.raises(ClientError, match="characters that no key has") as caught:
        AsyncClient(api_key="be_secret\n")
    assert "be_secret" not in str(caught.value)


async def test_what_a_newer_platform_adds_is_ignored() -> None:
    engine = {"id": "ocr", "mood": "good", "instanceList": [{"id": "i", "age": 3}]}
    async with client(lambda _: ok(engine)) as api:
        found = await api.engine("ocr")
    assert found.instance_list[0].id == "i"


async def test_sessions_are_paged_as_they_are_taken() -> None:
    asked: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        first = int(request.url.params.get("cursor", 0))
        rows = [{"sessionId": f"s{n}", "status": "failed"} for n in range(first, first + 2)]
        return ok({"sessions": rows, "cursor": str(first + 2) if first < 4 else None})

    async with client(answer) as api:
        found = [row.session_id async for row in api.sessions(status="failed", labels={"a": "b"})]
        assert found == ["s0", "s1", "s2", "s3", "s4", "s5"]
        assert len(asked) == 3
        assert [row.session_id async for row in api.sessions(limit=3)] == ["s0", "s1", "s2"]
    assert len(asked) == 5
    assert asked[0].params["label"] == "a:b"
