"""A Celery application with one task that answers what it is given.

JSON and Redis for broker and results, as its own guide shows, with what its guide on optimizing
says for many short tasks: a high prefetch multiplier, no remote control, no events.
"""

import os
from typing import Any

from celery import Celery

_url = os.environ["CELERY_URL"]
app = Celery("bench", broker=_url, backend=_url)
app.conf.update(
    worker_prefetch_multiplier=64,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
    result_expires=600,
)


@app.task(name="echo")  # type: ignore[untyped-decorator]  # Celery has no types
def echo(value: Any) -> Any:
    """Answer ``value``."""
    return value
