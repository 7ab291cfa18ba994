"""Numbers of the gateway for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from apps.restful.service.wait import Pokes
from apps.sessions.store import SessionStore
from blueengine.errors import BlueEngineError
from blueengine.wire.lifecycle import Status


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
        self._redis = Gauge(
            "blueengine_redis_up", "1 when Redis answered this scrape.", registry=self.registry
        )

    async def expose(self, store: SessionStore, pokes: Pokes) -> bytes:
        """Return everything in Prometheus' text format."""
        self._waiters.set(len(pokes))
        try:
            counts = await store.counts([status.value for status in Status])
        except BlueEngineError:
            self._redis.set(0)
            self._sessions.clear()
        else:
            self._redis.set(1)
            for status, count in counts.items():
                self._sessions.labels(status).set(count)
        return generate_latest(self.registry)
