"""Counting requests, in numbers that Prometheus reads."""

from typing import Any, Final

from apps.restful.service.metrics import Metrics

NO_ROUTE: Final = ""
"""Stands for the route of a request that no route is for."""
_SHOWN: Final = "(none)"


class Measure:
    """Counts each answer by route and code, and how long it took."""

    def __init__(self, metrics: Metrics) -> None:
        """Count nothing yet."""
        self._metrics = metrics
        # What the labels stand for, kept: looking them up costs more than counting.
        self._counters: dict[tuple[str, str, int], tuple[Any, Any]] = {}

    def count(self, method: str, route: str, code: int, seconds: float) -> None:
        """Count one answer; ``route`` is its path with the names of its parameters."""
        key = (method, route, code) if route else ("", _SHOWN, code)
        found = self._counters.get(key)
        if found is None:
            found = self._counters[key] = (
                self._metrics.requests.labels(*key),
                self._metrics.seconds.labels(key[0], key[1]),
            )
        found[0].inc()
        found[1].observe(seconds)
