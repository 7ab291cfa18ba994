"""Waiting for the end of a child process without holding up the event loop."""

import asyncio
import os
import subprocess
import threading
from collections.abc import Callable

from blueengine.kit import aio


async def exit_code(process: "subprocess.Popen[bytes]") -> int:
    """Wait until a process ends; its exit code, negative for a signal.

    Of any process, also one that was started before there was a loop, or has ended already.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not ended.done():
            ended.set_result(None)

    try:
        watched = os.pidfd_open(process.pid)
    except OSError:  # Linux before 5.3, or a sandbox without it
        _wait_aside(process, loop, tell)
        await ended
    else:
        loop.add_reader(watched, tell)
        try:
            await ended
        finally:
            loop.remove_reader(watched)
            os.close(watched)
    return process.wait()


def _wait_aside(
    process: "subprocess.Popen[bytes]",
    loop: asyncio.AbstractEventLoop,
    tell: Callable[[], None],
) -> None:
    def wait() -> None:
        process.wait()
        aio.call_soon(loop, tell)

    threading.Thread(target=wait, name=f"exit-{process.pid}", daemon=True).start()
