"""A session: its end, its events, its results."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from blueengine.client import (
    Blob,
    ConflictError,
    Event,
    PlatformAwayError,
    SessionCanceledError,
    SessionFailedError,
)
from blueengine.client.sse import EventParser
from tests.unit.client.platform import SESSION, client, no, ok, outcome, script

pytestmark = pytest.mark.looptime


def feed(*pieces: bytes) -> list[Event]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)]


STATUS = b'id: 1-0.0\nevent: status\ndata: {"status":"pending"}\n\n'


async def test_events_are_parsed_however_they_are_cut() -> None:
    wanted = [Event(id="1-0.0", name="status", data={"status": "pending"})]
    text = b"retry: 1000\n\n:\n\n" + STATUS
    assert feed(text) == wanted
    assert feed(*[text[at : at + 1] for at in range(len(text))]) == wanted
    assert feed(text.replace(b"\n", b"\r\n")) == wanted


async def test_data_in_several_lines_is_one_event() -> None:
    assert feed(b'data: {"a":\ndata: 1}\n\n') == [Event(data={"a": 1})]


async def test_a_line_separator_inside_json_ends_no_line() -> None:
    text = 'data: {"m":"a\u2028b\x85c"}\n\n'
    assert feed(text.encode()) == [Event(data={"m": "a\u2028b\x85c"})]


async def test_wait_asks_until_the_end() -> None:
    asked, answer = script(*[ok(outcome(s)) for s in ("pending", "processing", "finished")])
    async with client(answer) as api:
        assert (await api.session(SESSION).wait()).status == "finished"
    assert [request.url.params["waitTimeSecond"] for request in asked] == ["30.0"] * 3


async def test_wait_gives_up_when_told_to_and_the_session_runs_on() -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        assert request.method == "GET"
        await asyncio.sleep(30)
        return ok(outcome("processing"))

    async with client(answer) as api:  # type: ignore[arg-type]  # the transport takes both kinds
        with pytest.raises(TimeoutError):
            await api.session(SESSION).wait(timeout=40)


async def test_wait_of_what_had_ended_with_the_submit_asks_nothing_more() -> None:
    asked, answer = script(ok(outcome("finished", {"Out": [1]})))
    async with client(answer) as api:
        session = await api.submit({"engineId": "hello"}, wait=5)
        assert (await session.wait()).results == {"Out": [1]}
    assert len(asked) == 1


async def test_results_that_one_answer_has_no_room_for_are_fetched() -> None:
    whole = {**outcome("finished", {"Out": [0, 1]}), "more": {"Out": "/x"}}
    asked, answer = script(ok(whole), ok({"results": [2, 3], "next": 4}), ok({"results": [4]}))
    async with client(answer) as api:
        found = await api.session(SESSION).wait()
    assert found.results == {"Out": [0, 1, 2, 3, 4]}
    assert found.more is None
    assert asked[1].url.params["after"] == "2"


@pytest.mark.parametrize(
    ("session", "route"),
    [
        (SESSION, "/api/v1/process-workflow/"),
        ("session-process-single-engine-0-1-x", "/api/v1/process-single-engine/"),
    ],
)
async def test_each_kind_of_session_has_its_route(session: str, route: str) -> None:
    asked, answer = script(ok(outcome("finished")))
    async with client(answer) as api:
        await api.session(session).outcome()
    assert asked[0].url.path == route + session


async def test_a_failed_session_raises_where_that_is_wanted() -> None:
    error = {"code": "failed", "message": "no page", "traceback": "Traceback …"}
    _, answer = script(ok(outcome("failed", error=error)), ok(outcome("canceled")))
    async with client(answer) as api:
        found = await api.session(SESSION).wait()
        with pytest.raises(SessionFailedError, match="the session failed: no page") as caught:
            found.raise_for_status()
        assert caught.value.outcome.process.error
        assert caught.value.outcome.process.error.traceback == "Traceback …"
        with pytest.raises(SessionCanceledError, match="was canceled"):
            (await api.session(SESSION).outcome()).raise_for_status()


async def test_run_that_is_given_up_stops_the_session() -> None:
    asked: list[str] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if request.url.path.endswith("/stop"):
            return ok({"process": {"status": "stopping"}}, 202)
        if request.method == "GET":
            await asyncio.sleep(30)
        return ok(outcome("processing"), 202)

    async with client(answer) as api:  # type: ignore[arg-type]  # the transport takes both kinds
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await api.run({"engineId": "hello"})
    assert asked[-1] == f"/api/v1/sessions/{SESSION}/stop"


async def test_a_stop_whose_answer_was_lost_is_no_conflict() -> None:
    _, answer = script(httpx.ReadError("broken"), no(409, "has ended"), ok(outcome("canceled")))
    async with client(answer) as api:
        assert await api.session(SESSION).stop() == "canceled"
    _, answer = script(httpx.ReadError("broken"), no(409, "ended"), ok(outcome("finished")))
    async with client(answer) as api:
        with pytest.raises(ConflictError):
            await api.session(SESSION).stop()
    _, answer = script(no(409, "has ended"))
    async with client(answer) as api:
        with pytest.raises(ConflictError):
            await api.session(SESSION).stop()


async def test_pages_of_results_are_followed() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        after = int(request.url.params["after"])
        return ok({"results": [after, after + 1], "next": after + 2 if after < 4 else None})

    async with client(answer) as api:
        found = api.session(SESSION).results("Out", follow=False)
        assert [result async for result in found] == [0, 1, 2, 3, 4, 5]


async def test_a_broken_event_stream_goes_on_behind_the_last_event() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/events"):
            return ok(outcome("finished" if len(asked) > 2 else "processing"))
        asked.append(request.headers.get("last-event-id", ""))
        if len(asked) == 2:
            raise httpx.ReadError("gone")
        body = f'id: {len(asked)}-0.0\nevent: note\ndata: {{"n": {len(asked)}}}\n\n'
        return httpx.Response(200, text=body)

    async with client(answer) as api:
        seen = [event.data["n"] async for event in api.session(SESSION).events()]
    assert seen == [1, 3]
    assert asked == ["", "1-0.0", "1-0.0"]


async def test_a_stream_that_breaks_after_a_long_silence_is_taken_up_again() -> None:
    asked: list[str] = []

    async def body() -> AsyncIterator[bytes]:
        yield b'id: 1-0.0\nevent: note\ndata: {"n": 1}\n\n'
        for _ in range(40):
            await asyncio.sleep(15)
            yield b":\n\n"
        raise httpx.ReadError("gone")

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("last-event-id", ""))
        if len(asked) == 1:
            return httpx.Response(200, content=body())
        last = b'id: 2-0.0\nevent: status\ndata: {"status": "finished"}\n\n'
        return httpx.Response(200, content=last)

    async with client(answer) as api:
        seen = [event.id async for event in api.session(SESSION).events()]
    assert seen == ["1-0.0", "2-0.0"]
    assert asked == ["", "1-0.0"]


async def test_an_event_stream_is_given_up_in_the_end() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("gone")

    async with client(answer) as api:
        with pytest.raises(PlatformAwayError):
            async for _ in api.session(SESSION).events():
                pass
    assert asyncio.get_running_loop().time() < 60


def stream(*events: tuple[str, dict[str, Any]]) -> httpx.Response:
    lines = [
        f"id: {n}-0.0\nevent: {name}\ndata: {json.dumps(data)}\n\n"
        for n, (name, data) in enumerate(events)
    ]
    return httpx.Response(200, text="".join(lines))


async def test_results_come_live_and_a_failure_is_not_silent() -> None:
    stored = [["a"], ["a", "b", "c"]]

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path.endswith("/results/Out"):
            after = int(request.url.params["after"])
            return ok({"results": stored[0][after:], "next": None})
        if path.endswith("/events"):
            stored.pop(0)
            return stream(
                ("results", {"channel": "Out", "count": 1, "attempt": 1}),
                ("results", {"channel": "Other", "count": 9, "attempt": 1}),
                ("results", {"channel": "Out", "count": 3, "attempt": 1}),
                ("status", {"status": "failed"}),
            )
        if path.startswith("/api/v1/sessions/"):
            return ok({"sessionId": SESSION, "status": "processing", "attempt": 1})
        return ok(outcome("failed", error={"message": "no page"}))

    seen: list[str] = []

    async def take(results: AsyncIterator[str]) -> None:
        async for result in results:
            seen.append(result)  # noqa: PERF401 - it must hold what came before the error

    async with client(answer) as api:
        with pytest.raises(SessionFailedError, match="no page"):
            await take(api.session(SESSION).results("Out"))
    assert seen == ["a", "b", "c"]


async def test_results_of_a_new_attempt_begin_anew() -> None:
    state = {"attempt": 1}

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path.endswith("/results/Out"):
            after = int(request.url.params["after"])
            return ok({"results": ["old", "older"][after:] if state["attempt"] == 1 else ["new"]})
        if path.endswith("/events"):
            state["attempt"] = 2
            return stream(
                ("results", {"channel": "Out", "count": 2, "attempt": 1}),
                ("status", {"status": "pending", "attempt": 2}),
                ("results", {"channel": "Out", "count": 1, "attempt": 2}),
                ("status", {"status": "finished", "attempt": 2}),
            )
        if path.startswith("/api/v1/sessions/"):
            return ok({"sessionId": SESSION, "status": "processing", "attempt": 1})
        return ok(outcome("finished"))

    async with client(answer) as api:
        assert [r async for r in api.session(SESSION).results("Out")] == ["old", "older", "new"]


def a_blob(channel: str = "Image") -> dict[str, Any]:
    url = f"/api/v1/sessions/{SESSION}/results/{channel}/0/blob"
    return {"url": url, "contentType": "image/png", "size": 3, "meta": {"name": "a.png"}}


async def test_binary_results_are_blobs_and_what_only_looks_so_is_not() -> None:
    fake = {**a_blob(), "url": "http://elsewhere/x"}
    more = {**a_blob(), "extra": 1}
    _, answer = script(ok(outcome("finished", {"Image": [a_blob()], "Out": [fake, more, 3]})))
    async with client(answer) as api:
        found = await api.session(SESSION).outcome()
    (blob,) = found.results["Image"]
    assert isinstance(blob, Blob)
    assert blob.name == "a.png"
    assert found.results["Out"] == [fake, more, 3]
