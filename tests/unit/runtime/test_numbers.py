"""What an engine counts, and what its author counts and times, as Prometheus sees it."""

import asyncio
import threading
from typing import Any

import httpx
import pytest

from blueengine import BlueEngine, Context
from blueengine.errors import SettingsError
from blueengine.runtime.metrics_port import metrics_port
from blueengine.runtime.numbers import MOST_NAMES, RUN_SECONDS, Numbers, Spread
from blueengine.testing import running

CONFIG = {"ENGINE": {"ID": "e"}, "OUTPUTS": {"NAMES": ["Out"], "TYPES": ["JSON"]}}


def process(context: Context, inputs: dict[str, Any]) -> Any:
    context.counter("pages", inputs["Control"])
    with context.timer("model"):
        return {"Out": context.init_data}


def init(context: Context) -> int:
    context.counter("loaded")
    return 7


def an_engine() -> BlueEngine:
    engine = BlueEngine(CONFIG)
    engine.add_step(
        "work",
        init_func=init,
        process_func=process,
        input_channels=["Control"],
        output_channels=["Out"],
    )
    return engine


def test_an_authors_counters_and_timers_add_up() -> None:
    with running(an_engine()) as engine:
        engine.run(Control=[2, 3])
        session = engine.begin().send("Control", 5)
        assert session.outputs("Out") == [7]
        session.wait()
        engine.run(Control=[])  # what was counted comes behind the answer
        assert engine.counters == {"loaded": 1, "pages": 10}
        assert engine.timers == {"model": 3}


def test_names_are_bounded() -> None:
    numbers = Numbers()
    for number in range(2 * MOST_NAMES):
        numbers.counted("step", {f"customer-{number}": 1}, {})
    numbers.counted("step", {"customer-0": 1}, {})
    assert len(numbers.counters) == MOST_NAMES
    assert numbers.counters["step", "customer-0"] == 2


def test_run_times_are_sorted_into_buckets() -> None:
    spread = Spread()
    for seconds in (0.01, 0.02, 7, 1e6):
        spread.add(seconds)
    assert spread.count == 4
    assert dict(zip(RUN_SECONDS, spread.buckets, strict=True)) == {
        **dict.fromkeys(RUN_SECONDS, 0), 0.01: 1, 0.05: 1, 10.0: 1,
    }  # fmt: skip


def test_messages_are_counted_while_the_session_runs() -> None:
    with running(an_engine()) as engine:
        session = engine.begin().send("Control", 5, 6)
        assert session.outputs("Out") == [7, 7]
        assert engine.up.numbers.came["Control"].messages == 2
        assert engine.up.numbers.went["Out"].messages == 2
        session.wait()


def test_prometheus_is_told_of_sessions_calls_and_the_authors_numbers() -> None:
    with running(an_engine()) as engine:
        engine.run(Control=[2, 3])
        engine.run(Control=[])
        stop, ready, ports = asyncio.Event(), [True], []
        up = threading.Event()

        async def serve() -> None:
            async with metrics_port(engine.up._instance, "127.0.0.1", 0, lambda: ready[0]) as port:
                ports.append(port)
                up.set()
                await stop.wait()

        serving = asyncio.run_coroutine_threadsafe(serve(), engine._loop)
        assert up.wait(20)
        url = f"http://127.0.0.1:{ports[0]}"
        text = httpx.get(f"{url}/metrics").text
        assert httpx.get(f"{url}/readyz").status_code == 200
        ready[0] = False
        assert httpx.get(f"{url}/readyz").status_code == 503
        assert httpx.get(f"{url}/healthz").text == "alive\n"
        assert httpx.get(f"{url}/other").status_code == 404
        engine._loop.call_soon_threadsafe(stop.set)
        serving.result(20)
    lines = text.splitlines()
    for line in (
        'blueengine_engine_sessions_total{engine="e",outcome="finished"} 2.0',
        'blueengine_engine_slots{engine="e",state="all"} 1.0',
        'blueengine_engine_workers{engine="e",step="work"} 1.0',
        'blueengine_engine_calls_total{engine="e"} 2.0',
        'blueengine_engine_messages_total{channel="Control",direction="in",engine="e"} 2.0',
        'blueengine_engine_messages_total{channel="Out",direction="out",engine="e"} 2.0',
        'blueengine_engine_bytes_total{channel="Control",direction="in",engine="e"} 2.0',
        'blueengine_engine_run_seconds_bucket{engine="e",le="+Inf"} 2.0',
        'blueengine_engine_run_seconds_count{engine="e"} 2.0',
        'blueengine_engine_counter_total{engine="e",name="pages",step="work"} 5.0',
        'blueengine_engine_timer_seconds_count{engine="e",name="model",step="work"} 2.0',
    ):
        assert line in lines, text


async def test_a_port_that_is_taken_is_one_clear_line() -> None:
    async with asyncio.timeout(20):
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(SettingsError, match=f"METRICS_PORT: cannot listen on .*:{port}"):
                async with metrics_port(None, "127.0.0.1", port, lambda: True):  # type: ignore[arg-type]
                    pass
