"""Payloads between this instance and a blob store that is not on its machine.

Workers know files only: what they write is brought to the bucket before anybody is told of it, and
what a message names is fetched before the message is given on. Messages of a part keep their order
meanwhile, and its steps are held as they are when a reader has no room.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from blueengine.errors import BlueEngineError
from blueengine.kit import aio
from blueengine.runtime.ending import Endings
from blueengine.runtime.part import Output, Part
from blueengine.runtime.refs import route_ref, stored_ref
from blueengine.transport.blobs import BlobError, BlobFolder, node_prefix, recorded_prefix
from blueengine.wire.envelope import Kind

log = logging.getLogger(__name__)

AT_ONCE: Final = 4
"""Transfers side by side in one instance."""


class Bucket(Protocol):
    """What a porter needs of a blob store."""

    def put(self, ref: str, path: Path) -> None:
        """Write what is in a file."""

    def fetch(self, ref: str, path: Path) -> None:
        """Save a blob as a file."""

    def link(self, ref: str, other: str) -> None:
        """Give a blob a second name."""

    def remove(self, ref: str) -> None:
        """Remove a blob."""

    def remove_below(self, prefix: str) -> None:
        """Remove everything below a prefix."""


Message = tuple[str, str, int, Kind, Sequence[bytes], bytes]
"""Channel, sender, number of the first, kind, payloads and meta of a run."""


@dataclass(slots=True)
class _Coming:
    """A message that waits for its payload, or behind one that does."""

    message: Message
    blob: str = ""
    local: str = ""
    """Where its payload will be in the spool."""
    fetching: "asyncio.Future[None] | None" = None


class Porter:
    """Carries for the parts of one instance. Caller: its one event loop."""

    def __init__(self, bucket: Bucket, spool: BlobFolder) -> None:
        """Carry between ``bucket`` and ``spool``, a folder of this instance alone."""
        self._bucket = bucket
        self._spool = spool
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="blobs")
        self._coming: dict[int, deque[_Coming]] = {}
        """Part -> its messages that have come and are not given on."""
        self._came: set[int] = set()
        """Parts that had payloads to fetch."""
        self._bringing: set[str] = set()
        self._passing = False
        self._number = 0

    def bind(
        self,
        arrive: Callable[..., None],
        unblock: Callable[[Part], None],
        endings: Endings,
    ) -> None:
        """Say who takes messages, and who goes on when a payload is in the bucket."""
        self._arrive = arrive
        self._unblock = unblock
        self._endings = endings

    def close(self) -> None:
        """End what is under way; what has not begun is left to whoever forgets the session."""
        self._threads.shutdown(cancel_futures=True)

    # -- in ---------------------------------------------------------------------------------------

    def keeps(self, part: Part, message: Message, blob: str) -> bool:
        """Keep a message until its payload is here and all before it are given on, if it has to wait."""
        if self._passing or not (blob or part.no in self._coming):
            return False
        coming = _Coming(message, blob)
        self._coming.setdefault(part.no, deque()).append(coming)
        if blob:
            self._fetch(part, coming)
        return True

    def _fetch(self, part: Part, coming: _Coming) -> None:
        self._number += 1
        coming.local = f"{node_prefix(*part.key)}/come-{self._number}"
        part.files_came = True
        self._came.add(part.no)
        coming.fetching = self._run(self._bucket.fetch, coming.blob, self._spool.path(coming.local))
        coming.fetching.add_done_callback(partial(self._fetched, part, coming.local))

    def _fetched(self, part: Part, local: str, fetching: "asyncio.Future[None]") -> None:
        aio.take_note(fetching)
        if not part.live:
            self._spool.remove(local)
            return
        waiting = self._coming.get(part.no)
        while waiting:
            first = waiting[0].fetching
            if first is not None and not first.done():
                return
            self._pass(part, waiting.popleft())
        self._coming.pop(part.no, None)
        self._endings.look_for_end(part)

    def _pass(self, part: Part, coming: _Coming) -> None:
        channel, sender, seq, *_ = coming.message  # what has a payload elsewhere goes alone
        error = coming.fetching.exception() if coming.fetching is not None else None
        if error is not None:
            source = part.sources.get((channel, sender))
            if source is None or seq >= source.expected:  # not one that came before
                self._fail(part, error)
            return
        self._passing = True
        try:
            self._arrive(part, *coming.message, coming.local)
        finally:
            self._passing = False
        if coming.blob.startswith(node_prefix(*part.key)):
            self.remove(coming.blob)

    # -- out --------------------------------------------------------------------------------------

    def bring(self, part: Part, output: Output, file: str) -> None:
        """Bring a file of a worker's outbox to everybody who will read it."""
        refs = [route_ref(part, route, file) for route in output.routes if not route.closed]
        if output.stored:
            refs.append(stored_ref(part, output, file))
        self._bringing.add(file)
        bringing = self._run(self._bring, Path(file), refs)
        bringing.add_done_callback(partial(self._brought, part, file, refs))

    def is_bringing(self, file: str) -> bool:
        """Whether a file is on its way to the bucket."""
        return file in self._bringing

    def _bring(self, file: Path, refs: list[str]) -> None:
        for number, ref in enumerate(refs):
            if number:
                self._bucket.link(refs[0], ref)
            else:
                self._bucket.put(ref, file)

    def _bring_below(self, prefix: str) -> None:
        """Bring everything that lies in the spool below a prefix, under the same names."""
        folder = self._spool.path(prefix)
        try:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    self._bucket.put(f"{prefix}/{path.relative_to(folder)}", path)
        finally:
            self._spool.remove_below(prefix)

    def _brought(
        self, part: Part, file: str, refs: list[str], bringing: "asyncio.Future[None]"
    ) -> None:
        aio.take_note(bringing)
        self._bringing.discard(file)
        if not part.live:
            for ref in refs:
                self.remove(ref)
        elif bringing.cancelled() or (error := bringing.exception()) is None:
            self._unblock(part)
        else:
            self._fail(part, error)

    # -- both -------------------------------------------------------------------------------------

    def drop(self, part: Part) -> None:
        """Let go of a part that is over, and of what was on its way to it."""
        self._coming.pop(part.no, None)
        if part.no in self._came:
            self._came.discard(part.no)
            self._run(self._bucket.remove_below, node_prefix(*part.key)).add_done_callback(_note)
        if part.recording is not None:
            self._run(self._bring_below, recorded_prefix(*part.key)).add_done_callback(_note)

    def remove(self, ref: str) -> None:
        """Remove a payload from the bucket, beside everything else."""
        self._run(self._bucket.remove, ref).add_done_callback(_note)

    def _run(self, work: Callable[..., None], *arguments: Any) -> "asyncio.Future[None]":
        return asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def _fail(self, part: Part, error: BaseException) -> None:
        if isinstance(error, BlueEngineError):
            self._endings.fail(part, error.code, str(error), again=error.retriable)
        else:  # e.g. the disk is full
            self._endings.fail(part, BlobError.code, f"a payload cannot be carried: {error}")


def _note(work: "asyncio.Future[None]") -> None:
    """What cannot be removed now goes with the session; what cannot be brought is lost."""
    if not work.cancelled() and (error := work.exception()):
        log.warning("payloads were not seen to in the bucket: %s", error)
