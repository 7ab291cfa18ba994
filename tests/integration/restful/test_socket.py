"""The WebSocket of a session: events and results out, pushes in."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from apps.sessions.live import WINDOW_MESSAGES
from blueengine.transport.blobs import result_ref
from blueengine.wire import codec, command, names
from blueengine.wire.envelope import Copy, Meta, Stored
from tests.integration.restful.conftest import API, Gateway
from tests.integration.restful.fake_engine import FakeEngine
from tests.integration.restful.test_interactive import an_interactive, got
from tests.kit.servers import RealRedis
from tests.kit.wait import until

LIMIT = 20.0


class Client:
    """One end of a WebSocket."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.last_id = ""
        self.frames: list[dict[str, Any] | bytes] = []

    async def next(self) -> dict[str, Any] | bytes:
        received = await asyncio.wait_for(self.connection.recv(), LIMIT)
        frame: dict[str, Any] | bytes = (
            received if isinstance(received, bytes) else json.loads(received)
        )
        if isinstance(frame, dict) and "id" in frame:
            self.last_id = frame["id"]
        self.frames.append(frame)
        return frame

    async def until(self, **wanted: Any) -> dict[str, Any]:
        """Read on until a frame has these members."""
        while True:
            frame = await self.next()
            if isinstance(frame, dict) and wanted.items() <= frame.items():
                return frame

    async def rest(self) -> int:
        """Read to the end; the code the gateway closed with."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self.next()
        assert self.connection.close_code is not None
        return self.connection.close_code

    async def send(self, **frame: Any) -> dict[str, Any]:
        """Send a frame and wait for its answer."""
        await self.connection.send(json.dumps(frame))
        while True:
            answer = await self.next()
            if isinstance(answer, dict) and answer["type"] in {"ack", "error"}:
                return answer

    def results(self, channel: str = "Result") -> list[Any]:
        return [
            frame["value"]
            for frame in self.frames
            if isinstance(frame, dict) and frame["type"] == "result" and frame["channel"] == channel
        ]

    def words(self) -> list[str]:
        events = [f for f in self.frames if isinstance(f, dict) and f["type"] == "event"]
        return [f"{f['event']} {f['data'].get('status', '')}".strip() for f in events]


@asynccontextmanager
async def a_socket(
    gateway: Gateway, session: str, query: str = "", **more: Any
) -> AsyncIterator[Client]:
    url = f"ws://127.0.0.1:{gateway.port}{API}/sessions/{session}/ws{query}"
    async with connect(url, proxy=None, **more) as connection:
        yield Client(connection)


async def test_events_and_results_come_and_the_end_closes_it(
    gateway: Gateway, engine: FakeEngine
) -> None:
    session = await gateway.submit()
    async with a_socket(gateway, session) as client:
        part = await engine.accept()
        await part.say({"n": 1}, 2)
        await client.until(type="event", event="results")
        assert client.results() == [{"n": 1}, 2]
        await part.notice("progress", b'{"done":1}')
        await client.until(type="event", event="progress")
        await part.finish()
        assert await client.rest() == 1000
    assert client.words()[-1] == "status finished"
    await until(lambda: len(gateway.parts.pokes) == 0)


async def test_pushes_are_answered_and_reach_the_engine(
    gateway: Gateway, engine: FakeEngine
) -> None:
    session = await an_interactive(gateway)
    part = await engine.accept()
    async with a_socket(gateway, session) as client:
        answer = await client.send(type="push", channel="Control", payload={"a": 1}, ref="mine")
        assert answer == {
            "type": "ack",
            "ref": "mine",
            "channel": "Control",
            "sequence": 0,
            "ended": False,
            "repeated": False,
        }
        again = await client.send(type="push", channel="Control", payload=None, sequence=0)
        assert again["repeated"] is True
        ended = await client.send(type="end", channel="Control")
        assert (ended["sequence"], ended["ended"]) == (1, True)
        assert [feed.payload for feed in await got(part)] == [b'{"a":1}']
        await part.finish()
        assert await client.rest() == 1000


async def test_a_binary_message_follows_its_frame(gateway: Gateway, engine: FakeEngine) -> None:
    session = await an_interactive(gateway)
    part = await engine.accept()
    async with a_socket(gateway, session) as client:
        for data in (b"\x89PNG", bytes(200_000)):
            frame = {
                "type": "push",
                "channel": "Image",
                "binary": True,
                "contentType": "image/png",
                "name": "a.png",
            }
            await client.connection.send(json.dumps(frame))
            await client.connection.send(data)
            await client.until(type="ack")
        small, large = await got(part, "Image")
        assert (small.payload, codec.decode(Meta, small.meta).name) == (b"\x89PNG", "a.png")
        assert gateway.parts.blobs.size(large.blob) == 200_000
        await part.finish()


async def test_binary_results_come_behind_their_facts(gateway: Gateway, engine: FakeEngine) -> None:
    session = await gateway.submit(outputs={"Picture": {"type": "Image", "interested": True}})
    part = await engine.accept()
    meta = codec.encode(Meta(content_type="image/png"))
    ref = result_ref(session, "Picture", "1-echo-1")
    gateway.parts.blobs.write(ref, [bytes(100_000)])
    big = result_ref(session, "Picture", "1-echo-2")
    gateway.parts.blobs.write(big, [bytes(2 << 20)])
    await part.output(
        "Picture",
        Stored("Image", b"\x89PNG", meta, "", 4),
        Stored("Image", b"", meta, ref, 100_000),
        Stored("Image", b"", meta, big, 2 << 20),
    )
    async with a_socket(gateway, session) as client:
        for size in (4, 100_000):
            facts = await client.until(type="result")
            assert (facts["binary"], facts["size"], facts["contentType"]) == (
                True,
                size,
                "image/png",
            )
            data = await client.next()
            assert isinstance(data, bytes)
            assert len(data) == size
        facts = await client.until(type="result")
        assert (facts["binary"], facts["size"]) == (False, 2 << 20)
        assert len((await gateway.client.get(facts["url"])).content) == 2 << 20
        await part.finish()
        assert await client.rest() == 1000


async def test_a_client_that_comes_back_goes_on_where_it_was(
    gateway: Gateway, engine: FakeEngine
) -> None:
    inputs = {"Control": {"type": "JSON", "payload": "start", "interested": True}}
    session = await gateway.submit(inputs=inputs)
    part = await engine.accept()
    await part.say(1, 2)
    async with a_socket(gateway, session) as first:
        await first.until(type="event", event="results")
    await part.say(3)
    await part.finish()
    async with a_socket(gateway, session, f"?after={first.last_id}") as second:
        assert await second.rest() == 1000
    assert (first.results(), second.results()) == ([1, 2], [3])
    assert second.results("Control") == ["start"], "nobody told of it: it comes at the end"
    assert second.words() == ["results", "part finished", "status finished"]


@pytest.mark.parametrize(
    ("frame", "status", "kind"),
    [
        ("no json", 400, "malformed"),
        ('{"type":"push","type":"end"}', 400, "malformed"),
        ("[]", 422, "bad-frame"),
        ('{"type":"push","channel":"Control","paylaod":1}', 422, "bad-frame"),
        ('{"type":"dance","channel":"Control"}', 422, "bad-frame"),
        ('{"type":"push","channel":"Control"}', 422, "missing"),
        ('{"type":"push","channel":"Gone","payload":1}', 404, "unknown-channel"),
        ('{"type":"push","channel":"Result","payload":1}', 409, "written-by-engine"),
        ('{"type":"push","channel":"Image","payload":1}', 422, "bad-payload"),
        ('{"type":"push","channel":"Control","payload":1,"sequence":9}', 409, "sequence-gap"),
        (b"\0", 400, "malformed"),
    ],
)
async def test_a_frame_that_cannot_be_meant_is_answered_and_changes_nothing(
    gateway: Gateway, frame: str | bytes, status: int, kind: str
) -> None:
    session = await an_interactive(gateway)
    async with a_socket(gateway, session) as client:
        await client.connection.send(frame)
        answer = await client.until(type="error")
        assert (answer["status"], answer["errors"][0]["type"]) == (status, kind)
        assert (await client.send(type="push", channel="Control", payload=1))["sequence"] == 0


async def test_a_push_waits_for_room_and_those_behind_it_wait_too(
    gateway: Gateway, engine: FakeEngine
) -> None:
    session = await an_interactive(gateway)
    part = await engine.accept()
    await part.attach("Control")
    more = 20
    async with a_socket(gateway, session) as client:
        for number in range(WINDOW_MESSAGES + more):
            frame = {"type": "push", "channel": "Control", "payload": number}
            await client.connection.send(json.dumps(frame))
        await client.until(type="ack", sequence=WINDOW_MESSAGES - 1)
        await until(lambda: waits_for_room(gateway, session))
        assert await pushed_so_far(gateway, session) == WINDOW_MESSAGES
        await part.taken("Control", more)
        await client.until(type="ack", sequence=WINDOW_MESSAGES + more - 1)
        assert [feed.payload for feed in await got(part)] == [
            str(number).encode() for number in range(more, WINDOW_MESSAGES + more)
        ]
        await part.finish()


async def waits_for_room(gateway: Gateway, session: str) -> bool:
    link = gateway.parts.store._link
    return bool(await link.send("HGET", names.pushes(session), "w"))


async def pushed_so_far(gateway: Gateway, session: str) -> int:
    link = gateway.parts.store._link
    return int(await link.send("HGET", names.pushes(session), "n:Control"))


async def test_a_session_that_is_not_interactive_takes_no_push(
    gateway: Gateway, engine: FakeEngine
) -> None:
    session = await gateway.submit()
    async with a_socket(gateway, session) as client:
        answer = await client.send(type="push", channel="Control", payload=1)
        assert (answer["status"], answer["errors"][0]["type"]) == (409, "not-interactive")


async def test_a_tap_comes_on_the_same_socket(gateway: Gateway, engine: FakeEngine) -> None:
    session = await gateway.submit()
    part = await engine.accept()
    async with a_socket(gateway, session, "?tap=Result&results=false") as client:
        order = await engine.next_command()
        assert isinstance(order, command.Tap)
        copy = Copy(session, 1, "Result", "echo", 1, "JSON", b"[1]", b"", 3)
        await gateway.parts.store._link.send(
            "PUBLISH", names.tap(order.gateway), codec.encode(copy)
        )
        shown = (await client.until(type="tap"))["data"]
        assert (shown["channel"], shown["body"], shown["skipped"]) == ("Result", [1], 0)
        await part.say(1)
        await part.finish()
        assert await client.rest() == 1000
    assert client.results() == [], "they were not asked for"


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("?after=x", {}, 422),
        ("?results=maybe", {}, 422),
        ("?tap=Nothing", {}, 404),
        ("?" + "&".join(["tap=Result"] * 9), {}, 422),
        ("", {"Origin": "https://evil.example"}, 403),
    ],
)
async def test_a_request_that_is_wrong_is_refused_before_the_socket_opens(
    gateway: Gateway, query: str, headers: dict[str, str], status: int
) -> None:
    session = await gateway.submit()
    with pytest.raises(InvalidStatus) as refused:
        async with a_socket(gateway, session, query, additional_headers=headers):
            pass
    assert refused.value.response.status_code == status
    assert json.loads(refused.value.response.body or b"")["status"] == "error"


async def test_an_unknown_session_is_404(gateway: Gateway) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with a_socket(gateway, "session-process-workflow-0-1-x"):
            pass
    assert refused.value.response.status_code == 404


async def test_a_page_of_this_gateway_may_connect(gateway: Gateway) -> None:
    session = await gateway.submit()
    origin = f"http://127.0.0.1:{gateway.port}"
    async with a_socket(gateway, session, additional_headers={"Origin": origin}) as client:
        await client.until(type="event")


async def test_a_gateway_that_stops_says_so(gateway: Gateway, engine: FakeEngine) -> None:
    session = await gateway.submit()
    async with a_socket(gateway, session) as client:
        await client.until(type="event")
        gateway.stop()
        assert await client.rest() == 1012


async def test_a_client_that_goes_is_forgotten(gateway: Gateway, engine: FakeEngine) -> None:
    session = await gateway.submit()
    async with a_socket(gateway, session) as client:
        await client.until(type="event")
    await until(lambda: len(gateway.parts.pokes) == 0)


async def test_redis_that_is_away_closes_with_its_own_code(
    gateway_of_own_redis: Gateway, own_redis: RealRedis
) -> None:
    gateway = gateway_of_own_redis
    session = await an_interactive(gateway)
    async with a_socket(gateway, session) as client:
        await client.until(type="event")
        own_redis.kill()
        answer = await client.send(type="push", channel="Control", payload=1)
        assert answer["status"] == 503


async def test_what_a_slow_client_does_not_take_waits_in_redis_not_in_memory(
    gateway: Gateway, engine: FakeEngine
) -> None:
    session = await gateway.submit()
    part = await engine.accept()
    async with a_socket(gateway, session, max_queue=1) as client:
        filler = "x" * 50_000
        for number in range(400):  # 20 MB, more than all buffers on the way
            await part.say(f"{number} {filler}")
        await part.finish()
        assert await client.rest() == 1000
    assert [value.split()[0] for value in client.results()] == [str(n) for n in range(400)]
