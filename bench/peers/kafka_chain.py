"""Source, stages and sink on bare Kafka clients, each a process: no sessions, no checks.

``python -m bench.peers.kafka_chain CLIENT ROLE READS WRITES COUNT SIZE [PAUSE]``; CLIENT is ``aiokafka``
or ``confluent``. Roles are ``source``, ``stage`` and ``sink``, and ``ping`` for one message at a time
through stages and back, with PAUSE seconds between two. Each stays until its stdin ends, so that its CPU
time can be read. All is set as in the platform: one partition read by assignment, an idempotent producer
with acks=all, batches of up to 1 MiB; a writer has up to 8 MiB or 256 batches unacknowledged.
"""

import asyncio
import json
import os
import sys
import time
from collections import deque
from typing import Any

import uvloop

from bench.stream import FRAME_HEAD, frame

WINDOW_BYTES = 8 << 20
BATCH_BYTES = 1 << 20
FETCH_BYTES = 4 << 20
LARGEST = 8 << 20


class AioKafka:
    """aiokafka's producer and consumer, used as its documentation says."""

    def __init__(self, reads: str, writes: str) -> None:
        self._reads, self._writes = reads, writes
        self._under_way: deque[tuple[Any, int]] = deque()
        self._bytes = 0

    async def open(self) -> None:
        from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

        brokers = os.environ["KAFKA_BROKERS"]
        self._producer = AIOKafkaProducer(
            bootstrap_servers=brokers, acks="all", enable_idempotence=True,
            max_batch_size=BATCH_BYTES, max_request_size=LARGEST,
        )  # fmt: skip
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=brokers, max_partition_fetch_bytes=LARGEST, fetch_max_wait_ms=5000
        )
        await self._producer.start()
        await self._consumer.start()
        if self._reads:
            self._inbox = TopicPartition(self._reads, 0)
            self._consumer.assign([self._inbox])
            self._consumer.seek(self._inbox, 0)

    async def read(self) -> list[bytes]:
        found = await self._consumer.getmany(self._inbox, timeout_ms=30_000)
        return [record.value for record in found.get(self._inbox, ())]

    async def write(self, body: bytes) -> None:
        sent = await self._producer.send(self._writes, body, partition=0)
        self._under_way.append((sent, len(body)))
        self._bytes += len(body)
        while self._bytes > WINDOW_BYTES:
            await self._settle()

    async def _settle(self) -> None:
        sent, size = self._under_way.popleft()
        await sent
        self._bytes -= size

    async def flush(self) -> None:
        while self._under_way:
            await self._settle()

    async def close(self) -> None:
        await self._producer.stop()
        await self._consumer.stop()


class Confluent:
    """confluent-kafka (librdkafka): its threads do the work, this one hands over."""

    def __init__(self, reads: str, writes: str) -> None:
        self._reads, self._writes = reads, writes

    async def open(self) -> None:
        from confluent_kafka import Consumer, Producer, TopicPartition

        brokers = {"bootstrap.servers": os.environ["KAFKA_BROKERS"]}
        self._producer = Producer(
            brokers
            | {"acks": "all", "enable.idempotence": True, "linger.ms": 0}
            | {"batch.size": BATCH_BYTES, "message.max.bytes": LARGEST}
            | {"queue.buffering.max.kbytes": WINDOW_BYTES >> 10}
        )
        self._consumer = Consumer(
            brokers | {"group.id": "none", "enable.auto.commit": False, "fetch.wait.max.ms": 5000}
        )
        if self._reads:
            self._consumer.assign([TopicPartition(self._reads, 0, 0)])

    async def read(self) -> list[bytes]:
        # one by itself at once, else consume() would wait for a full batch
        first = await asyncio.to_thread(self._consumer.consume, 1, 30.0)
        return [m.value() for m in [*first, *self._consumer.consume(500, 0)]]

    async def write(self, body: bytes) -> None:
        while True:
            try:
                self._producer.produce(self._writes, body, partition=0)
            except BufferError:
                self._producer.poll(0.01)
            else:
                self._producer.poll(0)
                return

    async def flush(self) -> None:
        self._producer.flush()

    async def close(self) -> None:
        self._producer.flush()
        self._consumer.close()


async def source(line: Any, count: int, size: int) -> None:
    """Write ``count`` messages; wait for a line on stdin first."""
    await _told()
    body, started = bytes(size - FRAME_HEAD.size), time.time_ns()
    for number in range(count):
        await line.write(frame(number, count, started, body))
    await line.flush()


async def stage(line: Any, count: int) -> None:
    """Pass ``count`` messages on."""
    done = 0
    while done < count:
        bodies = await line.read()
        for body in bodies:
            await line.write(body)
        done += len(bodies)
    await line.flush()


async def sink(line: Any, count: int) -> None:
    """Count, and print the tally."""
    done = started = 0
    while done < count:
        for body in await line.read():
            number, _, started = FRAME_HEAD.unpack_from(body)
            if number != done:
                raise ValueError(f"message {number} came where {done} was due")
            done += 1
    _say({"count": done, "ns": time.time_ns() - started})


async def ping(line: Any, count: int, size: int, pause: float) -> None:
    """Send one message at a time and wait for it to come back; print how long that took."""
    await _told()
    times = []
    for _ in range(count):
        await asyncio.sleep(pause)
        began = time.perf_counter_ns()
        await line.write(bytes(size))
        while not await line.read():
            pass
        times.append(time.perf_counter_ns() - began)
    _say({"count": count, "times": times})


async def _told() -> None:
    _say("ready")
    await asyncio.to_thread(sys.stdin.readline)


def _say(what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def _run(client: str, role: str, *ways: str, count: int, size: int, pause: float) -> None:
    line = {"aiokafka": AioKafka, "confluent": Confluent}[client](*ways)
    await line.open()
    match role:
        case "source":
            await source(line, count, size)
        case "sink":
            await sink(line, count)
        case "ping":
            await ping(line, count, size, pause)
        case _:
            await stage(line, count)
    await asyncio.to_thread(sys.stdin.read)
    await line.close()


if __name__ == "__main__":
    chosen, part, here, there, how_many, how_large, *rest = sys.argv[1:]
    seconds = float(rest[0]) if rest else 0.0
    work = _run(chosen, part, here, there, count=int(how_many), size=int(how_large), pause=seconds)
    uvloop.run(work)
