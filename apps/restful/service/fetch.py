"""Start data by URL: fetched by the gateway, streamed to disk, from addresses that may be called.

Redirects are followed; each address on the way is checked like the first (see ``outside``).
"""

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote

import httpx

from apps.restful.service.errors import StorageFullError
from apps.restful.service.files import NO_SPACE, hashed
from apps.sessions import outside
from blueengine.errors import BlueEngineError
from blueengine.graph.payload import MAX_WORDS
from blueengine.transport.blobs import BlobStore

AT_ONCE: Final = 32
"""Fetches under way in one gateway."""


class FetchError(BlueEngineError):
    """What a URL names cannot be had; the message is for whoever gave it."""

    code = "url-failed"

    def __init__(self, message: str, kind: str = code) -> None:
        """Keep the kind of the fault."""
        self.kind = kind
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was fetched."""

    size: int
    sha256: str
    content_type: str
    name: str


class Fetcher:
    """Fetches files. Callers: any task of one loop."""

    def __init__(
        self, client: httpx.AsyncClient, rules: outside.Rules, *, limit: int, timeout: float
    ) -> None:
        """Fetch over ``client``, at most ``limit`` bytes and ``timeout`` seconds each."""
        self.rules = rules
        self._client = client
        self._limit = limit
        self._timeout = timeout
        self._room = asyncio.Semaphore(AT_ONCE)

    async def fetch(self, url: str, blobs: BlobStore, ref: str) -> Fetched:
        """Save what ``url`` names as blob ``ref``: whole, or not at all.

        Raises:
            FetchError: It cannot be had, or is too large.
            StorageFullError: The disk takes no more.
        """
        try:
            async with self._room, asyncio.timeout(self._timeout):
                return await self._fetch(url, blobs, ref)
        except TimeoutError:
            raise FetchError(f"the URL took longer than {self._timeout:g} s") from None
        except outside.OutsideError as exc:
            raise FetchError(f"url: {exc}", exc.code) from exc
        except httpx.HTTPError as exc:
            if outside.is_refusal(exc):
                msg = "the URL leads to an address inside the platform's own network"
                raise FetchError(msg, outside.OutsideError.code) from exc
            raise FetchError(f"the URL cannot be read: {type(exc).__name__} {exc}"[:300]) from exc
        except OSError as exc:
            if exc.errno in NO_SPACE:
                msg = "the blob folder is full; free some space or use another BLOB_DIR"
                raise StorageFullError.because(msg) from exc
            raise

    async def _fetch(self, url: str, blobs: BlobStore, ref: str) -> Fetched:
        headers = {"accept-encoding": "identity", "user-agent": "BlueEngine"}
        async with self._client.stream("GET", url, headers=headers, timeout=self._timeout) as got:
            if got.status_code != 200:
                raise FetchError(f"the URL answered {got.status_code}")
            said = got.headers.get("content-length", "")
            self._check(int(said) if said.isdecimal() else 0)
            digest = hashlib.sha256()
            size = await blobs.save(ref, hashed(got.aiter_bytes(), digest, self._check))
            kind = got.headers.get("content-type", "")
            return Fetched(
                size=size,
                sha256=digest.hexdigest(),
                content_type=_word(kind),
                name=_word(PurePosixPath(unquote(got.url.path)).name),
            )

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise FetchError(f"what the URL names has more than {self._limit} bytes", "too-large")


def _word(text: str) -> str:
    return text if len(text) <= MAX_WORDS and text.isprintable() else ""
