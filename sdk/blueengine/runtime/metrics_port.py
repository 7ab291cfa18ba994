"""The port where Prometheus scrapes an engine instance, and where its readiness is asked."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from blueengine.errors import SettingsError
from blueengine.runtime.instance import Instance
from blueengine.runtime.numbers import Numbers

REQUEST_SECONDS: Final = 5.0
_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"

IsReady = Callable[[], bool]


class _Engine(Collector):
    """The numbers of an instance at the time of the scrape."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance

    def collect(self) -> Iterator[Metric]:
        numbers, engine = self._instance.numbers, self._instance.engine.settings
        sessions = CounterMetricFamily(
            "blueengine_engine_sessions", "Parts of sessions that have ended.", labels=["outcome"]
        )
        for outcome, count in {**numbers.sessions, "refused": numbers.refused}.items():
            sessions.add_metric([outcome], count)
        yield sessions
        slots = GaugeMetricFamily("blueengine_engine_slots", "Sessions at once.", labels=["state"])
        slots.add_metric(["used"], len(self._instance.parts))
        slots.add_metric(["all"], engine.concurrency)
        yield slots
        yield from _totals(numbers)
        yield from _of_the_author(numbers)


def _totals(numbers: Numbers) -> Iterator[Metric]:
    for name, value, told in (
        ("calls", numbers.calls, "Calls of process functions in ended sessions."),
        ("busy_seconds", numbers.busy_seconds, "Seconds inside process functions."),
        ("missed_heartbeats", numbers.missed_heartbeats, "Heartbeats that Redis did not take."),
        ("lost_workers", numbers.lost_workers, "Worker processes that crashed or were killed."),
    ):
        yield CounterMetricFamily(f"blueengine_engine_{name}", told, value=value)
    for name, came, went in (
        ("messages", numbers.messages_in, numbers.messages_out),
        ("bytes", numbers.bytes_in, numbers.bytes_out),
    ):
        family = CounterMetricFamily(
            f"blueengine_engine_{name}",
            f"{name.capitalize()} of ended sessions.",
            labels=["direction"],
        )
        family.add_metric(["in"], came)
        family.add_metric(["out"], went)
        yield family


def _of_the_author(numbers: Numbers) -> Iterator[Metric]:
    counters = CounterMetricFamily(
        "blueengine_engine_counter", "What context.counter counts.", labels=["step", "name"]
    )
    for key, value in sorted(numbers.counters.items()):
        counters.add_metric(key, value)
    yield counters
    timers = SummaryMetricFamily(
        "blueengine_engine_timer_seconds", "What context.timer times.", labels=["step", "name"]
    )
    for key, timed in sorted(numbers.timers.items()):
        timers.add_metric(key, count_value=timed.count, sum_value=timed.seconds)
    yield timers


@asynccontextmanager
async def metrics_port(
    instance: Instance, host: str, port: int, is_ready: IsReady
) -> AsyncGenerator[int]:
    """Answer ``/metrics``, ``/healthz`` and ``/readyz`` inside the context; yields the port.

    Raises:
        SettingsError: The port is taken.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Engine(instance))

    def answer(path: str) -> tuple[str, bytes]:
        match path:
            case "/metrics":
                return "200 OK", generate_latest(registry)
            case "/healthz":
                return "200 OK", b"alive\n"
            case "/readyz":
                ready = is_ready()
                return ("200 OK", b"ready\n") if ready else ("503 Not Ready", b"not ready\n")
            case _:
                return "404 Not Found", b"there are /metrics, /healthz and /readyz\n"

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                request = await reader.readuntil(b"\r\n\r\n")
                path = request.split(b" ", 2)[1].split(b"?")[0].decode("ascii", "replace")
                status, body = answer(path)
                head = (
                    f"HTTP/1.1 {status}\r\nContent-Type: {_TEXT}\r\n"
                    f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                )
                writer.write(head.encode() + body)
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asked went away, or asked nonsense
        except IndexError:
            pass
        finally:
            writer.close()

    try:
        server = await asyncio.start_server(on_connection, host, port)
    except OSError as exc:
        raise SettingsError(
            f"METRICS_PORT: cannot listen on {host}:{port} ({exc.strerror}); choose another"
        ) from exc
    async with server:
        yield int(server.sockets[0].getsockname()[1])
