"""Following a session by server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from apps.restful.api import sse
from apps.restful.settings import RestfulSettings
from blueengine.wire import codec, command, names
from blueengine.wire.envelope import Copy
from tests.integration.restful.conftest import API, Gateway, running
from tests.integration.restful.fake_engine import FakeEngine
from tests.kit.servers import RealRedis
from tests.kit.wait import until


class Follower:
    """Reads one stream of events."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines
        self.last_id = ""
        self.comments = 0

    async def next(self) -> tuple[str, dict[str, Any]] | None:
        """Return the next event as (name, data); None at the end."""
        name = ""
        async for line in self._lines:
            word, _, value = line.partition(": ")
            if line.startswith(":"):
                self.comments += 1
            elif word == "id":
                self.last_id = value
            elif word == "event":
                name = value
            elif word == "data":
                return name, json.loads(value)
        return None

    async def rest(self) -> list[tuple[str, dict[str, Any]]]:
        events = []
        while event := await self.next():
            events.append(event)
        return events


@asynccontextmanager
async def following(
    gateway: Gateway, session: str, after: str = "", tap: Sequence[str] = ()
) -> AsyncIterator[Follower]:
    headers = {"Last-Event-ID": after} if after else {}
    url = f"{API}/sessions/{session}/events"
    params = {"tap": list(tap)}
    async with gateway.client.stream("GET", url, headers=headers, params=params) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Follower(response.aiter_lines())


def words(events: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [f"{name} {data.get('status', data.get('count', ''))}".strip() for name, data in events]


async def test_events_come_as_they_happen_and_end_with_the_session(
    gateway: Gateway, engine: FakeEngine
) -> None:
    session = await gateway.submit()
    async with following(gateway, session) as follower, asyncio.timeout(10):
        assert words([await follower.next() or ("", {})]) == ["status pending"]
        assert words([await follower.next() or ("", {})]) == ["status queuing"]
        part = await engine.accept()
        assert words([await follower.next() or ("", {})]) == ["status processing"]
        await part.notice("progress", b'{"done":1,"total":2}')
        name, data = await follower.next() or ("", {})
        assert (name, data["name"], data["body"]) == ("progress", "echo", {"done": 1, "total": 2})
        await part.say(1, 2)
        name, data = await follower.next() or ("", {})
        assert (name, data["channel"], data["count"]) == ("results", "Result", 2)
        assert data["url"] == f"{API}/sessions/{session}/results/Result"
        await part.finish()
        assert words(await follower.rest()) == ["part finished", "status finished"]
    await until(lambda: len(gateway.parts.pokes) == 0)


async def test_an_ended_session_tells_all_of_its_history(
    gateway: Gateway, engine: FakeEngine
) -> None:
    session = await gateway.submit()
    part = await engine.accept()
    await part.finish()
    async with following(gateway, session) as follower, asyncio.timeout(10):
        assert words(await follower.rest())[-2:] == ["part finished", "status finished"]


async def test_a_client_that_comes_back_misses_nothing_and_hears_nothing_twice(
    gateway: Gateway, engine: FakeEngine
) -> None:
    session = await gateway.submit()
    part = await engine.accept()
    await part.say(1)
    async with following(gateway, session) as follower, asyncio.timeout(10):
        first = [await follower.next() for _ in range(3)]  # in the middle of one step of the ledger
        last = follower.last_id
    await part.say(2)
    await part.finish()
    async with following(gateway, session, after=last) as follower, asyncio.timeout(10):
        second = await follower.rest()
    assert words([event for event in first if event] + second) == [
        "status pending",
        "status queuing",
        "status processing",
        "results 1",
        "results 2",
        "part finished",
        "status finished",
    ]
    done = await gateway.client.get(
        f"{API}/sessions/{session}/events", headers={"Last-Event-ID": follower.last_id}
    )
    assert done.status_code == 204


async def test_a_stream_goes_on_without_a_gap_at_another_gateway(
    gateway: Gateway, engine: FakeEngine, settings: RestfulSettings
) -> None:
    session = await gateway.submit()
    part = await engine.accept()
    async with following(gateway, session) as follower, asyncio.timeout(20):
        first = [await follower.next() for _ in range(3)]
        gateway.stop()  # as when it is started anew
        first += await follower.rest()
    await part.say(1)
    async with (
        asyncio.timeout(20),
        running(settings) as second,
        following(second, session, after=follower.last_id) as follower,
    ):
        rest = [await follower.next()]
        await part.say(2)
        await part.finish()
        rest += await follower.rest()
    assert words([event for event in first + rest if event]) == [
        "status pending",
        "status queuing",
        "status processing",
        "results 1",
        "results 2",
        "part finished",
        "status finished",
    ]


async def test_an_engine_s_own_word_never_passes_for_one_of_the_platform_s(
    gateway: Gateway, engine: FakeEngine
) -> None:
    session = await gateway.submit()
    part = await engine.accept()
    await part.notice("status", b'{"status":"finished"}')
    await part.notice("two\nlines", b"{}")
    await part.notice("custom.word", b"{}")
    await part.finish()
    async with following(gateway, session) as follower, asyncio.timeout(10):
        names = [name for name, data in await follower.rest() if "type" in data]
    assert names == ["notice", "notice", "custom.word"]


async def test_a_quiet_stream_is_kept_alive(
    gateway: Gateway, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "ALIVE_EVERY", 0.02)
    session = await gateway.submit()
    part = await engine.accept()
    async with following(gateway, session) as follower, asyncio.timeout(10):
        reading = asyncio.ensure_future(follower.rest())
        await until(lambda: follower.comments > 2)
        await part.finish()
        await reading


async def followers(gateway: Gateway, session: str) -> str:
    """Return the gateways that are poked at every event of a session."""
    found = await gateway.parts.store._link.send("HGET", names.session(session), "follow")
    return found.decode() if found else ""


async def test_a_client_that_goes_is_forgotten(gateway: Gateway, engine: FakeEngine) -> None:
    session = await gateway.submit()
    async with following(gateway, session) as follower:
        await follower.next()
        await until(lambda: followers(gateway, session))
    await until(lambda: len(gateway.parts.pokes) == 0)
    await until(lambda: unfollowed(gateway, session))


async def unfollowed(gateway: Gateway, session: str) -> bool:
    return not await followers(gateway, session)


async def test_one_of_two_clients_that_goes_takes_nothing_from_the_other(
    gateway: Gateway, engine: FakeEngine
) -> None:
    session = await gateway.submit()
    async with following(gateway, session) as stays, asyncio.timeout(10):
        await stays.next()
        async with following(gateway, session) as goes:
            await goes.next()
        await until(lambda: len(gateway.parts.pokes) == 1)
        await (await engine.accept()).finish()
        assert words(await stays.rest())[-1] == "status finished"


async def test_a_gateway_that_died_is_poked_no_more(gateway: Gateway, engine: FakeEngine) -> None:
    session = await gateway.submit()
    for dead in ("dead-1", "dead-2"):
        await gateway.parts.store.watch(session, dead, everything=True)
    async with following(gateway, session) as follower, asyncio.timeout(10):
        await until(lambda: is_followed_by(gateway, session, gateway.parts.pokes.gateway))
        await gateway.parts.store.watch(session, "dead-3", everything=True)
        part = await engine.accept()
        await until(lambda: is_followed_by(gateway, session, gateway.parts.pokes.gateway))
        await part.finish()
        await follower.rest()


async def is_followed_by(gateway: Gateway, session: str, only: str) -> bool:
    return await followers(gateway, session) == only


async def test_a_stream_goes_on_after_the_gateway_lost_redis(
    gateway_of_own_redis: Gateway, own_redis: RealRedis
) -> None:
    gateway = gateway_of_own_redis
    async with FakeEngine(own_redis.url) as engine:
        session = await gateway.submit()
        async with following(gateway, session) as follower, asyncio.timeout(20):
            part = await engine.accept()
            while words([await follower.next() or ("", {})]) != ["status processing"]:
                pass
            own_redis.call("CLIENT", "KILL", "TYPE", "pubsub")
            await part.say(1)  # finds nobody to poke: the gateway is taken for gone
            name, data = await follower.next() or ("", {})
            assert (name, data["count"]) == ("results", 1)
            await part.say(2)
            name, data = await follower.next() or ("", {})
            assert (name, data["count"]) == ("results", 2)
            await part.finish()
            await follower.rest()


async def test_a_tap_shows_messages_beside_the_events(gateway: Gateway, engine: FakeEngine) -> None:
    session = await gateway.submit()
    async with following(gateway, session, tap=["Result"]) as follower, asyncio.timeout(10):
        part = await engine.accept()
        while words([await follower.next() or ("", {})]) != ["status processing"]:
            pass
        order = await engine.next_command()
        assert isinstance(order, command.Tap)
        assert (order.channel, order.gateway) == ("Result", gateway.parts.pokes.gateway)
        copy = Copy(session, 1, "Result", "echo", 7, "JSON", b'{"a":1}', b"", 7, 3)
        await gateway.parts.store._link.send(
            "PUBLISH", names.tap(order.gateway), codec.encode(copy)
        )
        last = follower.last_id
        assert await follower.next() == (
            "tap",
            {
                "channel": "Result",
                "name": "echo",
                "type": "JSON",
                "contentType": "application/json",
                "size": 7,
                "meta": {},
                "skipped": 3,
                "body": {"a": 1},
            },
        )
        assert follower.last_id == last  # to resume from what is kept
        await part.finish()
        assert words(await follower.rest())[-1] == "status finished"


async def test_only_a_channel_of_the_session_is_tapped(gateway: Gateway) -> None:
    session = await gateway.submit()
    answer = await gateway.get(f"/sessions/{session}/events", tap="Nothing")
    assert answer.status_code == 404
    assert answer.json()["data"]["errors"][0]["loc"] == "/query/tap"


async def test_a_gateway_that_is_stopped_ends_its_streams(
    gateway: Gateway, engine: FakeEngine
) -> None:
    session = await gateway.submit()
    async with following(gateway, session) as follower, asyncio.timeout(5):
        await follower.next()
        gateway.stop()
        await follower.rest()


@pytest.mark.parametrize("last", ["x", "1-0", "0-0.0; DROP", "1-1.-1"])
async def test_an_id_that_is_not_from_here_is_422(gateway: Gateway, last: str) -> None:
    session = await gateway.submit()
    answer = await gateway.client.get(
        f"{API}/sessions/{session}/events", headers={"Last-Event-ID": last}
    )
    assert answer.status_code == 422


async def test_an_unknown_session_has_no_events(gateway: Gateway) -> None:
    answer = await gateway.get("/sessions/session-process-workflow-0-1-x/events")
    assert answer.status_code == 404
