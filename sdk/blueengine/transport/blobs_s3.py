"""The blob store in a bucket of S3, or of anything that speaks its protocol.

Large objects go up and come down in pieces, so memory is bounded at any size, and each piece is
tried again for as long as the patience says. An upload is there whole or not at all. Whoever is
killed in the middle leaves an upload that never ends, which the library can neither list nor abort:
have the bucket do so after a day (``docs/data-channels.md`` has the rule).
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from blueengine.errors import SettingsError
from blueengine.settings.blobs import BucketSettings
from blueengine.transport.blobs import BlobError, BlobsAwayError

if TYPE_CHECKING:
    from obstore import ObjectMeta

PIECE_BYTES: Final = 8 << 20
"""Of a large object in one request. A bucket takes 10,000 of them: 80 GiB."""
AT_ONCE: Final = 2
"""Pieces of one object under way; so much of it is in memory at the same time."""
COPY_BYTES: Final = 5 << 30
"""A bucket copies no larger object by itself."""
CONNECT_SECONDS: Final = 5.0
LISTED: Final = 1000


class BlobBucket:
    """Blobs as objects below a prefix of a bucket."""

    def __init__(self, settings: BucketSettings, *, patience: float) -> None:
        """Connect when first used; wait ``patience`` seconds for a server that is away.

        Raises:
            SettingsError: What the settings say cannot be understood.
        """
        self._where = str(settings)
        self._patience = patience
        try:
            self._store = S3Store(
                settings.bucket,
                prefix=settings.prefix or None,
                config=_config(settings),
                client_options=_client_options(settings, patience),
                retry_config={
                    "max_retries": 10_000,  # the time says when it is enough
                    "retry_timeout": timedelta(seconds=patience),
                    "backoff": {
                        "init_backoff": timedelta(milliseconds=100),
                        "max_backoff": timedelta(seconds=2),
                        "base": 2,
                    },
                },
            )
        except (BaseError, ValueError) as exc:
            raise SettingsError(f"BLOB_URL {self._where} cannot be used: {_brief(exc)}") from exc

    def size(self, ref: str) -> int:
        """Return the size of a blob.

        Raises:
            BlobError: It is not there.
        """
        with self._asking(ref):
            return int(obstore.head(self._store, ref)["size"])

    def read(self, ref: str, begin: int = 0, end: int | None = None) -> bytes:
        """Return a blob, or the bytes of it from ``begin`` to before ``end``.

        Raises:
            BlobError: It is not there.
        """
        if end is not None and end <= begin:
            return b""
        with self._asking(ref):
            if begin == 0 and end is None:
                return bytes(obstore.get(self._store, ref).bytes())
            if end is None:
                end = int(obstore.head(self._store, ref)["size"])
                if end <= begin:
                    return b""
            return bytes(obstore.get_range(self._store, ref, start=begin, end=end))

    def write(self, ref: str, pieces: Iterable[bytes]) -> int:
        """Write what is in memory; it appears whole or not at all. Returns its size."""
        data = b"".join(pieces)
        with self._asking(ref):
            obstore.put(self._store, ref, data, chunk_size=PIECE_BYTES, max_concurrency=AT_ONCE)
        return len(data)

    def create(self, ref: str, data: bytes) -> bool:
        """Write what is in memory, unless there is something of that name: False then."""
        with self._asking(ref):
            try:
                obstore.put(self._store, ref, data, mode="create")
            except AlreadyExistsError:
                return False
        return True

    async def save(self, ref: str, chunks: AsyncIterator[bytes]) -> int:
        """Write a stream, in bounded memory; it appears whole or not at all. Returns its size."""
        size = 0

        async def counted() -> AsyncIterator[bytes]:
            nonlocal size
            async for chunk in chunks:
                size += len(chunk)
                yield chunk

        with self._asking(ref):
            try:
                await obstore.put_async(
                    self._store, ref, counted(), chunk_size=PIECE_BYTES, max_concurrency=AT_ONCE
                )
            except FileNotFoundError:
                if not await asyncio.to_thread(self._is_whole, ref, size):
                    raise
        return size

    def put(self, ref: str, path: Path) -> None:
        """Write what is in a file; it appears whole or not at all."""
        with self._asking(ref):
            self._upload(ref, path, path.stat().st_size)

    def fetch(self, ref: str, path: Path) -> None:
        """Save a blob as a file; it appears whole or not at all.

        Raises:
            BlobError: It is not there.
        """
        size = self.size(ref)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        try:
            with partial.open("wb", buffering=0) as out:
                for begin in range(0, size, PIECE_BYTES):
                    view = memoryview(self.read(ref, begin, min(size, begin + PIECE_BYTES)))
                    while view:
                        view = view[out.write(view) or 0 :]
            partial.rename(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def link(self, ref: str, other: str) -> None:
        """Give a blob a second name with a life of its own; a repeated call changes nothing.

        Raises:
            BlobError: It is not there.
        """
        size = self.size(ref)
        with self._asking(ref):
            if size <= COPY_BYTES:
                obstore.copy(self._store, ref, other)
                return
            pieces = (
                self.read(ref, begin, min(size, begin + PIECE_BYTES))
                for begin in range(0, size, PIECE_BYTES)
            )
            self._upload(other, pieces, size)

    def _upload(self, ref: str, source: Path | Iterable[bytes], size: int) -> None:
        try:
            obstore.put(self._store, ref, source, chunk_size=PIECE_BYTES, max_concurrency=AT_ONCE)
        except FileNotFoundError:
            if not self._is_whole(ref, size):
                raise

    def _is_whole(self, ref: str, size: int) -> bool:
        """Whether an upload that the bucket does not know any more has ended well.

        The bucket may be slow to put the pieces together, or its answer get lost; the library asks
        again then, and is told that there is no such upload.
        """
        try:
            return int(obstore.head(self._store, ref)["size"]) == size
        except FileNotFoundError:
            return False

    def remove(self, ref: str) -> None:
        """Remove one name of a blob; one that is gone already is fine."""
        with self._asking(ref):
            obstore.delete(self._store, ref)

    def remove_below(self, prefix: str) -> None:
        """Remove everything below a prefix."""
        with self._asking(prefix):
            for chunk in obstore.list(self._store, prefix, chunk_size=LISTED):
                obstore.delete(self._store, [found["path"] for found in chunk])

    def below(self, prefix: str) -> dict[str, int]:
        """Return reference and size of everything below a prefix, by name."""
        with self._asking(prefix):
            listed = obstore.list(self._store, prefix, chunk_size=LISTED)
            return {found["path"]: int(found["size"]) for chunk in listed for found in chunk}

    def sessions(self, *, before: float) -> Iterator[str]:
        """Yield the sessions that have something here, those that were at it after ``before`` left out."""
        with self._asking("sessions"):
            chunks = obstore.list(self._store, "sessions", chunk_size=LISTED)
            found = itertools.chain.from_iterable(chunks)
            # a bucket lists by name, so what is of one session comes together
            for session, objects in itertools.groupby(found, lambda one: _session(one["path"])):
                if max(one["last_modified"].timestamp() for one in objects) < before:
                    yield session

    def unfinished(self, *, before: float) -> Iterator[str]:
        """Yield the ids of uploads of which something came, not all, and nothing since ``before``."""
        with self._asking("files"):
            found = itertools.chain.from_iterable(
                obstore.list(self._store, "files", chunk_size=LISTED)
            )
            for file_id, group in itertools.groupby(found, lambda one: _session(one["path"])):
                if _is_abandoned(list(group), before):
                    yield file_id

    def drop_unfinished(self, file_id: str, *, before: float) -> bool:
        """Remove such an upload; False when somebody has added to it meanwhile."""
        prefix = f"files/{file_id}"
        with self._asking(prefix):
            chunks = obstore.list(self._store, prefix, chunk_size=LISTED)
            objects = list(itertools.chain.from_iterable(chunks))
            if not objects or not _is_abandoned(objects, before):
                return False
            obstore.delete(self._store, [found["path"] for found in objects])
        return True

    def check(self) -> None:
        """See that it can be written to.

        Raises:
            BlobsAwayError: It cannot.
        """
        with self._asking(".probe"):
            obstore.put(self._store, ".probe", b"")

    @contextmanager
    def _asking(self, ref: str) -> Generator[None]:
        """Map what the library raises; what else is raised in the block comes through."""
        if not ref.strip("/") or ref.startswith("/"):
            raise BlobError(f"{ref!r} is no reference of the blob store")
        try:
            yield
        except FileNotFoundError as exc:  # what the library raises for an object
            if "NoSuchBucket" in str(exc):
                raise BlobsAwayError(
                    f"there is no bucket {self._where}; make it, or set BLOB_URL"
                ) from exc
            raise BlobError(f"blob {ref!r} is gone from {self._where}") from exc
        except BaseError as exc:
            raise BlobsAwayError(
                f"the blob store {self._where} does not do what is asked (for {self._patience:g} s):"
                f" {_brief(exc)}"
            ) from exc
        except ValueError as exc:
            if "parse path" not in str(exc):
                raise
            raise BlobError(f"{ref!r} is no reference of the blob store") from exc


def _session(path: str) -> str:
    return path.split("/", 2)[1]


def _is_abandoned(objects: "Sequence[ObjectMeta]", before: float) -> bool:
    newest = max(one["last_modified"].timestamp() for one in objects)
    is_whole = any(one["path"].endswith("/facts.json") for one in objects)
    return newest < before and not is_whole


def _config(settings: BucketSettings) -> Any:
    """Return what is set; the rest the library finds by itself, as AWS' own tools do."""
    given = {
        "endpoint": settings.endpoint,
        "region": settings.region,
        "access_key_id": settings.access_key_id,
        "secret_access_key": settings.secret_access_key,
        "session_token": settings.session_token,
    }
    return {name: value for name, value in given.items() if value}


def _client_options(settings: BucketSettings, patience: float) -> Any:
    options: dict[str, Any] = {
        "allow_http": settings.endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=min(CONNECT_SECONDS, patience)),
        "timeout": timedelta(seconds=patience),
    }
    if settings.ca_file:
        try:
            options["root_certificate"] = Path(settings.ca_file).read_bytes()
        except OSError as exc:
            raise SettingsError(f"BLOB_CA_FILE {settings.ca_file} cannot be read: {exc}") from exc
    return options


def _brief(exc: BaseException) -> str:
    """Return the part of an error that is for people: the library adds its own innards."""
    return str(exc).partition("\n\nDebug source")[0][:500]
