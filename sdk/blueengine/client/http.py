"""Requests to the platform: the key, tries again, and what a refusal says.

What is tried again, until an answer comes or the patience is over:

* a request whose connection could not be made, once the platform has answered before: one that
  never answered is rather not there, and that is said at once;
* a request whose connection broke, if doing it twice does no harm;
* 429, 502, 503 and 504, after the time that ``Retry-After`` says.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from blueengine.client.errors import (
    API_ERRORS,
    ApiError,
    BusyError,
    ClientError,
    PlatformAwayError,
)
from blueengine.graph.dag import Fault
from blueengine.kit.backoff import delays

if TYPE_CHECKING:
    import httpx

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 2.0


class Patience:
    """How long one piece of work goes on trying, counted from the first time it failed."""

    def __init__(self, seconds: float) -> None:
        """Begin without a failure; with 0 nothing is tried again."""
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        """Forget the failures, for the work went on."""
        self._until: float | None = None
        self._pauses = delays(FIRST_PAUSE, LONGEST_PAUSE)

    async def pause(self, error: ClientError) -> None:
        """Sleep before the next try, or raise ``error`` when it would come too late."""
        now = asyncio.get_running_loop().time()
        if self._until is None:
            self._until = now + self._seconds
        told = error.retry_after if isinstance(error, ApiError) else None
        pause = next(self._pauses) if told is None else told
        if now + pause > self._until:
            raise error
        await asyncio.sleep(pause)


class Http:
    """The connections to one platform. Callers: any task of one event loop."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str,
        timeout: float,
        patience: float,
        transport: "httpx.AsyncBaseTransport | None",
    ) -> None:
        """Keep the arguments; nothing is connected yet.

        Raises:
            ClientError: The URL or the key can be none.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ClientError(f"{url!r} is no URL of a platform; write http://host:port")
        if parts.username is not None:
            raise ClientError("the platform's URL must hold no login; give an API key instead")
        if not api_key.isascii() or not (api_key + "x").isprintable():
            raise ClientError("the API key holds characters that no key has; copy it again")
        self.url = url.rstrip("/")
        self.timeout = timeout
        self.patience = patience
        self._key = api_key
        self._transport = transport
        self._opened: httpx.AsyncClient | None = None
        self._reached = False

    async def close(self) -> None:
        """Close the connections; the next request makes new ones."""
        if self._opened:
            opened, self._opened = self._opened, None
            await opened.aclose()

    async def call(
        self,
        method: str,
        route: str,
        *,
        params: dict[str, Any] | None = None,
        body: bytes | Callable[[], AsyncIterable[bytes]] | None = None,
        headers: dict[str, str] | None = None,
        timeout: float | None = 0,
        repeatable: bool = True,
    ) -> dict[str, Any]:
        """Return the ``data`` of the platform's answer.

        Args:
            method: GET, POST, …
            route: With its first slash.
            params: Of the query; lists repeat, None is left out.
            body: Bytes, or what answers them anew for each try.
            headers: More of them.
            timeout: Seconds without a byte; 0: the client's own; None: none.
            repeatable: Doing it twice does no harm.

        Raises:
            PlatformAwayError: Nothing answers.
            ApiError: The platform said no.
        """
        import httpx

        client = self._client()
        asked = {name: value for name, value in (params or {}).items() if value is not None}
        patience = Patience(self.patience)
        was_lost = False
        while True:
            try:
                response = await client.request(
                    method,
                    route,
                    params=asked,
                    content=body() if callable(body) else body,
                    headers=headers,
                    timeout=self.timeout if timeout == 0 else timeout,
                )
                await self.check(response)
            except httpx.TransportError as exc:
                error = self.away(exc)
                if not self._may_repeat(exc, repeatable=repeatable):
                    raise error from exc
                was_lost = True
                await patience.pause(error)
            except BusyError as exc:
                if not repeatable and exc.status != 429:
                    raise
                await patience.pause(exc)
            except ApiError as exc:
                exc.repeated = was_lost
                raise
            else:
                return decoded(response.content).get("data") or {}

    @asynccontextmanager
    async def stream(
        self, route: str, *, headers: dict[str, str], timeout: float
    ) -> "AsyncGenerator[httpx.Response]":
        """Open a GET whose answer is read as it comes; it is not tried again.

        Raises:
            ApiError: The platform said no.
            httpx.TransportError: Nothing answers, or it breaks off.
        """
        client = self._client()
        async with client.stream(
            "GET", route, headers=headers, timeout=timeout, follow_redirects=True
        ) as response:
            await self.check(response)
            yield response

    async def check(self, response: "httpx.Response") -> None:
        """Raise what the platform said when it said no."""
        self._reached = True
        if response.status_code < 300 or response.status_code == 304:
            return
        raise _api_error(response, decoded(await response.aread()))

    def away(self, exc: Exception) -> PlatformAwayError:
        """Return the error of a platform that does not answer."""
        why = str(exc) or type(exc).__name__
        return PlatformAwayError(
            f"no platform answers at {self.url} ({why}); start one with `blueengine up`, or name "
            "another with --url or BLUEENGINE_URL"
        )

    def is_hopeless(self, exc: Exception) -> bool:
        """Whether this is the first word of a platform that is not there."""
        import httpx

        return isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout) and not self._reached

    def _may_repeat(self, exc: Exception, *, repeatable: bool) -> bool:
        import httpx

        never_sent = isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
        return not self.is_hopeless(exc) and (repeatable or never_sent)

    def _client(self) -> "httpx.AsyncClient":
        if self._opened is None:
            import httpx

            try:
                self._opened = httpx.AsyncClient(
                    base_url=self.url,
                    timeout=self.timeout,
                    transport=self._transport,
                    headers={"Accept": "application/json"}
                    | ({"Authorization": f"Bearer {self._key}"} if self._key else {}),
                    trust_env=not _is_loopback(self.url),
                    limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
                )
            except httpx.InvalidURL as exc:
                raise ClientError(f"{self.url} is no URL: {exc}") from exc
        return self._opened


def decoded(raw: bytes) -> dict[str, Any]:
    """Return a JSON object; one that holds the value when it is something else."""
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return found if isinstance(found, dict) else {"value": found}


def _api_error(response: "httpx.Response", body: dict[str, Any]) -> ApiError:
    data = body.get("data")
    named: Any = data.get("errors") if isinstance(data, dict) else None
    faults = [
        Fault(str(fault.get("loc", "")), str(fault.get("msg", "")), str(fault.get("type", "")))
        for fault in (named if isinstance(named, list) else [])
        if isinstance(fault, dict)
    ]
    status = response.status_code
    said = response.headers.get("retry-after", "")
    return API_ERRORS.get(status, ApiError)(
        status,
        str(body.get("message") or f"HTTP {status} from {response.url.path}"),
        faults,
        retry_after=float(said) if said.isdecimal() else None,
    )


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host.startswith("127.") or host in {"localhost", "::1"}
