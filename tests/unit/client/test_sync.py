"""The blocking face: the same client, no event loop to be seen."""

import asyncio
import inspect
import threading

import httpx
import pytest

from blueengine.client import (
    AsyncClient,
    AsyncSession,
    Client,
    ClientError,
    NotFoundError,
    Session,
    SessionFailedError,
)
from tests.unit.client.platform import SESSION, Answer, no, ok, outcome, script


def a_client(answer: Answer) -> Client:
    return Client("http://platform", transport=httpx.MockTransport(answer))


def test_a_session_is_run_without_a_loop() -> None:
    _, answer = script(ok(outcome("processing")), ok(outcome("finished", {"Out": [1]})))
    with a_client(answer) as client:
        session = client.submit({"engineId": "hello"})
        assert isinstance(session, Session)
        assert session.id == SESSION
        assert session.wait().results == {"Out": [1]}
    assert not [t for t in threading.enumerate() if t.name == "blueengine-client"]


def test_it_works_below_a_running_loop() -> None:
    async def inside() -> str:
        _, answer = script(ok({"engines": []}))
        with a_client(answer) as client:
            return str(client.engines())

    assert asyncio.run(inside()) == "[]"


def test_items_are_yielded_one_by_one_and_the_rest_is_let_go() -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        first = int(request.url.params.get("cursor", 0))
        return ok(
            {"sessions": [{"sessionId": f"s{first}", "status": "x"}], "cursor": str(first + 1)}
        )

    with a_client(answer) as client:
        found = []
        for row in client.sessions():
            found.append(row.session_id)
            if len(found) == 3:
                break
    assert found == ["s0", "s1", "s2"]
    assert len(asked) == 3


def test_a_closed_client_says_so_and_closing_twice_does_no_harm() -> None:
    _, answer = script(ok({"sessions": [{"sessionId": "s", "status": "x"}], "cursor": "1"}))
    client = a_client(answer)
    rows = client.sessions()
    assert next(rows).session_id == "s"
    client.close()
    client.close()
    with pytest.raises(ClientError, match="closed"):
        client.engines()
    del rows
    assert not [t for t in threading.enumerate() if t.name == "blueengine-client"]


def test_errors_are_those_of_the_asynchronous_client() -> None:
    _, answer = script(no(404, "none"), ok(outcome("processing")), ok(outcome("failed")))
    with a_client(answer) as client:
        with pytest.raises(NotFoundError, match="none"):
            client.engine("x")
        with pytest.raises(SessionFailedError):
            client.run({"engineId": "hello"})


def test_a_wait_ends_in_time() -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        return ok({})

    with a_client(answer) as client, pytest.raises(TimeoutError):  # type: ignore[arg-type]  # both kinds
        client.session(SESSION).wait(timeout=0.01)


def test_every_method_has_its_face() -> None:
    own = {"aclose", "__aenter__", "__aexit__"}
    for asynchronous, blocking in ((AsyncClient, Client), (AsyncSession, Session)):
        public = {
            name
            for name, member in inspect.getmembers(asynchronous)
            if not name.startswith("_") and callable(member)
        }
        missing = public - own - {n for n in dir(blocking) if not n.startswith("_")}
        assert not missing, f"{blocking.__name__} lacks {sorted(missing)}"


def test_the_words_and_arguments_are_the_same() -> None:
    assert Client.submit.__doc__ == AsyncClient.submit.__doc__
    assert inspect.signature(Client.submit) == inspect.signature(AsyncClient.submit)
    assert inspect.signature(Client.__init__) == inspect.signature(AsyncClient.__init__)
    assert repr(Client("http://x", api_key="k")) == "Client('http://x')"
