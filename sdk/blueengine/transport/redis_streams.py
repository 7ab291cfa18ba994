"""Data channels over Redis Streams: an instance's inbox is one stream, read without a group.

A message is removed when it was read: should the reader die, its sessions end (or begin again as a
new attempt), so nobody would read the message a second time.
"""

import asyncio
import logging

from blueengine.errors import DecodeError
from blueengine.kit import aio
from blueengine.kit.redis_link import Link, Reply
from blueengine.transport.base import Run, refusal
from blueengine.wire import codec, names
from blueengine.wire.envelope import Header

log = logging.getLogger(__name__)

SETTING = "REDIS_MAX_MESSAGE_BYTES"
BLOCK_MS = 5_000
AT_ONCE = 256
UNATTENDED_SECONDS = 300
TRIM_ENTRIES = 64
TRIM_BYTES = 1 << 20
"""What was read is trimmed away when it is more than this, or when nothing comes for a while."""


class StreamReader:
    """Reads one stream to its end and waits there; what was read is soon trimmed away.

    The link must be used by nobody else: a blocking read holds up what is queued behind it.
    """

    def __init__(self, link: Link, key: str) -> None:
        """Read ``key`` from its beginning."""
        self._link = link
        self._key = key
        self._last = "0-0"
        self._untrimmed = self._untrimmed_bytes = 0

    async def read(self) -> list[list[bytes]]:
        """Wait for entries and return their flat field lists; empty after a while without any."""
        if self._untrimmed_bytes > TRIM_BYTES or self._untrimmed > TRIM_ENTRIES:
            self._trim()
        reply = await self._link.send(
            "XREAD", "COUNT", AT_ONCE, "BLOCK", BLOCK_MS, "STREAMS", self._key, self._last
        )
        if not reply:
            self._trim()
            return []
        entries = [fields for _, fields in reply[0][1]]
        self._last = reply[0][1][-1][0].decode()
        self._untrimmed += len(entries)
        self._untrimmed_bytes += sum(sum(map(len, fields)) for fields in entries)
        return entries

    def _trim(self) -> None:
        """Free what was read; not at every read, for that is a round trip of its own."""
        if self._untrimmed:
            self._untrimmed = self._untrimmed_bytes = 0
            stamp, _, number = self._last.partition("-")
            trimmed = self._link.send("XTRIM", self._key, "MINID", f"{stamp}-{int(number) + 1}")
            trimmed.add_done_callback(aio.take_note)  # a lost link shows at the read beside it


class RedisStreams:
    """The transport of one instance."""

    separate = False

    def __init__(
        self, writing: Link, reading: Link, instance: str, *, max_message_bytes: int
    ) -> None:
        """Write over one link (shared), read over another (its own)."""
        self._writing = writing
        self._limit = max_message_bytes
        self._inbox = names.inbox(instance)
        self._reader = StreamReader(reading, self._inbox)

    async def open(self) -> None:
        """Make the inbox: writers never do, so that none is left behind for a dead instance."""
        made = self._writing.send("XADD", self._inbox, "*", "opened", "1")
        # it stays with the attendance; who dies before that leaves nothing for long
        await self._writing.send("EXPIRE", self._inbox, UNATTENDED_SECONDS)
        await made

    def send(
        self, instance: str, header: Header, payload: bytes, *more: bytes
    ) -> "asyncio.Future[Reply]":
        """Append a run to an instance's inbox as one entry, if that is still there."""
        if above := refusal(self._limit, SETTING, header, payload, *more):
            return above
        words: list[bytes | str] = []
        for further in more:
            words += ["p", further]
        return self._writing.send(
            "XADD",
            names.inbox(instance),
            "NOMKSTREAM",
            "*",
            "h",
            codec.encode(header),
            "p",
            payload,
            *words,
        )

    def announce(self, _instance: str, _header: Header) -> None:
        """It would cost an entry."""

    async def receive(self) -> list[Run]:
        """Wait for messages and return them, oldest first."""
        runs: list[Run] = []
        for fields in await self._reader.read():
            if fields[0] != b"h":
                continue
            try:
                runs.append((codec.decode(Header, fields[1]), fields[3::2]))
            except DecodeError:
                log.exception("dropped a message that this version cannot read")
        return runs

    async def close(self) -> None:
        """Do nothing: the links belong to whoever made them."""
