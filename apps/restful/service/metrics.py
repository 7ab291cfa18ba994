"""Numbers of the gateway for Prometheus."""

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from apps.restful.service.wait import Pokes
from apps.sessions.outbox import Outbox
from apps.sessions.store import SessionStore
from blueengine.errors import BlueEngineError
from blueengine.wire.lifecycle import Status


class _Attempts(Collector):
    """Tries to deliver webhooks, as Redis counts them for all replicas of management."""

    def __init__(self) -> None:
        self.totals: Mapping[str, int] = {}

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(
            "blueengine_webhook_attempts",
            "Tries to deliver a webhook, by outcome: delivered, retry, dead.",
            labels=["outcome"],
        )
        for outcome, count in self.totals.items():
            family.add_metric([outcome], count)
        yield family


class Metrics:
    """A registry of its own, so that two gateways in one process count apart."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "blueengine_http_requests",
            "Answered requests by route and status code.",
            ["method", "route", "code"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "blueengine_http_request_seconds",
            "Time to answer, waiting for the session included.",
            ["method", "route"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 30, 60),
            registry=self.registry,
        )
        self._waiters = Gauge(
            "blueengine_http_waiters",
            "Requests that are held until a session has news.",
            registry=self.registry,
        )
        self._sessions = Gauge(
            "blueengine_sessions",
            "Sessions kept, by status.",
            ["status"],
            registry=self.registry,
        )
        self._attempts = _Attempts()
        self.registry.register(self._attempts)
        self._redis = Gauge(
            "blueengine_redis_up", "1 when Redis answered this scrape.", registry=self.registry
        )

    async def expose(self, store: SessionStore, outbox: Outbox, pokes: Pokes) -> bytes:
        """Return everything in Prometheus' text format."""
        self._waiters.set(len(pokes))
        try:
            counts = await store.counts([status.value for status in Status])
            self._attempts.totals = await outbox.totals()
        except BlueEngineError:
            self._redis.set(0)
            self._sessions.clear()
        else:
            self._redis.set(1)
            for status, count in counts.items():
                self._sessions.labels(status).set(count)
        return generate_latest(self.registry)
