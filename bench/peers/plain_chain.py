"""Source, stages and sink on bare Redis Streams, each a process: no sessions, no checks, no acks.

``python -m bench.peers.plain_chain ROLE READS WRITES COUNT SIZE``. Every process pipelines its
commands over one connection for reading and one for writing, and goes on reading while its last
batch is being written. The bytes pass as they are; only source and sink look into them.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import uvloop

from bench.stream import FRAME_HEAD, frame
from blueengine.kit.redis_address import RedisAddress
from blueengine.kit.redis_link import Link

BLOCK_MS = 10_000
IN_FLIGHT = 16 << 20
"""Bytes that may lie in one stream, so that a fast writer does not fill Redis."""


class Writer:
    """Appends to a stream, one batch ahead."""

    def __init__(self, link: Link, key: str, size: int) -> None:
        self._link, self._key = link, key
        self._most = max(8, IN_FLIGHT // size)
        self._behind: Sequence[asyncio.Future[Any]] = ()

    async def write(self, bodies: Sequence[bytes]) -> None:
        """Send a batch once the one before it has arrived and the stream has room."""
        await self.flush()
        self._behind = [
            *(self._link.send("XADD", self._key, "*", "p", body) for body in bodies),
            self._link.send("XLEN", self._key),
        ]

    async def flush(self) -> None:
        """Wait until the batch before has arrived and the stream has room."""
        if self._behind:
            *_, length = [await reply for reply in self._behind]
            self._behind = ()
            while length > self._most:
                await asyncio.sleep(0.0005)
                length = await self._link.send("XLEN", self._key)


class Reader:
    """Reads a stream from its beginning; what was read is trimmed away."""

    def __init__(self, link: Link, key: str, at_once: int) -> None:
        self._link, self._key, self._at_once = link, key, at_once
        self._last = "0-0"

    async def read(self) -> list[bytes]:
        """Wait for messages."""
        if self._last != "0-0":
            stamp, _, number = self._last.partition("-")
            following = f"{stamp}-{int(number) + 1}"
            trimmed = self._link.send("XTRIM", self._key, "MINID", following)
            trimmed.add_done_callback(lambda reply: reply.exception())
        reply = await self._link.send(
            "XREAD", "COUNT", self._at_once, "BLOCK", BLOCK_MS, "STREAMS", self._key, self._last
        )
        if not reply:
            raise TimeoutError(f"nothing came on {self._key}")
        entries = reply[0][1]
        self._last = entries[-1][0].decode()
        return [fields[1] for _, fields in entries]


async def source(writer: Writer, count: int, size: int, at_once: int) -> None:
    """Write ``count`` messages; wait for a line on stdin first."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)
    body, started = bytes(size - FRAME_HEAD.size), time.time_ns()
    for first in range(0, count, at_once):
        numbers = range(first, min(first + at_once, count))
        await writer.write([frame(number, count, started, body) for number in numbers])
    await writer.flush()


async def stage(reader: Reader, writer: Writer, count: int) -> None:
    """Pass ``count`` messages on."""
    done = 0
    while done < count:
        bodies = await reader.read()
        await writer.write(bodies)
        done += len(bodies)
    await writer.flush()


async def sink(reader: Reader, count: int) -> None:
    """Count, and print the tally."""
    done = started = 0
    while done < count:
        for body in await reader.read():
            number, _, started = FRAME_HEAD.unpack_from(body)
            if number != done:
                raise ValueError(f"message {number} came where {done} was due")
            done += 1
    sys.stdout.write(json.dumps({"count": done, "ns": time.time_ns() - started}) + "\n")


async def _run(role: str, reads: str, writes: str, count: int, size: int) -> None:
    address = RedisAddress.from_url(os.environ["REDIS_URL"])
    reading, writing = Link(address), Link(address)
    await reading.open()
    await writing.open()
    at_once = max(1, min(256, (2 << 20) // size))
    reader, writer = Reader(reading, reads, at_once), Writer(writing, writes, size)
    if role == "source":
        await source(writer, count, size, at_once)
    elif role == "sink":
        await sink(reader, count)
    else:
        await stage(reader, writer, count)
    await reading.close()
    await writing.close()


if __name__ == "__main__":
    uvloop.run(_run(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])))
