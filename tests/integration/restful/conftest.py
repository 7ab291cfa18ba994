"""A gateway on a real Redis, served over a real socket."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from apps.restful.bootstrap import open_parts
from apps.restful.main import listen, server
from apps.restful.service.parts import Parts
from apps.restful.settings import RestfulSettings
from blueengine.settings.system import SystemSettings
from tests.integration.restful.fake_engine import FakeEngine
from tests.kit.servers import RealRedis

API = "/api/v1"


@dataclass
class Gateway:
    """A gateway that runs, and a client of it."""

    parts: Parts
    client: httpx.AsyncClient
    port: int
    stop: Callable[[], None]
    tasks: list[asyncio.Task[httpx.Response]] = field(default_factory=list)

    @property
    def blobs(self) -> Path:
        """The blob folder."""
        return self.parts.settings.blobs

    async def post(self, path: str, body: Any = None, **more: Any) -> httpx.Response:
        return await self.client.post(API + path, json=body, **more)

    async def get(self, path: str, **params: Any) -> httpx.Response:
        return await self.client.get(API + path, params=params)

    def begin(self, path: str, body: Any) -> "asyncio.Task[httpx.Response]":
        """Send a request that is answered later."""
        task = asyncio.ensure_future(self.post(path, body))
        self.tasks.append(task)
        return task

    async def submit(self, **changes: Any) -> str:
        """Submit a session of one ``echo`` and return its id."""
        answer = await self.post("/process-single-engine", an_echo(**changes))
        assert answer.status_code in {200, 202}, answer.text
        session: str = answer.json()["data"]["sessionId"]
        return session


def an_echo(**changes: Any) -> dict[str, Any]:
    """Return the body of a session of one ``echo``."""
    return {
        "engineId": "echo",
        "inputs": {"Control": {"type": "JSON", "payload": {"a": 1}}},
        "outputs": {"Result": {"type": "JSON", "interested": True}},
        **changes,
    }


@asynccontextmanager
async def running(settings: RestfulSettings) -> AsyncIterator[Gateway]:
    sock = listen(settings)
    port = sock.getsockname()[1]
    async with open_parts(settings) as parts:
        runner = server(parts)
        serving = asyncio.ensure_future(runner.serve(sockets=[sock]))

        def stop() -> None:
            runner.should_exit = True

        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            gateway = Gateway(parts, client, port, stop)
            yield gateway
            for task in gateway.tasks:
                task.cancel()
            await asyncio.gather(*gateway.tasks, return_exceptions=True)
        stop()
        await serving


@pytest.fixture
def settings(redis_server: RealRedis, tmp_path: Path) -> RestfulSettings:
    return RestfulSettings(
        system=SystemSettings(redis_url=redis_server.url),
        port=0,
        blob_dir=str(tmp_path / "blobs"),
        max_body=1 << 20,
        max_upload=4 << 20,
        redis_patience=1.0,
    )


@pytest.fixture
async def gateway(settings: RestfulSettings) -> AsyncIterator[Gateway]:
    async with running(settings) as gateway:
        yield gateway


@pytest.fixture
async def engine(redis_server: RealRedis, gateway: Gateway) -> AsyncIterator[FakeEngine]:
    async with FakeEngine(redis_server.url) as engine:
        yield engine


@pytest.fixture
async def gateway_of_own_redis(
    settings: RestfulSettings, own_redis: RealRedis
) -> AsyncIterator[Gateway]:
    """A gateway whose Redis the test may end and start."""
    own = replace(settings, system=SystemSettings(redis_url=own_redis.url))
    async with running(own) as gateway:
        yield gateway
