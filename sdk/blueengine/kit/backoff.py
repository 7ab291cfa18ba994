"""Delays between tries, as an iterator."""

import random
from collections.abc import Iterator


def delays(first: float, longest: float, rng: random.Random | None = None) -> Iterator[float]:
    """Yield delays in seconds: doubling from ``first`` up to ``longest``, each with half jitter."""
    chance = rng or random.Random()
    delay = first
    while True:
        yield delay * (0.5 + chance.random() / 2)
        delay = min(delay * 2, longest)
