"""The port where Prometheus scrapes an engine instance, and where its readiness is asked."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from blueengine.errors import SettingsError
from blueengine.runtime.instance import Instance
from blueengine.runtime.numbers import RUN_SECONDS, Numbers, Spread

REQUEST_SECONDS: Final = 5.0
_PREFIX: Final = "blueengine_engine_"
_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"

IsReady = Callable[[], bool]


class _Engine(Collector):
    """The numbers of an instance at the time of the scrape."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance

    @property
    def _id(self) -> str:
        return self._instance.engine.settings.id

    def collect(self) -> Iterator[Metric]:
        numbers = self._instance.numbers
        yield self._counter(
            "sessions",
            "Parts of sessions that have ended.",
            {(how,): n for how, n in {**numbers.sessions, "refused": numbers.refused}.items()},
            "outcome",
        )
        yield self._run_time(numbers.run_time)
        slots = {("used",): len(self._instance.parts)}
        slots["all",] = self._instance.engine.settings.concurrency
        yield self._gauge("slots", "Sessions at once.", slots, "state")
        workers = {(step,): count for step, count in numbers.workers().items()}
        yield self._gauge("workers", "Worker processes.", workers, "step")
        for name, value, told in (
            ("calls", numbers.calls, "Calls of process functions."),
            ("busy_seconds", numbers.busy / 1e6, "Seconds inside process functions."),
            ("missed_heartbeats", numbers.missed_heartbeats, "Heartbeats that Redis did not take."),
            ("lost_workers", numbers.lost_workers, "Workers that crashed or were killed."),
        ):
            yield self._counter(name, told, {(): value})
        yield from self._traffic(numbers)
        counters = numbers.counters
        yield self._counter("counter", "What context.counter counts.", counters, "step", "name")
        yield self._timers(numbers)

    def _traffic(self, numbers: Numbers) -> Iterator[Metric]:
        messages, size = {}, {}
        for direction, traffics in (("in", numbers.came), ("out", numbers.went)):
            for channel, traffic in traffics.items():
                messages[direction, channel] = traffic.messages
                size[direction, channel] = traffic.bytes
        labels = ("direction", "channel")
        yield self._counter("messages", "Messages through inputs and outputs.", messages, *labels)
        yield self._counter("bytes", "Bytes through inputs and outputs.", size, *labels)

    def _counter(self, name: str, told: str, values: Mapping[Any, float], *labels: str) -> Metric:
        family = CounterMetricFamily(f"{_PREFIX}{name}", told, labels=("engine", *labels))
        for key, value in sorted(values.items()):
            family.add_metric([self._id, *key], value)
        return family

    def _gauge(self, name: str, told: str, values: Mapping[Any, float], *labels: str) -> Metric:
        family = GaugeMetricFamily(f"{_PREFIX}{name}", told, labels=("engine", *labels))
        for key, value in values.items():
            family.add_metric([self._id, *key], value)
        return family

    def _run_time(self, spread: Spread) -> Metric:
        family = HistogramMetricFamily(
            f"{_PREFIX}run_seconds",
            "From the release of a session's input to its end here.",
            labels=("engine",),
        )
        bounds = [*map(str, RUN_SECONDS), "+Inf"]
        up_to = [*itertools.accumulate(spread.buckets), spread.count]
        family.add_metric([self._id], list(zip(bounds, up_to, strict=True)), spread.seconds)
        return family

    def _timers(self, numbers: Numbers) -> Metric:
        family = SummaryMetricFamily(
            f"{_PREFIX}timer_seconds",
            "What context.timer times.",
            labels=("engine", "step", "name"),
        )
        for key, timed in sorted(numbers.timers.items()):
            family.add_metric([self._id, *key], timed.count, timed.seconds)
        return family


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
