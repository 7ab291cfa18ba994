"""The blob store: payloads by reference, in a folder that gateway and engines share, or in a bucket.

``BlobStore`` says what both can do; the bucket is in ``blobs_s3``. References are relative paths:

* ``files/<file id>/data`` — an upload; lives on its own.
* ``sessions/<session>/start/<n>`` — start data; until the session is forgotten.
* ``sessions/<session>/pushed/<name>`` — pushed by a client; until all its readers consumed it.
* ``sessions/<session>/<attempt>/<node>/…`` — on its way to that node, which removes it when read.
* ``sessions/<session>/results/…`` — a stored message; until the session is forgotten.
* ``sessions/<session>/recorded/<attempt>/<node>/…`` — what that node received; as long as results.

A message for several readers is one file with a hard link per reader (in a bucket: a copy), so that
the last one to read it frees the space and nobody counts.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from blueengine.errors import BlueEngineError

INLINE_LIMIT: Final = 64 * 1024
"""Payloads above this many bytes go by reference."""
PARTIAL: Final = ".partial"
"""Behind the name of what is being written; whoever adds to an upload holds a lock on that file."""


PIECE: Final = 1 << 20
"""Bytes of a stream that are gathered before they are written."""


class BlobError(BlueEngineError):
    """A reference points nowhere, or outside the store."""

    code = "no-blob"


class BlobsAwayError(BlueEngineError):
    """The blob store could not be reached within the configured patience, or refuses what is asked."""

    code = "blobs-away"
    retriable = True


class BlobStore(Protocol):
    """Blobs by reference. Methods wait for disk or network: call them in a thread.

    Each of them raises ``BlobError`` for a reference that leads out of the store, and
    ``BlobsAwayError`` when a store that is not on this machine does not answer in time.
    """

    def size(self, ref: str) -> int:
        """Return the size of a blob.

        Raises:
            BlobError: It is not there.
        """

    def read(self, ref: str, begin: int = 0, end: int | None = None) -> bytes:
        """Return a blob, or the bytes of it from ``begin`` to before ``end``.

        Raises:
            BlobError: It is not there.
        """

    def write(self, ref: str, pieces: Iterable[bytes]) -> int:
        """Write what is in memory; it appears whole or not at all. Returns its size."""

    async def save(self, ref: str, chunks: AsyncIterator[bytes]) -> int:
        """Write a stream, in bounded memory; it appears whole or not at all. Returns its size.

        What ``chunks`` raises comes through, and nothing is left then.
        """

    def link(self, ref: str, other: str) -> None:
        """Give a blob a second name with a life of its own; a repeated call changes nothing.

        Raises:
            BlobError: It is not there.
        """

    def remove(self, ref: str) -> None:
        """Remove one name of a blob; one that is gone already is fine."""

    def remove_below(self, prefix: str) -> None:
        """Remove everything below a prefix."""

    def sessions(self, *, before: float) -> Iterator[str]:
        """Yield the sessions that have something here, those that were at it after ``before`` left out.

        ``before`` is in seconds since the epoch.
        """

    def unfinished(self, *, before: float) -> Iterator[str]:
        """Yield ids of uploads that are not all there and that nothing was added to after ``before``."""

    def drop_unfinished(self, file_id: str, *, before: float) -> bool:
        """Remove such an upload; False when somebody writes to it, or has done so meanwhile."""

    def check(self) -> None:
        """See that it can be written to.

        Raises:
            BlobsAwayError: It cannot.
        """


class BlobFolder:
    """Blobs as files below one folder."""

    def __init__(self, root: Path) -> None:
        """Keep blobs below ``root``, which is made when needed."""
        self.root = root.resolve()

    def path(self, ref: str) -> Path:
        """Return where a reference is kept.

        Raises:
            BlobError: The reference leads out of the store.
        """
        path = (self.root / ref).resolve()
        if not ref or not path.is_relative_to(self.root) or path == self.root:
            raise BlobError(f"{ref!r} is no reference of the blob store")
        return path

    def existing(self, ref: str) -> Path:
        """Return where a blob lies that must be there.

        Raises:
            BlobError: It is not.
        """
        path = self.path(ref)
        if not path.is_file():
            raise BlobError(f"blob {ref!r} is gone; is BLOB_DIR the same folder for all services?")
        return path

    def size(self, ref: str) -> int:
        """Return the size of a blob.

        Raises:
            BlobError: It is not there.
        """
        return self.existing(ref).stat().st_size

    def read(self, ref: str, begin: int = 0, end: int | None = None) -> bytes:
        """Return a blob, or the bytes of it from ``begin`` to before ``end``.

        Raises:
            BlobError: It is not there.
        """
        with self.existing(ref).open("rb") as file:
            file.seek(begin)
            return file.read(-1 if end is None else max(0, end - begin))

    def write(self, ref: str, pieces: Iterable[bytes]) -> int:
        """Write a blob piece by piece; it appears whole or not at all. Returns its size."""
        path = self.path(ref)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + PARTIAL)
        size = 0
        with partial.open("wb") as out:
            for piece in pieces:
                size += out.write(piece)
        partial.rename(path)
        return size

    async def save(self, ref: str, chunks: AsyncIterator[bytes]) -> int:
        """Write a stream, in bounded memory; it appears whole or not at all. Returns its size."""
        path = self.path(ref)
        partial = path.with_name(path.name + PARTIAL)
        size, held = 0, bytearray()
        # here, for a worker never receives and starts faster without it
        import asyncio

        out = await asyncio.to_thread(_opened, partial)
        try:
            with out:
                async for chunk in chunks:
                    held += chunk
                    if len(held) >= PIECE:
                        size += await asyncio.to_thread(_written, out, bytes(held))
                        held.clear()
                size += await asyncio.to_thread(_written, out, bytes(held))
            partial.rename(path)
        except BaseException:
            # not awaited: a cancelled request must not leave anything either
            partial.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                path.parent.rmdir()  # unless something else is there
            raise
        return size

    def link(self, ref: str, other: str) -> None:
        """Give a blob a second name; a repeated call changes nothing."""
        target = self.path(other)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(self.existing(ref), target)
        except FileExistsError:
            return

    def sessions(self, *, before: float) -> Iterator[str]:
        """Yield the sessions that have something here, those that were at it after ``before`` left out.

        ``before`` is in seconds since the epoch.
        """
        try:
            folders = os.scandir(self.root / "sessions")
        except FileNotFoundError:
            return
        with folders:
            for folder in folders:
                with contextlib.suppress(FileNotFoundError):
                    if folder.stat().st_mtime < before:
                        yield folder.name

    def unfinished(self, *, before: float) -> Iterator[str]:
        """Yield ids of uploads that are not all there and that nothing was added to after ``before``."""
        try:
            folders = os.scandir(self.root / "files")
        except FileNotFoundError:
            return
        with folders:
            for folder in folders:
                with contextlib.suppress(FileNotFoundError):
                    if self._is_abandoned(Path(folder), before):
                        yield folder.name

    def _is_abandoned(self, folder: Path, before: float) -> bool:
        names = {path.name: path.stat().st_mtime for path in folder.iterdir()}
        touched = max([folder.stat().st_mtime, *names.values()])
        return "data" not in names and touched < before

    def drop_unfinished(self, file_id: str, *, before: float) -> bool:
        """Remove such an upload; False when somebody writes to it, or has done so meanwhile."""
        folder = self.path(upload_ref(file_id)).parent
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(FileNotFoundError):
                partial = stack.enter_context((folder / f"data{PARTIAL}").open("rb"))
                try:
                    fcntl.flock(partial, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return False
            try:
                if not self._is_abandoned(folder, before):
                    return False
            except FileNotFoundError:
                return False
            shutil.rmtree(folder, ignore_errors=True)
            return True

    def remove(self, ref: str) -> None:
        """Remove one name of a blob; one that is gone already is fine."""
        self.path(ref).unlink(missing_ok=True)

    def remove_below(self, prefix: str) -> None:
        """Remove everything below a prefix."""
        shutil.rmtree(self.path(prefix), ignore_errors=True)

    def check(self) -> None:
        """See that it can be written to.

        Raises:
            BlobsAwayError: It cannot.
        """
        probe = self.root / ".probe"
        try:
            probe.write_bytes(b"")
            probe.unlink(missing_ok=True)
        except OSError as exc:
            raise BlobsAwayError(f"the blob folder cannot be written to: {exc.strerror}") from exc


def _opened(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("wb", buffering=0)


def _written(out: BinaryIO, data: bytes) -> int:
    view = memoryview(data)
    while view:
        view = view[out.write(view) :]
    return len(data)


def upload_ref(file_id: str) -> str:
    """Reference of an upload."""
    return f"files/{file_id}/data"


def session_prefix(session: str) -> str:
    """Prefix of everything kept for a session."""
    return f"sessions/{session}"


def start_ref(session: str, index: int) -> str:
    """Reference of a session's start data that is not inline."""
    return f"sessions/{session}/start/{index}"


def pushed_ref(session: str, name: str) -> str:
    """Reference of a message that a client pushed."""
    return f"sessions/{session}/pushed/{name}"


def node_prefix(session: str, attempt: int, node: str) -> str:
    """Prefix of what is on its way to a node; all below it is that node's to remove."""
    return f"sessions/{session}/{attempt}/{node}"


def recorded_prefix(session: str, attempt: int, node: str) -> str:
    """Prefix of the recording of what a node received, with all that stands beside it."""
    return f"sessions/{session}/recorded/{attempt}/{node}"


def recorded_ref(session: str, attempt: int, node: str) -> str:
    """Reference of the recording of what a node received."""
    return f"{recorded_prefix(session, attempt, node)}/messages"


def recorded_blob(session: str, attempt: int, node: str, number: int) -> str:
    """Reference of a payload that stands beside a recording."""
    return f"{recorded_prefix(session, attempt, node)}/{number}"


def result_ref(session: str, channel: str, name: str) -> str:
    """Reference of a stored message."""
    return f"sessions/{session}/results/{channel}/{name}"
