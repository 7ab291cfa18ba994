"""Asking Redis Sentinel where the primary is."""

import asyncio
import ssl
from typing import Any, Final

import hiredis

from blueengine.kit.redis_address import RedisAddress

ASK_SECONDS: Final = 1.0
"""How long one Sentinel has to answer before the next is asked."""


async def find_primary(address: RedisAddress, tls: ssl.SSLContext | None) -> tuple[str, int]:
    """Return host and port of the primary, as the first Sentinel that knows it says.

    Raises:
        OSError: No Sentinel knows.
    """
    said = []
    for host, port in address.sentinels:
        try:
            async with asyncio.timeout(ASK_SECONDS):
                return await _ask(address, host, port, tls)
        except (OSError, TimeoutError, hiredis.HiredisError) as exc:
            said.append(f"{host}:{port}: {str(exc) or type(exc).__name__}")
    raise ConnectionRefusedError(f"no Sentinel knows {address.primary!r}: {'; '.join(said)}")


async def _ask(
    address: RedisAddress, host: str, port: int, tls: ssl.SSLContext | None
) -> tuple[str, int]:
    reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    try:
        commands: list[tuple[str, ...]] = [("SENTINEL", "get-master-addr-by-name", address.primary)]
        if address.sentinel_password:
            commands.insert(0, ("AUTH", address.sentinel_password))
        replies = hiredis.Reader()
        answer: Any = None
        for command in commands:
            writer.write(hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub means a tuple of one
            while (answer := replies.gets()) is False:
                if not (data := await reader.read(4096)):
                    raise ConnectionResetError("it closed the connection")
                replies.feed(data)
            if isinstance(answer, hiredis.ReplyError):
                raise ConnectionRefusedError(str(answer))
        if not isinstance(answer, list):
            raise ConnectionRefusedError("it does not know that name")
        return answer[0].decode(), int(answer[1])
    finally:
        writer.close()
