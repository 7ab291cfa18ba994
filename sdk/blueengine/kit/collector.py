"""How often Python looks for cycles among what is alive."""

import gc
from typing import Final

YOUNG: Final = 10_000
"""New objects that are looked through together; 700 by default, a few messages."""


def spare_what_is_loaded(*, young: int = 0) -> None:
    """Never again look through what is alive now: modules, settings, models live as long as we do.

    ``young`` sets how many new objects may come between two looks at them; 0 leaves that alone.
    """
    gc.collect()
    gc.freeze()
    if young:
        gc.set_threshold(young)
