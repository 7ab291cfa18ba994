"""From start data as it was described to start data as it travels: decoded, found, put away."""

import asyncio
import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from apps.restful.service import files
from apps.restful.service.access import Who
from apps.restful.service.errors import InvalidError
from apps.restful.service.fetch import Fetcher, FetchError
from blueengine.graph.dag import Fault, Feeding
from blueengine.graph.payload import Inline, Referred
from blueengine.transport.blobs import INLINE_LIMIT, BlobStore, start_ref
from blueengine.wire import codec
from blueengine.wire.envelope import Meta, Stored
from blueengine.wire.plan import Feed, Plan, StartData

MOST_URLS: Final = 100
URLS_AT_ONCE: Final = 4
"""Fetched at the same time for one request."""
INLINE_TOTAL: Final = 1 << 20
"""Bytes of start data in Redis per session: each engine that reads some gets a copy of all."""


class _Found(msgspec.Struct, frozen=True):
    """One message: its bytes, or the upload that holds them."""

    data: bytes
    upload: str = ""
    size: int = 0
    meta: bytes = b""
    url: str = ""
    """Where it is to be fetched; when that is done, it is in the session's folder."""


class Start:
    """The start data of one request: ``faults`` first, then ``put`` it into a session."""

    def __init__(
        self, feedings: Sequence[Feeding], blobs: BlobStore, who: Who, fetcher: Fetcher
    ) -> None:
        """Decode and look up everything, as far as ``who`` may see it; ``faults`` then holds what is wrong."""
        self._fetcher = fetcher
        self.faults: list[Fault] = []
        self._feedings = feedings
        self._blobs = blobs
        self._who = who
        self._found = [self._find(feeding) for feeding in feedings]
        self.needs_files = not _is_small(self._found)
        """``put`` will write files, so it is for a thread."""

    def _find(self, feeding: Feeding) -> _Found:
        payload = feeding.payload
        if isinstance(payload, Inline):
            return _Found(payload.data, size=len(payload.data))
        loc = f"{feeding.loc}/{payload.source}"
        match payload.source:
            case "base64":
                try:
                    data = base64.b64decode("".join(payload.value.split()), validate=True)
                except (binascii.Error, ValueError):
                    self.faults.append(Fault(loc, "this is no base64", "bad-payload"))
                    return _Found(b"")
                return _Found(data, size=len(data), meta=_meta(payload.content_type, payload.name))
            case "fileId":
                return self._upload(payload, loc)
            case _:
                if wrong := self._fetcher.rules.fault(payload.value):
                    self.faults.append(Fault(loc, f"url: {wrong}", "bad-url"))
                return _Found(b"", url=payload.value)

    def _upload(self, payload: Referred, loc: str) -> _Found:
        upload = files.find(self._blobs, payload.value)
        if upload is None or not self._who.owns(upload.tenant):
            msg = f"no uploaded file has the id {payload.value[:80]!r}"
            self.faults.append(Fault(loc, msg, "unknown-file"))
            return _Found(b"")
        content_type = payload.content_type or upload.content_type
        meta = _meta(content_type, payload.name or upload.name, upload.sha256)
        return _Found(b"", upload.id, upload.size, meta)

    @property
    def sizes(self) -> list[int]:
        """Bytes of each message."""
        return [found.size for found in self._found]

    async def fetch(self, name: Callable[[int], str]) -> None:
        """Get what is named by URL into the blob store.

        Raises:
            InvalidError: With everything that could not be had; nothing of it is kept.
        """
        wanted = [index for index, found in enumerate(self._found) if found.url]
        if len(wanted) > MOST_URLS:
            msg = f"{len(wanted)} messages of start data are URLs; at most {MOST_URLS} are fetched"
            raise InvalidError.because(msg, loc="/startData", kind="too-many")
        room = asyncio.Semaphore(URLS_AT_ONCE)
        faults: list[Fault] = []
        done = False
        try:
            async with asyncio.TaskGroup() as tasks:
                for index in wanted:
                    tasks.create_task(self._fetch(index, name(index), room, faults))
            done = not faults
        except ExceptionGroup as exc:
            raise exc.exceptions[0] from exc
        finally:
            if not done:
                await asyncio.to_thread(self._drop, [name(index) for index in wanted])
        if faults:
            raise InvalidError(faults)

    def _drop(self, refs: Sequence[str]) -> None:
        for ref in refs:
            self._blobs.remove(ref)

    async def _fetch(
        self, index: int, ref: str, room: asyncio.Semaphore, faults: list[Fault]
    ) -> None:
        feeding, found = self._feedings[index], self._found[index]
        try:
            async with room:
                got = await self._fetcher.fetch(found.url, self._blobs, ref)
        except FetchError as exc:
            faults.append(Fault(f"{feeding.loc}/url", str(exc), exc.kind))
            return
        kind, name = got.content_type, got.name
        if isinstance(feeding.payload, Referred):
            kind, name = feeding.payload.content_type or kind, feeding.payload.name or name
        meta = _meta(kind, name, got.sha256)
        self._found[index] = _Found(b"", size=got.size, meta=meta, url=found.url)

    def put(self, name: Callable[[int], str]) -> tuple[Feed, ...]:
        """Return the messages as they travel; large ones are in the blob store after this.

        ``name`` says where message ``index`` is put there.
        """
        room = INLINE_TOTAL
        feeds = []
        for index, (feeding, found) in enumerate(zip(self._feedings, self._found, strict=True)):
            data, blob = found.data, ""
            inline = found.size <= min(INLINE_LIMIT, room)
            if inline and found.upload:
                data = self._blobs.read(files.ref(found.upload))
            elif inline and found.url:
                data = self._blobs.read(name(index))
                self._blobs.remove(name(index))
            elif not inline:
                blob = name(index)
                if found.url:
                    pass  # it is there already
                elif found.upload:
                    self._blobs.link(files.ref(found.upload), blob)
                else:
                    self._blobs.write(blob, [data])
                data = b""
            room -= len(data)
            feeds.append(Feed(feeding.channel, data, found.meta, blob))
        return tuple(feeds)

    def stored(self, plan: Plan, feeds: Sequence[Feed]) -> list[tuple[str, Stored]]:
        """Return what of it is a result from the beginning."""
        return [
            (feed.channel, Stored(feeding.type, feed.payload, feed.meta, feed.blob, found.size))
            for feeding, found, feed in zip(self._feedings, self._found, feeds, strict=True)
            if plan.channels[feed.channel].stored
        ]


async def begin(feedings: Sequence[Feeding], blobs: BlobStore, who: Who, fetcher: Fetcher) -> Start:
    """Return the start data, looked at in a thread where that may take time."""
    if all(isinstance(feeding.payload, Inline) for feeding in feedings):
        return Start(feedings, blobs, who, fetcher)
    return await asyncio.to_thread(Start, feedings, blobs, who, fetcher)


async def put(start: Start, session: str) -> StartData:
    """Return the start data of a session; what is named by URL is fetched first.

    Raises:
        InvalidError: Something of it could not be had.
    """
    return StartData(await _put(start, lambda index: start_ref(session, index)))


async def put_at(start: Start, ref: str) -> tuple[Feed, ...]:
    """Return the only message, at this place in the blob store when it is large."""
    return await _put(start, lambda _: ref)


async def _put(start: Start, name: Callable[[int], str]) -> tuple[Feed, ...]:
    if not start.needs_files:
        return start.put(name)
    await start.fetch(name)
    return await asyncio.to_thread(start.put, name)


def _is_small(found: Sequence[_Found]) -> bool:
    total = 0
    for one in found:
        if one.upload or one.url or one.size > INLINE_LIMIT:
            return False
        total += one.size
    return total <= INLINE_TOTAL


def _meta(content_type: str, name: str, sha256: str = "") -> bytes:
    if not (content_type or name or sha256):
        return b""
    return codec.encode(Meta(content_type=content_type, name=name, sha256=sha256))
