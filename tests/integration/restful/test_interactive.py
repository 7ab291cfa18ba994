"""Pushing more input over REST: what is taken, what is refused and how."""

import asyncio
from typing import Any

import httpx
import pytest

from apps.sessions.live import WINDOW_MESSAGES
from blueengine.wire import codec
from blueengine.wire.envelope import Meta
from blueengine.wire.plan import Feed
from tests.integration.restful.conftest import API, Gateway, an_echo
from tests.integration.restful.fake_engine import FakeEngine, FakePart
from tests.kit.wait import until


async def an_interactive(gateway: Gateway, **changes: Any) -> str:
    inputs = {"Control": {"type": "JSON"}, "Image": {"type": "Image"}}
    return await gateway.submit(interactive=True, inputs=inputs, **changes)


async def push(
    gateway: Gateway, session: str, value: Any, channel: str = "Control", **params: Any
) -> httpx.Response:
    path = f"/sessions/{session}/channels/{channel}"
    return await gateway.post(path, value, params=params)


def problem(answer: httpx.Response) -> str:
    kind: str = answer.json()["data"]["errors"][0]["type"]
    return kind


async def got(part: FakePart, channel: str = "Control") -> list[Feed]:
    """Return what is pushed to a channel and not consumed."""
    kept = {name.decode(): items for name, _, _, items in await part.attach(channel)}
    return [codec.decode(Feed, item) for item in kept[channel]]


async def test_json_is_pushed_and_numbered(gateway: Gateway, engine: FakeEngine) -> None:
    session = await an_interactive(gateway)
    answers = [await push(gateway, session, value) for value in ({"a": 1}, "b", [None])]
    assert [answer.status_code for answer in answers] == [202] * 3
    assert answers[1].json()["data"] == {
        "sessionId": session,
        "channel": "Control",
        "sequence": 1,
        "ended": False,
        "repeated": False,
    }
    part = await engine.accept()
    assert [feed.payload for feed in await got(part)] == [b'{"a":1}', b'"b"', b"[null]"]
    await part.finish()


async def test_bytes_are_pushed_as_they_are_small_or_large(
    gateway: Gateway, engine: FakeEngine
) -> None:
    session = await an_interactive(gateway)
    url = f"{API}/sessions/{session}/channels/Image"
    bodies = [b"\x89PNG small", bytes(range(256)) * 1000]
    for body in bodies:
        answer = await gateway.client.post(
            url, content=body, headers={"Content-Type": "image/png"}, params={"name": "a/b.png"}
        )
        assert answer.status_code == 202, answer.text
    part = await engine.accept()
    small, large = await got(part, "Image")
    assert (small.payload, small.blob) == (bodies[0], "")
    assert codec.decode(Meta, small.meta) == Meta(content_type="image/png", name="b.png")
    assert large.payload == b""
    assert gateway.parts.blobs.read(large.blob) == bodies[1]
    await part.finish()


async def test_a_binary_message_may_be_base64_or_an_uploaded_file(
    gateway: Gateway, engine: FakeEngine
) -> None:
    session = await an_interactive(gateway)
    upload = await gateway.client.post(f"{API}/files", content=b"from a file")
    file = upload.json()["data"]["fileId"]
    for value in ({"base64": "AAEC"}, {"fileId": file}):
        assert (await push(gateway, session, value, "Image")).status_code == 202
    part = await engine.accept()
    assert [feed.payload for feed in await got(part, "Image")] == [b"\0\1\2", b"from a file"]
    await part.finish()


@pytest.mark.parametrize(
    ("channel", "content", "kind", "expected"),
    [
        ("Control", b"{", "application/json", (400, "malformed")),
        ("Control", b'{"a":1,"a":2}', "application/json", (400, "malformed")),
        ("Control", b"x", "application/octet-stream", (415, "unsupported-media-type")),
        ("Image", b"3", "application/json", (422, "bad-payload")),
        ("Image", b'{"base64":"?"}', "application/json", (422, "bad-payload")),
        ("Image", b'{"fileId":"no"}', "application/json", (422, "unknown-file")),
        ("Control", b" " * (1 << 20) + b"1", "application/json", (413, "too-large")),
        ("Image", bytes(5 << 20), "image/png", (413, "too-large")),
        ("Nothing", b"1", "application/json", (404, "unknown-channel")),
        ("Result", b"1", "application/json", (409, "written-by-engine")),
    ],
)
async def test_what_cannot_be_pushed_is_refused_and_leaves_nothing(
    gateway: Gateway, channel: str, content: bytes, kind: str, expected: tuple[int, str]
) -> None:
    session = await an_interactive(gateway)
    url = f"{API}/sessions/{session}/channels/{channel}"
    answer = await gateway.client.post(url, content=content, headers={"Content-Type": kind})
    assert (answer.status_code, problem(answer)) == expected
    assert not list(gateway.blobs.rglob("pushed/*"))


async def test_a_session_that_is_not_interactive_takes_no_input(gateway: Gateway) -> None:
    session = await gateway.submit()
    for path in ("", "/end"):
        answer = await gateway.post(f"/sessions/{session}/channels/Control{path}", 1)
        assert (answer.status_code, problem(answer)) == (409, "not-interactive")


async def test_an_unknown_session_is_404(gateway: Gateway) -> None:
    assert (await push(gateway, "session-process-workflow-0-1-x", 1)).status_code == 404


async def test_a_session_that_has_ended_is_409(gateway: Gateway, engine: FakeEngine) -> None:
    session = await an_interactive(gateway)
    await (await engine.accept()).finish()
    answer = await push(gateway, session, 1)
    assert (answer.status_code, problem(answer)) == (409, "session-ended")
    answer = await gateway.post(f"/sessions/{session}/channels/Control/end")
    assert (answer.status_code, problem(answer)) == (409, "session-ended")


async def test_a_channel_ends_once_and_then_takes_nothing(
    gateway: Gateway, engine: FakeEngine
) -> None:
    session = await an_interactive(gateway)
    await push(gateway, session, 1)
    path = f"/sessions/{session}/channels/Control/end"
    answers = [await gateway.post(path) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 200]
    assert [answer.json()["data"]["sequence"] for answer in answers] == [1, 1]
    answer = await push(gateway, session, 2)
    assert (answer.status_code, problem(answer)) == (409, "channel-ended")


async def test_a_repeated_push_is_one_message(gateway: Gateway, engine: FakeEngine) -> None:
    session = await an_interactive(gateway)
    answers = [await push(gateway, session, "a", sequence=0) for _ in range(2)]
    headers = {"Idempotency-Key": "mine"}
    path = f"/sessions/{session}/channels/Control"
    answers += [await gateway.post(path, {"b": 1}, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 200, 202, 200]
    assert [answer.json()["data"]["sequence"] for answer in answers] == [0, 0, 1, 1]
    other = await gateway.post(path, {"b": 2}, headers=headers)
    assert (other.status_code, problem(other)) == (409, "idempotency-conflict")
    gap = await push(gateway, session, "c", sequence=7)
    assert (gap.status_code, problem(gap)) == (409, "sequence-gap")
    part = await engine.accept()
    assert [feed.payload for feed in await got(part)] == [b'"a"', b'{"b":1}']
    await part.finish()


async def test_too_much_at_once_is_429_and_a_push_may_wait_for_room(
    gateway: Gateway, engine: FakeEngine
) -> None:
    session = await an_interactive(gateway)
    part = await engine.accept()
    await part.attach("Control")
    for number in range(WINDOW_MESSAGES):
        assert (await push(gateway, session, number)).status_code == 202
    refused = await push(gateway, session, "more")
    assert (refused.status_code, problem(refused)) == (429, "no-room")
    assert refused.headers["retry-after"] == "1"
    waiting = asyncio.ensure_future(push(gateway, session, "more", waitTimeSecond=20))
    await until(lambda: len(gateway.parts.pokes) == 1)
    await part.taken("Control", 10)
    assert (await waiting).json()["data"]["sequence"] == WINDOW_MESSAGES
    await part.finish()


async def test_a_push_that_waits_hears_of_the_session_s_end(
    gateway: Gateway, engine: FakeEngine
) -> None:
    session = await an_interactive(gateway)
    part = await engine.accept()
    for number in range(WINDOW_MESSAGES):
        await push(gateway, session, number)
    waiting = asyncio.ensure_future(push(gateway, session, "more", waitTimeSecond=20))
    await until(lambda: len(gateway.parts.pokes) == 1)
    await part.finish()
    assert problem(await waiting) == "session-ended"


async def test_a_message_on_a_stored_channel_is_a_result(
    gateway: Gateway, engine: FakeEngine
) -> None:
    inputs = {
        "Control": {"type": "JSON", "payload": 0, "interested": True},
        "Image": {"type": "Image", "interested": True},
    }
    session = await gateway.submit(interactive=True, inputs=inputs)
    await push(gateway, session, 1)
    body = bytes(100_000)
    await gateway.client.post(
        f"{API}/sessions/{session}/channels/Image",
        content=body,
        headers={"Content-Type": "image/png"},
    )
    part = await engine.accept()
    await part.attach("Control,Image")
    await part.taken("Image", 1)
    await part.finish()
    results = (await gateway.get(f"/process-single-engine/{session}")).json()["data"]["results"]
    assert results["Control"] == [0, 1]
    (picture,) = results["Image"]
    assert (picture["contentType"], picture["size"]) == ("image/png", len(body))
    assert (await gateway.client.get(picture["url"])).content == body


async def test_an_interactive_session_has_one_attempt_and_an_input_of_the_client(
    gateway: Gateway,
) -> None:
    answer = await gateway.post(
        "/process-single-engine",
        an_echo(interactive=True, retry={"maxAttempts": 2}),
    )
    assert (answer.status_code, problem(answer)) == (422, "interactive-retry")
    answer = await gateway.post("/process-single-engine", an_echo(interactive=True, inputs={}))
    assert (answer.status_code, problem(answer)) == (422, "nothing-to-push-to")
