"""Lines of a session's log, gathered by the parent and written a short while's at a time.

Lines are for people: when Redis is away for long some are lost, and nothing waits for them.
Caller of everything here: the parent's event loop.
"""

import asyncio
import logging
from typing import Final

from blueengine.kit import aio
from blueengine.ledger.instance import InstanceLedger
from blueengine.runtime import frames
from blueengine.runtime.part import Part

GATHER_SECONDS: Final = 0.1


def take(ledger: InstanceLedger, part: Part, frame: frames.Logged) -> None:
    """Gather a line of a part; it is written after a short while."""
    if not part.lines:
        asyncio.get_running_loop().call_later(GATHER_SECONDS, write, ledger, part)
    part.lines += [frame.at, logging.getLevelName(frame.level).lower(), frame.text]


def write(ledger: InstanceLedger, part: Part) -> None:
    """Write the lines gathered so far."""
    if part.lines:
        words, part.lines = part.lines, []
        ledger.log(part.key, part.logged, words).add_done_callback(aio.take_note)
        part.logged += len(words) // 3
