"""What no client of good will sends: each is answered by a clear refusal, and the gateway goes on."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import orjson
import pytest

from apps.restful.api.patience import HEAD_BYTES, PatientProtocol
from apps.restful.settings import RestfulSettings
from tests.integration.restful.conftest import API, Gateway, an_echo, running
from tests.kit.servers import RealRedis

POST = f"POST {API}/process-single-engine HTTP/1.1\r\nHost: x\r\n"
JSON = "Content-Type: application/json\r\n"


class Line:
    """A connection that sends what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, text: str | bytes) -> None:
        self._writer.write(text.encode("latin-1") if isinstance(text, str) else text)
        await self._writer.drain()

    async def answer(self) -> tuple[int, bytes]:
        """The status and body of the next answer; 0 when the connection was closed without one."""
        async with asyncio.timeout(30):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                if not (piece := await self._reader.read(1)):
                    return 0, b""
                head += piece
            size = next(
                int(line.partition(b":")[2])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length")
            )
            return int(head.split()[1]), await self._reader.readexactly(size)

    async def is_closed(self) -> bool:
        async with asyncio.timeout(30):
            return not await self._reader.read(1)


@pytest.fixture
async def line(gateway: Gateway) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    yield Line(reader, writer)
    writer.close()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that loses its patience soon."""
    monkeypatch.setattr(PatientProtocol, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(PatientProtocol, "LOOK_SECONDS", 0.3)


def kind(body: bytes) -> str:
    word: str = orjson.loads(body)["data"]["errors"][0]["type"]
    return word


@pytest.mark.usefixtures("hasty")
async def test_a_head_that_does_not_come_is_408(line: Line) -> None:
    await line.send("GET /healthz HTTP/1.1\r\nX-A: ")
    code, body = await line.answer()
    assert (code, kind(body)) == (408, "too-slow")
    assert await line.is_closed()


@pytest.mark.usefixtures("hasty")
async def test_a_connection_that_says_nothing_is_closed(line: Line) -> None:
    assert await line.is_closed()


@pytest.mark.usefixtures("hasty")
async def test_a_second_request_has_no_more_time_than_the_first(line: Line) -> None:
    await line.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await line.answer())[0] == 200
    await line.send("GET /healthz HTTP/1.1\r\nX-A: ")
    assert (await line.answer())[0] == 408


@pytest.mark.usefixtures("hasty")
async def test_a_body_that_drips_is_408_and_nothing_is_stored(gateway: Gateway, line: Line) -> None:
    await line.send(f"{POST}{JSON}Content-Length: 1000\r\n\r\n")
    for _ in range(3):
        await line.send("{")
    code, body = await line.answer()
    assert (code, kind(body)) == (408, "too-slow")
    assert await line.is_closed()
    assert (await gateway.get("/sessions")).json()["data"]["sessions"] == []


@pytest.mark.usefixtures("hasty")
async def test_a_request_that_is_held_by_its_own_wish_is_not_slow(line: Line) -> None:
    body = orjson.dumps(an_echo(waitTimeSecond=1.2))
    await line.send(f"{POST}{JSON}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    assert (await line.answer())[0] == 202


async def test_a_head_without_end_is_431(line: Line) -> None:
    await line.send("GET /healthz HTTP/1.1\r\n")
    try:
        for number in range(HEAD_BYTES // 1000 + 2):
            await line.send(f"X-{number}: {'a' * 1000}\r\n")
    except ConnectionError:
        return  # it was closed meanwhile
    code, body = await line.answer()
    assert (code, kind(body)) == (431, "head-too-large")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("GET / HTTP/9.9\r\n\r\n", 400),
        ("\x16\x03\x01\x00\xff\x01\x00\r\n\r\n", 400),
        (f"{POST}{JSON}Content-Length: -1\r\n\r\n", 400),
        (f"{POST}{JSON}Content-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400),
        (f"{POST}{JSON}Transfer-Encoding: chunked\r\n\r\nZZ\r\n", 400),
        (f"{POST}{JSON}Content-Length: 99999999999\r\n\r\n", 413),
        (f"{POST}Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{{}}", 415),
        (f"{POST}Content-Type: application/xml\r\nContent-Length: 2\r\n\r\n{{}}", 415),
        (f'{POST}{JSON}Content-Length: 9\r\n\r\n{{"a":\xff\xfe1}}', 400),
        (f'{POST}{JSON}Content-Length: 9\r\n\r\n{{"a":NaN}}', 400),
        (f'{POST}{JSON}Content-Length: 13\r\n\r\n{{"a":1,"a":2}}', 400),
        (f"{POST}{JSON}Content-Length: 0\r\n\r\n", 400),
    ],
)
async def test_what_is_no_request_is_a_clear_4xx(
    gateway: Gateway, line: Line, text: str, code: int
) -> None:
    await line.send(text)
    assert (await line.answer())[0] == code
    assert (await gateway.client.get("/healthz")).status_code == 200


async def test_a_body_without_a_length_is_bounded(gateway: Gateway, line: Line) -> None:
    await line.send(f"{POST}{JSON}Transfer-Encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    try:
        for _ in range((gateway.parts.settings.max_body >> 16) + 2):
            await line.send(chunk)
    except ConnectionError:
        return
    assert (await line.answer())[0] == 413


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/files/../../../etc/passwd",
        "/api/v1/files/..%2f..%2f..%2fetc%2fpasswd",
        "/api/v1/files/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/api/v1/files/%00",
        "/api/v1/files/..",
        "/api/v1/files/....//....//etc/passwd",
        "/api/v1/sessions/../../keys",
        "/api/v1/sessions/session-x%00/results/Out/0/blob",
        "/api/v1/sessions/session-x/results/..%2f..%2fOut/0/blob",
        "/api/v1/engines/..%2f..%2fbe:keys",
        "/api/v1/webhooks/..%2f..",
        "//etc/passwd",
    ],
)
async def test_a_path_that_wants_out_finds_nothing(line: Line, path: str) -> None:
    await line.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
    code, body = await line.answer()
    assert code in {400, 404, 422}, body
    assert b"root:" not in body


@pytest.mark.parametrize("name", ["../../evil", "/etc/passwd", "a/../../b", "..", "\\\\x\\y"])
async def test_a_file_name_never_becomes_a_path(gateway: Gateway, name: str) -> None:
    saved = await gateway.client.post(f"{API}/files", params={"name": name}, content=b"x")
    assert saved.status_code == 201
    assert "/" not in saved.json()["data"]["name"]
    root = gateway.blobs.parent
    assert not [path for path in root.rglob("*") if "evil" in path.name or "passwd" in path.name]


async def test_a_read_only_redis_is_503_until_it_is_writable_again(
    gateway_of_own_redis: Gateway, own_redis: RealRedis
) -> None:
    gateway = gateway_of_own_redis
    own_redis.call("REPLICAOF", "127.0.0.1", "1")
    answer = await gateway.post("/process-single-engine", an_echo())
    assert answer.status_code == 503, answer.text
    assert answer.headers["retry-after"]
    assert answer.json()["data"]["errors"][0]["type"] == "store-refuses-writes"
    assert (await gateway.get("/engines")).status_code == 200  # reading goes on
    own_redis.call("REPLICAOF", "NO", "ONE")
    assert (await gateway.post("/process-single-engine", an_echo())).status_code == 202


async def test_with_keys_a_redis_that_is_away_is_503_and_lets_nobody_in(
    settings: RestfulSettings, own_redis: RealRedis, tmp_path: object
) -> None:
    system = replace(settings.system, redis_url=own_redis.url)
    needed = replace(settings, system=system, auth="on", audit_log=f"{tmp_path}/audit.log")
    async with running(needed) as gateway:
        store = gateway.parts.keys.store
        _, key = await store.create(tenant="acme", scopes=["read"])  # type: ignore[list-item]
        own_redis.halt()
        for wrong in (key, key[:-1] + "x"):
            headers = {"X-API-Key": wrong}
            answer = await gateway.client.get(f"{API}/sessions", headers=headers)
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
        ready = await gateway.client.get("/readyz")
        assert ready.json()["parts"]["redis"] == "away"  # and no address
        own_redis.start()
