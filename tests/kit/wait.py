"""Wait for a condition by short re-checks, never by a fixed sleep."""

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

T = TypeVar("T")

PAUSE_SECONDS: Final = 0.005
LONGEST_PAUSE: Final = 0.05


def wait_until(condition: Callable[[], T], seconds: float = 5.0, *, what: str = "") -> T:
    """Return the first true answer of ``condition``.

    Raises:
        TimeoutError: There was none within ``seconds``.
    """
    give_up_at = time.monotonic() + seconds
    pause = PAUSE_SECONDS
    while not (answer := condition()):
        if time.monotonic() >= give_up_at:
            raise TimeoutError(_complaint(condition, seconds, what))
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)
    return answer


async def until(condition: Callable[[], object], seconds: float = 5.0, *, what: str = "") -> Any:
    """Return the first true answer of ``condition``, plain or async, letting other tasks run.

    Raises:
        TimeoutError: There was none within ``seconds``.
    """
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + seconds
    pause = PAUSE_SECONDS
    while True:
        answer = condition()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        if loop.time() >= give_up_at:
            raise TimeoutError(_complaint(condition, seconds, what))
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)


def _complaint(condition: Callable[[], object], seconds: float, what: str) -> str:
    name = what or getattr(condition, "__qualname__", repr(condition))
    return f"not true within {seconds:g} s: {name}"
