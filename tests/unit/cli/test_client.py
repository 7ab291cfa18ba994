"""The HTTP client, against answers that are made up here."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from blueengine.client.answers import Event
from blueengine.client.http import ApiError, Client, EventParser, PlatformAwayError

SESSION = "session-process-workflow-0-1.0-x"
Answer = Callable[[httpx.Request], httpx.Response]


def client(answer: Answer) -> Client:
    """Return a client whose requests ``answer`` gets."""
    return Client("http://platform", transport=httpx.MockTransport(answer))


def ok(data: object, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json={"status": "success", "message": "", "data": data})


def outcome(status: str) -> dict[str, Any]:
    return {"sessionId": SESSION, "process": {"status": status}, "results": {}}


def feed(text: str) -> list[Event]:
    parser = EventParser()
    found = [parser.feed(line) for line in text.split("\n")]
    return [event for event in found if event]


def test_events_are_parsed() -> None:
    text = 'retry: 1000\n\n:\n\nid: 1-0.0\nevent: status\ndata: {"status":"pending"}\n\n'
    assert feed(text) == [Event(id="1-0.0", name="status", data={"status": "pending"})]


def test_data_in_several_lines_is_one_event() -> None:
    assert feed('data: {"a":\ndata: 1}\n\n') == [Event(data={"a": 1})]


async def test_faults_are_named_in_one_line() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        faults = [
            {"loc": "/engines/0/id", "msg": "unknown", "type": "x"},
            {"loc": "", "msg": "no", "type": "y"},
        ]
        data = {"errors": faults}
        return httpx.Response(422, json={"status": "error", "message": "2 faults", "data": data})

    async with client(answer) as api:
        with pytest.raises(ApiError, match=r"^2 faults: /engines/0/id: unknown; no$") as caught:
            await api.submit({"engines": []})
    assert caught.value.status == 422
    assert len(caught.value.faults) == 2


async def test_an_answer_that_is_no_envelope_is_an_error_all_the_same() -> None:
    async with client(lambda _: httpx.Response(502, text="<html>")) as api:
        with pytest.raises(ApiError, match="HTTP 502"):
            await api.engines()


async def test_nobody_there_says_what_to_do() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    async with client(answer) as api:
        with pytest.raises(PlatformAwayError, match="start one with `blueengine up`"):
            await api.engines()


async def test_uploads_are_streamed(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(b"x" * 3_000_000)

    async def answer(request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        assert request.url.params["name"] == "a.pdf"
        assert "content-length" not in request.headers
        return ok({"fileId": "f1", "size": len(body)}, 201)

    async with client(answer) as api:  # type: ignore[arg-type]  # the transport takes both kinds
        assert (await api.upload(path)).size == 3_000_000


async def test_wait_asks_until_the_end() -> None:
    states = ["pending", "processing", "finished"]
    async with client(lambda _: ok(outcome(states.pop(0)))) as api:
        assert (await api.wait(SESSION)).status == "finished"
    assert not states


@pytest.mark.parametrize(
    ("session", "route"),
    [
        (SESSION, "/api/v1/process-workflow/"),
        ("session-process-single-engine-0-1-x", "/api/v1/process-single-engine/"),
    ],
)
async def test_each_kind_of_session_has_its_route(session: str, route: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == route + session
        return ok(outcome("finished"))

    async with client(answer) as api:
        await api.outcome(session)


async def test_pages_of_results_are_followed() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        after = int(request.url.params["after"])
        return ok({"results": [after, after + 1], "next": after + 2 if after < 4 else None})

    async with client(answer) as api:
        assert [result async for result in api.results(SESSION, "Out")] == [0, 1, 2, 3, 4, 5]


@pytest.mark.looptime
async def test_a_broken_event_stream_goes_on_behind_the_last_event() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/events"):
            return ok(outcome("finished" if len(asked) > 2 else "processing"))
        asked.append(request.headers.get("last-event-id", ""))
        if len(asked) == 2:
            raise httpx.ReadError("gone")
        body = f'id: {len(asked)}-0.0\nevent: status\ndata: {{"n": {len(asked)}}}\n\n'
        return httpx.Response(200, text=body)

    async with client(answer) as api:
        seen = [event.data["n"] async for event in api.events(SESSION)]
    assert seen == [1, 3]
    assert asked == ["", "1-0.0", "1-0.0"]


@pytest.mark.looptime
async def test_an_event_stream_is_given_up_in_the_end() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    async with client(answer) as api:
        with pytest.raises(PlatformAwayError):
            async for _ in api.events(SESSION):
                pass
    assert asyncio.get_running_loop().time() < 60


async def test_what_a_newer_platform_adds_is_ignored() -> None:
    engine = {"id": "ocr", "mood": "good", "instanceList": [{"id": "i", "age": 3}]}
    async with client(lambda _: ok(engine)) as api:
        found = await api.engine("ocr")
    assert found.instance_list[0].id == "i"
