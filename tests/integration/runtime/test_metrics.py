"""An engine process with METRICS_PORT."""

import httpx

from apps.local.redis_server import free_port
from tests.integration.runtime.site import Platform, a_chain


async def test_an_engine_tells_prometheus_what_it_did(platform: Platform) -> None:
    port = free_port()
    await platform.start("echo", environment={"METRICS_PORT": str(port)})
    await platform.finished(await platform.submit(a_chain("echo"), {"n": 1}, {"n": 2}))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        assert (await client.get("/readyz")).status_code == 200
        text = (await client.get("/metrics")).text
    for line in (
        'blueengine_engine_sessions_total{engine="echo",outcome="finished"} 1.0',
        'blueengine_engine_messages_total{channel="Control",direction="in",engine="echo"} 2.0',
        'blueengine_engine_messages_total{channel="Results",direction="out",engine="echo"} 2.0',
        'blueengine_engine_bytes_total{channel="Control",direction="in",engine="echo"} 14.0',
        'blueengine_engine_run_seconds_count{engine="echo"} 1.0',
    ):
        assert line in text.splitlines()
