"""What is known of a session at one moment: the answer of submit and of read."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from apps.restful.service.parts import Parts
from apps.restful.service.wait import Bell
from apps.sessions.store import told_results
from blueengine.datatypes.names import INLINE
from blueengine.transport.blobs import BlobError, BlobStore
from blueengine.wire.envelope import Stored
from blueengine.wire.lifecycle import TERMINAL
from blueengine.wire.report import Fault

RESULTS_AT_ONCE: Final = 1000
"""Messages of one channel in one answer; the rest is paged."""
LOADED_AT_ONCE: Final = 16 << 20
"""Bytes of JSON and text that one answer takes from the blob store; the rest is named by URL."""


class Queue(msgspec.Struct, frozen=True):
    """Where a pending session stands."""

    position: int
    pending: int
    queuing: int


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A session's status, and its results so far."""

    session: str
    status: str
    fault: Fault | None = None
    queue: Queue | None = None
    """Only while pending."""
    results: Mapping[str, Sequence[Stored]] = {}

    @property
    def ended(self) -> bool:
        """Whether the status is a last one."""
        return self.status in TERMINAL


async def look(
    parts: Parts, session: str, channels: Sequence[str], bell: Bell | None, wait: float
) -> Answer:
    """Return the answer when the session has ended or ``wait`` seconds are over.

    ``bell`` must listen since before the session could end; without it the session is looked at
    now.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + wait
    results: Mapping[str, Sequence[Stored]]
    while True:
        rung = bell is not None and await bell.wait(until - loop.time())
        if bell is not None and bell.outdated:
            bell.outdated = False
            await parts.store.watch(session, parts.pokes.gateway)
        if bell is not None and bell.told is not None:
            status, fault = "finished", None
            results = {**dict.fromkeys(channels, ()), **told_results(bell.told)}
            break
        status, fault, results = await parts.store.outcome(session, channels, limit=RESULTS_AT_ONCE)
        if status in TERMINAL or not rung or parts.pokes.closing:
            break
    queue = Queue(*await parts.store.queue(session)) if status == "pending" else None
    if queue is not None and queue.position < 0:  # it was placed between the two looks
        status, queue = "queuing", None
    if any(item.blob for items in results.values() for item in items):
        results = await asyncio.to_thread(load_inline, parts.blobs, results)
    return Answer(session=session, status=status, fault=fault, queue=queue, results=results)


def load_inline(
    blobs: BlobStore, results: Mapping[str, Sequence[Stored]]
) -> dict[str, list[Stored]]:
    """Return the results with JSON and text from the blob store put in place, up to a limit."""
    room = LOADED_AT_ONCE
    loaded: dict[str, list[Stored]] = {}
    for channel, items in results.items():
        loaded[channel] = []
        for item in items:
            if item.blob and item.type in INLINE and item.size <= room:
                try:
                    payload = blobs.read(item.blob)
                except (BlobError, OSError):
                    loaded[channel].append(item)  # its URL says that it is gone
                    continue
                room -= len(payload)
                item = Stored(item.type, payload, item.meta, "", len(payload))
            loaded[channel].append(item)
    return loaded
