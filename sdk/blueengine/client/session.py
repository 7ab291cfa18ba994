"""One session, seen by a client."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import quote

import msgspec
import orjson

from blueengine.client import answers, transfer
from blueengine.client.errors import BusyError, ConflictError
from blueengine.client.http import Http, Patience
from blueengine.client.sse import EventParser
from blueengine.client.values import guess, messages
from blueengine.ids import nanoid
from blueengine.wire.lifecycle import TERMINAL

HELD_SECONDS: Final = 30.0
"""How long one request of ``wait`` is held by the platform."""
AT_LEAST_SECONDS: Final = 0.5
"""Between two such requests."""
SILENT_SECONDS: Final = 60.0
"""An event stream this long without a byte is broken; the platform sends one every 15 s."""
AT_ONCE: Final = 200


class AsyncSession:
    """A session; made by ``submit``, or by ``client.session`` of its id."""

    def __init__(
        self, http: Http, session_id: str, submitted: answers.Outcome | None = None
    ) -> None:
        """Stand for the session of this id."""
        self.id = session_id
        self.submitted = submitted
        """What the platform answered to the submit; None for one that was found by its id."""
        self._http = http
        self._route = f"/api/v1/sessions/{quote(session_id, safe='')}"

    def __repr__(self) -> str:
        """Name it."""
        return f"{type(self).__name__}({self.id!r})"

    async def outcome(self) -> answers.Outcome:
        """Return its status and results as they are now.

        Raises:
            NotFoundError: There is no such session (any more).
        """
        return await self._complete(await self._look(0))

    async def wait(self, *, timeout: float | None = None) -> answers.Outcome:
        """Wait for its end, whichever it is, and return its status and results.

        The platform answers the moment it ends; a request that was held for long is made anew.

        Raises:
            TimeoutError: It did not end within ``timeout`` seconds; it runs on.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout):
            found = self.submitted
            while found is None or not found.ended:
                asked_at = loop.time()
                found = await self._look(HELD_SECONDS)
                if not found.ended and loop.time() - asked_at < AT_LEAST_SECONDS:
                    await asyncio.sleep(AT_LEAST_SECONDS)  # this platform does not hold requests
            return await self._complete(found)

    async def detail(self) -> answers.Detail:
        """Return everything known of it; while it is pending, why it waits."""
        return answers.as_record(answers.Detail, await self._http.call("GET", self._route))

    async def webhooks(self) -> list[answers.SessionWebhook]:
        """Return its webhooks: how each fares, and its last deliveries."""
        return (await self.detail()).webhooks

    async def stop(self) -> str:
        """End it and return its status now: ``canceled``, or ``stopping`` while its engines end.

        Raises:
            ConflictError: It has ended otherwise.
        """
        try:
            data = await self._http.call("POST", f"{self._route}/stop")
        except ConflictError as exc:
            if exc.repeated and (await self._look(0)).status == "canceled":
                return "canceled"  # by the try whose answer was lost
            raise
        return str((data.get("process") or {}).get("status", "stopping"))

    async def push(self, channel: str, value: Any, *, wait: float = 10.0) -> int:
        """Give a session that was submitted with ``interactive=True`` one more message.

        A broken connection is tried again, and the message is there once.

        Args:
            channel: A channel that no engine writes.
            value: As for ``submit``: a JSON value or text; a path, bytes, an image or an array.
            wait: Seconds that the platform may wait for the engines to have room; after that it
                is tried again while the client's patience lasts.

        Returns:
            Its number among those pushed to the channel, from 0 on.

        Raises:
            ConflictError: The session or the channel has ended, or takes no more input.
            BusyError: The engines had no room for it.
        """
        (message,) = messages(guess(value), value)
        data = await self._http.call(
            "POST",
            f"{self._route}/channels/{quote(channel, safe='')}",
            params={"waitTimeSecond": wait},
            body=orjson.dumps(await transfer.settled(self._http, message)),
            headers={
                "Content-Type": "application/json",
                "Idempotency-Key": nanoid(os.urandom),
            },
            timeout=self._http.timeout + wait,
        )
        return int(data.get("sequence", 0))

    async def end(self, channel: str) -> None:
        """Say that nothing more will be pushed to a channel; engines then finish what they have."""
        await self._http.call("POST", f"{self._route}/channels/{quote(channel, safe='')}/end")

    async def results(
        self, channel: str, *, after: int = 0, follow: bool = True
    ) -> AsyncGenerator[Any, None]:
        """Yield what is stored of a channel, in order: values, and ``Blob`` for what is binary.

        When an engine dies and the session is queued again, the results of the new attempt are
        yielded from the first one on.

        Args:
            channel: A channel that is stored.
            after: Results to skip.
            follow: Go on until the session has ended; else only what is there now.

        Raises:
            SessionFailedError: It failed; all that was stored has been yielded.
            SessionCanceledError: The same of one that was stopped.
            NotFoundError: No such session, or the channel is not stored.
        """
        place = after
        attempt = (await self.detail()).attempt if follow else 0
        async with aclosing(self._pages(channel, place)) as pages:
            async for index, result in pages:
                place = index
                yield result
        if not follow:
            return
        async with aclosing(self.events()) as events:
            async for event in events:
                if event.name != "results" or event.data.get("channel") != channel:
                    continue
                if event.data.get("attempt", 0) > attempt:
                    place, attempt = 0, event.data["attempt"]
                if event.data.get("attempt", 0) < attempt or event.data.get("count", 0) <= place:
                    continue
                async with aclosing(self._pages(channel, place)) as pages:
                    async for index, result in pages:
                        place = index
                        yield result
        (await self._look(0)).raise_for_status()

    async def logs(
        self, *, engine: str = "", after: str = "", follow: bool = False
    ) -> AsyncGenerator[answers.Line, None]:
        """Yield what engines logged about it (``context.logger``): the last thousand lines or so.

        Args:
            engine: Only of this engine, by its name in the session.
            after: Only lines behind the one with this id.
            follow: Go on until the session has ended.
        """
        while True:
            data = await self._http.call(
                "GET",
                f"{self._route}/logs",
                params={
                    "engine": engine or None,
                    "after": after or None,
                    "limit": AT_ONCE,
                    "waitTimeSecond": HELD_SECONDS if follow else None,
                },
                timeout=self._http.timeout + HELD_SECONDS,
            )
            page = answers.as_record(answers.Lines, data)
            for line in page.lines:
                yield line
            if page.ended or not (follow or page.lines):
                return
            after = page.after

    async def events(self, *, last_event_id: str = "") -> AsyncGenerator[answers.Event, None]:
        """Yield what happened to it and what happens, until its end.

        A stream that breaks is taken up again behind the last event: there is no gap, and no event
        comes twice.

        Args:
            last_event_id: Begin behind this one instead of at the beginning.
        """
        import httpx

        seen, patience = last_event_id, Patience(self._http.patience)
        while True:
            try:
                async with aclosing(self._stream(seen, patience)) as events:
                    async for event in events:
                        seen = event.id or seen
                        yield event
                        if event.name == "status" and event.data.get("status") in TERMINAL:
                            return
            except httpx.TransportError as exc:
                if self._http.is_hopeless(exc):
                    raise self._http.away(exc) from exc
                await patience.pause(self._http.away(exc))
            except BusyError as exc:
                await patience.pause(exc)
            else:  # the gateway stops, or nothing follows the last id
                if (await self._look(0)).ended:
                    return
                await patience.pause(self._http.away(ConnectionError("the stream ended")))

    async def _stream(self, seen: str, patience: Patience) -> AsyncGenerator[answers.Event, None]:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": seen} if seen else {})
        async with self._http.stream(
            f"{self._route}/events", headers=headers, timeout=SILENT_SECONDS
        ) as response:
            parser = EventParser()
            async for piece in response.aiter_bytes():
                patience.renew()
                for event in parser.feed(piece):
                    yield event

    async def _look(self, wait: float) -> answers.Outcome:
        kind = (
            "single-engine" if self.id.startswith("session-process-single-engine-") else "workflow"
        )
        data = await self._http.call(
            "GET",
            f"/api/v1/process-{kind}/{quote(self.id, safe='')}",
            params={"waitTimeSecond": wait or None},
            timeout=self._http.timeout + wait,
        )
        return outcome_of(data)

    async def _complete(self, found: answers.Outcome) -> answers.Outcome:
        """Return an outcome with the results that one answer had no room for."""
        results = dict(found.results)
        for channel in found.more or {}:
            pages = self._pages(channel, len(results[channel]))
            results[channel] = results[channel] + [result async for _, result in pages]
        return msgspec.structs.replace(found, results=results, more=None) if found.more else found

    async def _pages(self, channel: str, after: int) -> AsyncGenerator[tuple[int, Any], None]:
        """Yield (index behind it, result) of what is stored now."""
        route = f"{self._route}/results/{quote(channel, safe='')}"
        place: int | None = after
        while place is not None:
            data = await self._http.call("GET", route, params={"after": place, "limit": AT_ONCE})
            page = answers.as_record(answers.Results, data)
            for index, result in enumerate(answers.with_blobs(self.id, page.results), place + 1):
                yield index, result
            place = page.next


def outcome_of(data: object) -> answers.Outcome:
    """Return an answer as an outcome, its binary results as ``Blob``."""
    found = answers.as_record(answers.Outcome, data)
    results = {
        channel: answers.with_blobs(found.session_id, items)
        for channel, items in found.results.items()
    }
    return msgspec.structs.replace(found, results=results)
