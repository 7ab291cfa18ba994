"""How answers leave: whole ones in one piece, all others as uvicorn writes them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from apps.restful.api.patience import PatientProtocol
from apps.restful.service import submit as use_case
from tests.integration.restful.conftest import Gateway, an_echo

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


class Pieces(asyncio.Protocol):
    """A client that keeps what it reads as it came."""

    def __init__(self) -> None:
        self.came: list[bytes] = []
        self.ended = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.came.append(data)

    def connection_lost(self, _: Exception | None) -> None:
        self.ended.set()


@asynccontextmanager
async def asked(app: ASGIApp, *requests: bytes) -> AsyncIterator[list[bytes]]:
    """The pieces in which an application's answers come, once the connection is closed."""
    runner = uvicorn.Server(
        uvicorn.Config(app, port=0, http=PatientProtocol, lifespan="off", log_config=None)
    )
    runner.config.load()
    runner.lifespan = runner.config.lifespan_class(runner.config)
    await runner.startup()
    port = runner.servers[0].sockets[0].getsockname()[1]
    transport, client = await asyncio.get_running_loop().create_connection(
        Pieces, "127.0.0.1", port
    )
    try:
        transport.write(b"".join(requests))
        async with asyncio.timeout(20):
            await client.ended.wait()
        yield client.came
    finally:
        transport.close()
        await runner.shutdown()


async def test_a_whole_answer_comes_in_one_piece() -> None:
    async with asked(Response("hello", headers={"X-A": "b"}), LAST) as pieces:
        assert len(pieces) == 1
        head, _, body = pieces[0].partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nx-a: b\r\n" in head
        assert head.endswith(b"\r\nconnection: close")
        assert body == b"hello"


async def test_requests_that_come_together_are_answered_in_order() -> None:
    number = 0

    async def counting(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal number
        number += 1
        await Response(f"<{number}>")(scope, receive, send)

    async with asked(counting, GET, GET, LAST) as pieces:
        came = b"".join(pieces)
        assert came.count(b"HTTP/1.1 200 OK") == 3
        assert came.index(b"<1>") < came.index(b"<2>") < came.index(b"<3>")


async def test_a_stream_comes_as_it_is_made() -> None:
    async def words() -> AsyncIterator[str]:
        yield "one"
        yield "two"

    async with asked(StreamingResponse(words()), LAST) as pieces:
        came = b"".join(pieces)
        assert b"transfer-encoding: chunked" in came
        assert came.endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


async def test_a_body_of_known_length_may_come_in_parts() -> None:
    async def in_parts(_: Scope, __: Receive, send: Send) -> None:
        head = [(b"content-length", b"6")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await send({"type": "http.response.body", "body": b"two"})

    async with asked(in_parts, LAST) as pieces:
        assert b"".join(pieces).endswith(b"\r\n\r\nonetwo")


async def test_head_is_answered_without_a_body() -> None:
    async with asked(Response("hello"), LAST.replace(b"GET", b"HEAD")) as pieces:
        came = b"".join(pieces)
        assert b"content-length: 5" in came
        assert came.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\0"])
async def test_a_header_that_would_end_the_line_is_never_written(value: str) -> None:
    async with asked(Response("hello", headers={"X-A": value}), LAST) as pieces:
        assert pieces == []


async def test_who_fails_between_head_and_body_answers_500() -> None:
    async def failing(_: Scope, __: Receive, send: Send) -> None:
        head = [(b"content-length", b"5")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        raise ValueError("no body")

    async with asked(failing, LAST) as pieces:
        assert b"".join(pieces).startswith(b"HTTP/1.1 500 ")


async def test_an_error_of_the_platform_is_told_as_one_and_counted(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> str:
        raise ValueError("a bug")

    monkeypatch.setattr(use_case, "_new_id", broken)
    answer = await gateway.post("/process-single-engine", an_echo())
    assert answer.status_code == 500
    assert answer.json()["data"]["errors"][0]["type"] == "internal"
    assert answer.headers["x-content-type-options"] == "nosniff"
    counted = 'requests_total{code="500",method="POST",route="/api/v1/process-single-engine"} 1.0'
    assert counted in (await gateway.client.get("/metrics")).text
