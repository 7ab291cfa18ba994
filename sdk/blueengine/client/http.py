"""A small asynchronous client of the REST API.

Errors: ``PlatformAwayError`` when nothing answers, ``ApiError`` with the platform's own words when
it says no. Nothing is retried but a broken event stream, which goes on where it broke.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar
from urllib.parse import quote

import msgspec
import orjson

from blueengine.client import answers
from blueengine.errors import BlueEngineError
from blueengine.kit.backoff import delays
from blueengine.wire.lifecycle import TERMINAL

if TYPE_CHECKING:
    import httpx

M = TypeVar("M")

DEFAULT_URL: Final = "http://127.0.0.1:8080"
PIECE: Final = 1 << 20
WAIT_SECONDS: Final = 30.0
"""How long one request of ``wait`` is held."""
RECONNECTS: Final = 8
"""Tries in a row without an event before an event stream is given up."""


class PlatformAwayError(BlueEngineError):
    """Nothing answers at the URL."""

    code = "platform-away"
    retriable = True


class ApiError(BlueEngineError):
    """The platform refused a request; the message names every fault."""

    code = "refused"

    def __init__(self, status: int, message: str, faults: list[dict[str, str]]) -> None:
        """Keep what it said."""
        self.status = status
        self.faults = faults
        words = [f"{fault.get('loc', '')}: {fault.get('msg', '')}".lstrip(": ") for fault in faults]
        words = [word for word in words if word and word != message]
        super().__init__(": ".join(filter(None, [message, "; ".join(words)])) or f"HTTP {status}")


class Client:
    """One platform. Open it as an async context manager."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        timeout: float = 30.0,
        transport: "httpx.AsyncBaseTransport | None" = None,
    ) -> None:
        """Speak to the platform at ``url``.

        Args:
            url: Where it is.
            timeout: Of a request without a wait, seconds.
            transport: In place of the network, for tests.
        """
        self.url = url.rstrip("/")
        self._timeout = timeout
        self._transport = transport
        self._opened: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        import httpx

        try:
            self._opened = httpx.AsyncClient(
                base_url=self.url,
                timeout=self._timeout,
                transport=self._transport,
                headers={"Accept": "application/json"},
                trust_env=not _is_loopback(self.url),
            )
        except httpx.InvalidURL as exc:
            raise PlatformAwayError(f"{self.url} is no URL: {exc}") from exc
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._opened:
            await self._opened.aclose()

    async def upload(self, path: Path, *, name: str = "") -> answers.Upload:
        """Upload a file piece by piece."""
        data = await self._call(
            "POST",
            "/api/v1/files",
            params={"name": name or path.name},
            content=_pieces(path),
            headers={"Content-Type": "application/octet-stream"},
            timeout=None,
        )
        return answers.as_record(answers.Upload, data)

    async def submit(
        self, workflow: Mapping[str, Any], *, idempotency_key: str = ""
    ) -> answers.Outcome:
        """Submit the body of process-workflow, or of process-single-engine if it has an engineId."""
        route = "process-single-engine" if "engineId" in workflow else "process-workflow"
        headers = {"Content-Type": "application/json"}
        if idempotency_key:
            headers["Idempotency-Key"] = idempotency_key
        wait = float(workflow.get("waitTimeSecond") or 0)
        data = await self._call(
            "POST",
            f"/api/v1/{route}",
            content=orjson.dumps(workflow),
            headers=headers,
            timeout=self._timeout + wait,
        )
        return answers.as_record(answers.Outcome, data)

    async def outcome(self, session: str, *, wait: float = 0) -> answers.Outcome:
        """Return status and results, at the session's end or after ``wait`` seconds."""
        kind = "single-engine" if "-process-single-engine-" in session else "workflow"
        data = await self._call(
            "GET",
            f"/api/v1/process-{kind}/{quote(session)}",
            params={"waitTimeSecond": wait} if wait else None,
            timeout=self._timeout + wait,
        )
        return answers.as_record(answers.Outcome, data)

    async def wait(self, session: str) -> answers.Outcome:
        """Wait for the session's end; its outcome."""
        while (found := await self.outcome(session, wait=WAIT_SECONDS)).status not in TERMINAL:
            pass
        return found

    async def detail(self, session: str) -> answers.Detail:
        """Return everything known of a session."""
        data = await self._call("GET", f"/api/v1/sessions/{quote(session)}")
        return answers.as_record(answers.Detail, data)

    async def stop(self, session: str) -> str:
        """End a session; its status now."""
        data = await self._call("POST", f"/api/v1/sessions/{quote(session)}/stop")
        process = data.get("process") if isinstance(data, dict) else None
        return str((process or {}).get("status", "stopping"))

    async def sessions(self, **filters: str | int) -> answers.Page:
        """Return a page of sessions; filters: status, engine, label, limit, cursor."""
        params = {name: value for name, value in filters.items() if value not in {"", 0}}
        data = await self._call("GET", "/api/v1/sessions", params=params)
        return answers.as_record(answers.Page, data)

    async def engines(self) -> list[answers.Engine]:
        """Return every engine ever seen."""
        data = await self._call("GET", "/api/v1/engines")
        return answers.as_record(answers.Engines, data).engines

    async def engine(self, engine: str) -> answers.Engine:
        """Return an engine and its instances."""
        data = await self._call("GET", f"/api/v1/engines/{quote(engine)}")
        return answers.as_record(answers.Engine, data)

    async def results(self, session: str, channel: str, *, after: int = 0) -> AsyncIterator[Any]:
        """Yield the results of a channel so far, page by page."""
        route = f"/api/v1/sessions/{quote(session)}/results/{quote(channel)}"
        place: int | None = after
        while place is not None:
            data = await self._call("GET", route, params={"after": place, "limit": 200})
            page = answers.as_record(answers.Results, data)
            for result in page.results:
                yield result
            place = page.next

    async def download(self, url: str, target: Path) -> int:
        """Save what a result's URL names; its size."""
        import httpx

        size = 0
        try:
            async with self._client.stream("GET", url, timeout=self._timeout) as response:
                await _checked(response)
                with target.open("wb") as out:
                    async for piece in response.aiter_bytes(PIECE):
                        size += await asyncio.to_thread(out.write, piece)
        except httpx.TransportError as exc:
            raise self._away(exc) from exc
        return size

    async def events(
        self, session: str, *, last_event_id: str = ""
    ) -> AsyncIterator[answers.Event]:
        """Yield a session's events from the beginning until its end.

        A stream that breaks is taken up again behind the last event.
        """
        import httpx

        seen, waits, left = last_event_id, delays(0.1, 2.0), RECONNECTS
        while True:
            try:
                async for event in self._event_stream(session, seen):
                    seen, waits, left = event.id or seen, delays(0.1, 2.0), RECONNECTS
                    yield event
            except httpx.TransportError as exc:
                if (left := left - 1) <= 0:
                    raise self._away(exc) from exc
            else:
                if (await self.outcome(session)).status in TERMINAL:
                    return
            await asyncio.sleep(next(waits))

    async def _event_stream(self, session: str, seen: str) -> AsyncIterator[answers.Event]:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": seen} if seen else {})
        route = f"/api/v1/sessions/{quote(session)}/events"
        async with self._client.stream("GET", route, headers=headers, timeout=60.0) as response:
            await _checked(response)
            parser = EventParser()
            async for line in response.aiter_lines():
                if event := parser.feed(line):
                    yield event

    @property
    def _client(self) -> "httpx.AsyncClient":
        if self._opened is None:
            raise RuntimeError("open the client first: async with Client(url) as client")
        return self._opened

    def _away(self, exc: Exception) -> PlatformAwayError:
        return PlatformAwayError(
            f"no platform answers at {self.url} ({_reason(exc)}); start one with `blueengine up`, or name "
            "another with --url or BLUEENGINE_URL"
        )

    async def _call(self, method: str, route: str, **request: Any) -> object:
        import httpx

        try:
            response = await self._client.request(method, route, **request)
        except httpx.TransportError as exc:
            raise self._away(exc) from exc
        await _checked(response)
        envelope = _decoded(response.content)
        return envelope.get("data") or {}


class EventParser:
    """Server-sent events out of lines."""

    def __init__(self) -> None:
        """Begin before the first line."""
        self._id = ""
        self._name = ""
        self._data: list[str] = []

    def feed(self, line: str) -> answers.Event | None:
        """Take a line; the event that an empty line completes."""
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                self._data.append(value)
            elif name == "id":
                self._id = value
            elif name == "event":
                self._name = value
            return None
        data, name, self._data, self._name = self._data, self._name, [], ""
        if not data:
            return None
        return answers.Event(id=self._id, name=name, data=_decoded("\n".join(data).encode()))


def _decoded(raw: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {"value": found}


async def _checked(response: "httpx.Response") -> None:
    """Raise what the platform said when it said no."""
    if response.status_code < 400:
        return
    body = _decoded(await response.aread())
    faults = (body.get("data") or {}).get("errors") or []
    raise ApiError(
        response.status_code,
        str(body.get("message") or f"HTTP {response.status_code} from {response.url.path}"),
        faults,
    )


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as source:
        while piece := await asyncio.to_thread(source.read, PIECE):
            yield piece


def _reason(exc: Exception) -> str:
    return str(exc) or type(exc).__name__


def _is_loopback(url: str) -> bool:
    host = url.partition("://")[2].partition("/")[0]
    return host.startswith(("127.", "localhost", "[::1]"))
