"""A session's log: written by engines, read by clients, gone with the session."""

import asyncio

import pytest

from blueengine.client import AsyncClient, NotFoundError
from blueengine.wire import names
from tests.integration.restful.conftest import Gateway
from tests.integration.restful.fake_engine import FakeEngine, FakePart
from tests.kit.wait import until

pytestmark = pytest.mark.timeout(120)


async def log(part: FakePart, number: int, *texts: str) -> bytes:
    words = [word for text in texts for word in (1_700_000_000_000_000, "info", text)]
    answer: bytes = await part._ledger.log(part.key, number, words)
    return answer


async def test_lines_are_read_in_order_and_in_pages(gateway: Gateway, engine: FakeEngine) -> None:
    session = await gateway.submit()
    part = await engine.accept()
    assert await log(part, 0, "one", "two") == b"ok"
    assert await log(part, 2, "three") == b"ok"
    assert await log(part, 0, "one", "two") == b"ok", "a repeated write changes nothing"
    first = (await gateway.get(f"/sessions/{session}/logs", limit=2)).json()["data"]
    assert [line["message"] for line in first["lines"]] == ["one", "two"]
    assert first["lines"][0] | {"id": ""} == {
        "id": "",
        "at": "2023-11-14T22:13:20.000Z",
        "attempt": 1,
        "name": "echo",
        "level": "info",
        "message": "one",
    }
    rest = (await gateway.get(f"/sessions/{session}/logs", after=first["after"])).json()["data"]
    assert [line["message"] for line in rest["lines"]] == ["three"]
    assert not rest["ended"]
    other = (await gateway.get(f"/sessions/{session}/logs", engine="other")).json()["data"]
    assert other["lines"] == []


async def test_lines_are_followed_until_the_session_ends(
    gateway: Gateway, engine: FakeEngine
) -> None:
    async with AsyncClient(f"http://127.0.0.1:{gateway.port}") as client:
        session = await gateway.submit()
        part = await engine.accept()
        seen: list[str] = []

        async def follow() -> None:
            async for line in client.session(session).logs(follow=True):
                seen.append(line.message)  # noqa: PERF401 - watched from outside

        following = asyncio.ensure_future(follow())
        for number, text in enumerate(["one", "two", "three"]):
            await log(part, number, text)
            await until(lambda n=number: len(seen) == n + 1, 20)  # type: ignore[misc]  # bound now
        await part.finish()
        await following
    assert seen == ["one", "two", "three"]


async def test_there_is_no_log_of_no_session(gateway: Gateway) -> None:
    async with AsyncClient(f"http://127.0.0.1:{gateway.port}") as client:
        with pytest.raises(NotFoundError):
            _ = [line async for line in client.session("session-x").logs()]
    wrong = await gateway.get("/sessions/session-x/logs", after="nonsense")
    assert wrong.status_code == 422


async def test_what_is_said_of_a_forgotten_session_is_not_kept(
    gateway: Gateway, engine: FakeEngine
) -> None:
    session = await gateway.submit()
    part = await engine.accept()
    await log(part, 0, "one")
    await part.finish()
    assert await gateway.parts.store.forget(session)
    assert await log(part, 1, "late") == b"stale"
    assert not await part._ledger._link.send("EXISTS", names.logs(session))
