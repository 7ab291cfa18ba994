"""One try to deliver: a POST over a connection of its own, to an address that may be called.

Nothing the receiver does harms more than this try: its time is bounded, its answer is read no further
than a snippet, and redirects are not followed. What it answers is kept for people to see, without the
secrets that were sent to it.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

import httpx

from apps.management.webhooks.retry import retry_after
from apps.sessions import outside
from blueengine.kit.clock import Clock
from blueengine.wire.webhook import Webhook

SNIPPET: Final = 1024
"""Bytes of an answer that are kept."""
GONE: Final = 410
_AGENT: Final = "BlueEngine-Webhooks/1"
_SHORTEST_SECRET: Final = 4
_MASK: Final = "***"


@dataclass(frozen=True, kw_only=True)
class Tried:
    """How one try went."""

    at: float
    """Seconds since the epoch."""
    seconds: float
    code: int = 0
    """0: there was no answer."""
    snippet: str = ""
    error: str = ""
    asked: float = 0.0
    """Seconds to wait that the receiver asked for."""

    @property
    def delivered(self) -> bool:
        """Whether the receiver has it."""
        return 200 <= self.code < 300

    def kept(self) -> dict[str, object]:
        """Return what is kept of it for people."""
        view: dict[str, object] = {"at": int(self.at * 1e6), "ms": round(self.seconds * 1000, 1)}
        if self.code:
            view["code"] = self.code
        if self.snippet:
            view["response"] = self.snippet
        if self.error:
            view["error"] = self.error
        return view


class Sender:
    """Sends bodies to receivers."""

    def __init__(self, client: httpx.AsyncClient, clock: Clock, *, timeout: float) -> None:
        """Send over ``client`` (see ``outside.client``); a try lasts ``timeout`` seconds at most."""
        self._client = client
        self._clock = clock
        self._timeout = timeout

    async def post(self, webhook: Webhook, body: bytes, headers: dict[str, str]) -> Tried:
        """Try once. Whatever goes wrong is in the answer."""
        began, at = self._clock.monotonic(), self._clock.unix()
        code, snippet, error, asked = 0, b"", "", 0.0
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._client.send(
                    self._request(webhook, body, headers), stream=True
                )
                code = response.status_code
                asked = retry_after(response.headers.get("retry-after", ""), now=at)
                try:
                    snippet = await _beginning(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            error = "" if code else f"no answer within {self._timeout:g} s"
        except (httpx.HTTPError, httpx.InvalidURL, outside.OutsideError, ValueError) as exc:
            error = "" if code else _words(exc)
        if 300 <= code < 400:
            error = "redirects are not followed"
        return Tried(
            at=at,
            seconds=self._clock.monotonic() - began,
            code=code,
            snippet=_masked(snippet.decode(errors="replace"), webhook),
            error=_masked(error, webhook),
            asked=asked,
        )

    def _request(self, webhook: Webhook, body: bytes, headers: dict[str, str]) -> httpx.Request:
        ours = {
            "content-type": "application/json",
            "user-agent": _AGENT,
            "accept-encoding": "identity",
            **headers,
        }
        sent = {name.lower(): value for name, value in webhook.headers.items()} | ours
        return self._client.build_request(
            "POST", webhook.url, content=body, headers=sent, timeout=self._timeout
        )


async def _beginning(response: httpx.Response) -> bytes:
    """Return the first bytes of an answer; the rest is left unread."""
    found = b""
    async for piece in response.aiter_raw(SNIPPET):
        found += piece
        if len(found) >= SNIPPET:
            break
    return found[:SNIPPET]


def _words(exc: Exception) -> str:
    text = str(exc) or type(exc).__name__
    if outside.is_refusal(exc) and not isinstance(exc, outside.OutsideError):
        return "its name leads to an address inside the platform's own network"
    if isinstance(exc, httpx.HTTPError) and type(exc).__name__ not in text:
        text = f"{type(exc).__name__}: {text}"
    return text[:SNIPPET]


def _masked(text: str, webhook: Webhook) -> str:
    """Return the text without the secrets of the webhook, in case the receiver echoes them."""
    for value in webhook.headers.values():
        for secret in (value, value.rpartition(" ")[2]):
            if len(secret) >= _SHORTEST_SECRET:
                text = text.replace(secret, _MASK)
    return text
