"""A stage of a chain of bare processes: a parent with a loop and a worker that computes, as an engine is.

``python -m bench.peers.bare_stage OWN NEXT``: JSON that comes framed to the Unix socket OWN goes through the
worker, which reads and writes it anew, to the Unix socket NEXT. Nothing is checked, stored or reported.
It says ``ready`` once it listens, and ends when its stdin does.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Callable

import msgspec
import uvloop

from blueengine.kit.framing import Splitter, framed


class Frames(asyncio.Protocol):
    """Hands over each body that comes."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        """Call ``take`` with each body."""
        self._take, self._splitter = take, Splitter()

    def data_received(self, data: bytes) -> None:
        """Cut what came into bodies."""
        for body in self._splitter.feed(data):
            self._take(bytes(body))


def work(parent: socket.socket) -> None:
    """Answer each body with the same, until the parent is gone."""
    splitter = Splitter()
    while data := parent.recv(1 << 16):
        for body in splitter.feed(data):
            parent.sendall(framed(msgspec.json.encode(msgspec.json.decode(body))))


async def _pass_on(own: str, following: str, worker: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    onward, _ = await loop.create_unix_connection(asyncio.Protocol, following)
    to_worker, _ = await loop.create_connection(
        lambda: Frames(lambda body: onward.write(framed(body))), sock=worker
    )
    server = await loop.create_unix_server(
        lambda: Frames(lambda body: to_worker.write(framed(body))), own
    )
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    server.close()


def main() -> None:
    """Start the worker, then the loop."""
    workers, parents = socket.socketpair()
    if os.fork() == 0:
        workers.close()
        work(parents)
    else:
        parents.close()
        uvloop.run(_pass_on(sys.argv[1], sys.argv[2], workers))


if __name__ == "__main__":
    main()
