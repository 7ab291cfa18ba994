"""Celery's client: orders come as JSON lines on stdin, answers go as JSON lines to stdout.

In flight: one thread keeps so many results open and takes the oldest; threads of their own were
slower in every trial (one interpreter lock, and one connection of the result backend each).
"""

import json
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from celery import chain

from bench.peers.celery_app import echo

TIMEOUT = 60.0


def latency(send: Callable[[], Any], count: int) -> dict[str, Any]:
    """Return the seconds that each of ``count`` round trips took, one in flight."""
    taken = []
    for _ in range(count):
        started = time.perf_counter()
        send().get(timeout=TIMEOUT)
        taken.append(time.perf_counter() - started)
    return {"seconds": taken}


def throughput(send: Callable[[], Any], seconds: float, in_flight: int) -> dict[str, Any]:
    """Return how many a second end while ``in_flight`` are always under way."""
    open_ = deque(send() for _ in range(in_flight))
    done, started = 0, time.perf_counter()
    while (now := time.perf_counter()) - started < seconds:
        open_.popleft().get(timeout=TIMEOUT)
        open_.append(send())
        done += 1
    rate = done / (now - started)
    for result in open_:
        result.get(timeout=TIMEOUT)
    return {"rate": rate, "done": done + in_flight}


def main() -> None:
    """Obey until stdin ends."""
    for line in sys.stdin:
        order = json.loads(line)
        payload = order["payload"]

        def one(payload: Any = payload) -> Any:
            return echo.delay(payload)

        def three(payload: Any = payload) -> Any:
            return chain(echo.s(payload), echo.s(), echo.s()).apply_async()

        send = one if order["length"] == 1 else three
        if "seconds" in order:
            answer = throughput(send, order["seconds"], order["in_flight"])
        else:
            answer = latency(send, order["count"])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
