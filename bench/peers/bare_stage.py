"""A stage of a chain of bare processes: a parent with a loop and a worker that computes, as an engine is.

``python -m bench.peers.bare_stage OWN NEXT``: lines of JSON that come to the Unix socket OWN go through the
worker, which reads and writes them anew, to the Unix socket NEXT. Nothing is checked, stored or reported.
It says ``ready`` once it listens, and ends when its stdin does.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Callable

import msgspec
import uvloop


class Lines(asyncio.Protocol):
    """Hands over each line that comes."""

    def __init__(self, forward: Callable[[bytes], None]) -> None:
        """Call ``forward`` with each line, its end included."""
        self._forward, self._rest = forward, b""

    def data_received(self, data: bytes) -> None:
        """Cut what came into lines."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._forward(line + b"\n")


def work(parent: socket.socket) -> None:
    """Answer each message with the same, until the parent is gone."""
    with parent.makefile("rb") as lines:
        for line in lines:
            parent.sendall(msgspec.json.encode(msgspec.json.decode(line)) + b"\n")


async def _pass_on(own: str, following: str, worker: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    onward, _ = await loop.create_unix_connection(asyncio.Protocol, following)
    to_worker, _ = await loop.create_connection(lambda: Lines(onward.write), sock=worker)
    server = await loop.create_unix_server(lambda: Lines(to_worker.write), own)
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
