"""What all sessions of one engine instance share, and how it reports to the platform."""

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from blueengine.errors import BlueEngineError
from blueengine.kit import aio
from blueengine.kit.redis_link import Link, Reply
from blueengine.kit.turn import Turn
from blueengine.ledger.instance import InstanceLedger
from blueengine.runtime.context import Flags
from blueengine.runtime.declare import BlueEngine, Step
from blueengine.runtime.numbers import Numbers
from blueengine.runtime.part import Part
from blueengine.transport.base import Transport
from blueengine.transport.blobs import BlobError, BlobFolder
from blueengine.wire.report import Fault

if TYPE_CHECKING:
    from blueengine.runtime.porter import Porter

log = logging.getLogger(__name__)

REMEMBERED: Final = 20_000
"""Ended parts whose late messages are told from the first of a new one."""


@dataclass(kw_only=True)
class Instance:
    """One engine instance. Caller of everything here: its one event loop.

    What is sent to Redis is pipelined in the order of the calls, so a part's outputs always arrive
    before its end.
    """

    engine: BlueEngine
    id: str
    link: Link
    transport: Transport
    ledger: InstanceLedger
    blobs: BlobFolder | None
    """Where its workers read and write large payloads: the blob store, or what is on the way there."""
    flags: Flags
    folder: Path
    """Holds the temp folders of its sessions."""
    shared: Path | None = None
    """The same for what steps forward: in memory, if there is a place for it."""
    spool_bytes: int = 1 << 30
    """How much one part may keep on disk of what waits for another channel."""
    porter: "Porter | None" = None
    """Brings payloads to the blob store and from there, where that is no folder."""
    parts: dict[int, Part] = field(default_factory=dict)
    over: dict[tuple[str, str], int] = field(default_factory=dict)
    """(session, node) -> last attempt that has ended here, of the parts that ended last. A late
    message must not begin one of them again."""
    unsettled: set[tuple[str, int, str]] = field(default_factory=set)
    """Parts that have ended here and report it when all they sent has arrived."""
    by_node: dict[tuple[str, str], Part] = field(default_factory=dict)
    numbers: Numbers = field(default_factory=Numbers)
    turn: Turn = field(default_factory=Turn)
    """Ends when all that came in one read has been looked at."""
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    empty: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the last part has gone."""
    broken: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    """Fails when a report was lost: what this instance says has a gap then."""

    crashed: set[str] = field(default_factory=set)
    """Sessions that crashed a worker since one last finished."""

    def __post_init__(self) -> None:
        """Nobody need ask how it ended."""
        self.broken.add_done_callback(aio.take_note)
        self.steps: tuple[Step, ...] = self.engine.steps

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Let work go on beside everything else; it is cancelled at the end of the instance."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def note_over(self, session: str, node: str, attempt: int) -> None:
        """Remember for a while that a part has ended, or is not to begin."""
        self.over[session, node] = attempt
        if len(self.over) > REMEMBERED:
            del self.over[next(iter(self.over))]

    def report(self, future: "asyncio.Future[Reply]") -> None:
        """Let a report go its way.

        When Redis is away for longer than the patience, full, or refuses it, something was lost
        that others wait for. This instance cannot make good for it, so it ends, and its sessions with it.
        """
        future.add_done_callback(self._on_reported)

    def _on_reported(self, future: "asyncio.Future[Reply]") -> None:
        if future.cancelled() or not (exc := future.exception()):
            return
        log.error("a report was lost: %s", exc)
        if isinstance(exc, BlueEngineError):
            self.break_off(exc)

    def break_off(self, why: BaseException) -> None:
        """End this instance, and its sessions with it."""
        if not self.broken.done():
            self.broken.set_exception(why)

    def fault(self, part: Part, code: str, message: str, trace: str = "") -> Fault:
        """Return why a part failed here."""
        return Fault(
            code=code,
            message=message,
            engine=self.engine.settings.id,
            node=part.start.node,
            instance=self.id,
            traceback=trace,
        )

    def find_blob(self, ref: str) -> tuple[str, int]:
        """Return path and size of a payload that came by reference.

        Raises:
            BlobError: It is not there.
            OSError: It cannot be looked at.
        """
        if self.blobs is None:
            raise BlobError("a payload came by reference, but BLOB_DIR is not set")
        path = self.blobs.existing(ref)
        return str(path), path.stat().st_size

    def remove_blob(self, ref: str) -> None:
        """Remove a payload from the blob store."""
        if self.porter is not None:
            self.porter.remove(ref)
        elif self.blobs is not None:
            self.blobs.remove(ref)

    def link_blob(self, file: str, ref: str) -> None:
        """Give a file of a worker's outbox the further name ``ref``, unless it is there already."""
        if self.blobs is not None and self.porter is None:
            self.blobs.link(str(Path(file).relative_to(self.blobs.root)), ref)
