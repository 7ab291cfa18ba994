"""Webhooks in tests: time that passes at once, and a receiver that does what it is told."""

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Self

from standardwebhooks import Webhook

from apps.sessions.outbox import Outbox
from blueengine.wire import names

_EARLIER: Final = """
local by = tonumber(ARGV[1])
local function shift(key)
  local all = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  for i = 1, #all, 2 do redis.call('ZINCRBY', key, -by, all[i]) end
  return all
end
for _, receiver in ipairs(redis.call('ZRANGE', '{receivers}', 0, -1)) do
  local queues = shift('{due}' .. receiver)
  for i = 1, #queues, 2 do
    local since = redis.call('HGET', '{hook}' .. queues[i], 'since')
      or cjson.decode(redis.call('LINDEX', '{queue}' .. queues[i], 0)).at
    redis.call('HSET', '{hook}' .. queues[i], 'since', string.format('%.0f', since - by))
  end
end
shift('{receivers}')
redis.call('PUBLISH', '{wake}', '1')
"""
_NAMES: Final = {
    "receivers": names.HOOK_RECEIVERS,
    "due": names.hook_due(""),
    "hook": names.hook(""),
    "queue": names.hook_queue(""),
    "wake": names.HOOK_WAKE,
}


async def let_pass(outbox: Outbox, seconds: float) -> None:
    """Have the outbox believe that so much time is over: what waits waits for longer already."""
    script = _EARLIER
    for name, key in _NAMES.items():
        script = script.replace("{" + name + "}", key)
    await outbox._link.send("EVAL", script, 0, int(seconds * 1e6))


@dataclass(frozen=True)
class Received:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        return json.loads(self.raw)  # type: ignore[no-any-return]

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, *secrets: str) -> bool:
        """Whether each of the secrets accepts the signature, by the reference library."""
        for secret in secrets:
            Webhook(secret).verify(self.raw, self.headers)
        return bool(secrets)


Answer = bytes | None
Behaviour = Callable[[Received], "Answer | Awaitable[Answer]"]
"""The bytes to answer with; None closes the connection without a word."""


def answer(code: int = 200, body: bytes = b"ok", **headers: str) -> bytes:
    """Return an HTTP answer; ``retry_after="3"`` is the header Retry-After."""
    lines = [f"HTTP/1.1 {code} X", f"content-length: {len(body)}", "connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Receiver:
    """A server for webhooks that does what ``behave`` says. Use it as an async context."""

    def __init__(self, behave: Behaviour | None = None, *, port: int = 0) -> None:
        self.behave: Behaviour = behave or (lambda _: answer())
        self.port = port
        self.got: list[Received] = []
        self.most_at_once = 0
        self._open: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/in"

    @property
    def receiver(self) -> str:
        return f"127.0.0.1:{self.port}"

    def taken(self) -> list[Received]:
        """Return what came, each event once, by its first time."""
        return list({one.id: one for one in reversed(self.got)}.values())[::-1]

    async def __aenter__(self) -> Self:
        await self.up()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.down()

    async def up(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def down(self) -> None:
        if self._server is not None:
            self._server.close()
            for task in self._open:
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._open.add(task)
        try:
            if request := await _read(reader):
                self.got.append(request)
                self.most_at_once = max(self.most_at_once, len(self._open))
                said = self.behave(request)
                if inspect.isawaitable(said):
                    said = await said
                writer.write(said or b"")
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            pass  # it goes down; asyncio's own callback would complain of a cancelled handler
        finally:
            self._open.discard(task)
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Received | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    except asyncio.IncompleteReadError:
        return None  # a look at the address, without a request
    pairs = (line.split(": ", 1) for line in head[1:] if line)
    headers = {name.lower(): value for name, value in pairs}
    raw = await reader.readexactly(int(headers.get("content-length", 0)))
    return Received(head[0].split(" ")[1], headers, raw)
