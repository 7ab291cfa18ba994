"""A client on the WebSocket of a session: it pushes, reads, and comes back when it was cut off."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from blueengine.wire.lifecycle import TERMINAL

OPEN_SECONDS: Final = 10.0
SILENT_SECONDS: Final = 15.0
"""After which it connects anew: perhaps nobody is there."""
AHEAD: Final = 32
"""Frames that are sent before the first of them is answered."""
OVER: Final = {"session-ended", "channel-unread"}
CONFLICT: Final = 409
BUSY: Final = {429, 503}


class BrokenOffError(Exception):
    """A connection ended before the session did. ``status`` 0: without a word."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Shown:
    """What the client has said and seen so far, over all its connections."""

    def __init__(self, pushes: Sequence[Any]) -> None:
        self.pushes = pushes
        self.pushed = 0
        """Messages that were taken, all from the first."""
        self.again = 0
        self.ended = False
        """The channel is, or the session takes no more."""
        self.over = False
        """The session has ended, and everything was shown."""
        self.after = ""
        """The last event that was seen."""
        self.results: list[Any] = []
        self.findings: list[str] = []

    def next(self, ahead: int) -> dict[str, Any] | None:
        """Return the frame that comes when ``ahead`` wait for an answer; None when all were sent."""
        number = self.pushed + ahead
        if self.ended or number > len(self.pushes):
            return None
        if number == len(self.pushes):
            return {"type": "end", "channel": "In"}
        payload = self.pushes[number]
        return {"type": "push", "channel": "In", "payload": payload, "sequence": number}

    def take(self, frame: dict[str, Any]) -> None:
        """Note a frame.

        Raises:
            BrokenOffError: It is better to begin anew.
        """
        match frame["type"]:
            case "ack" if frame["ended"]:
                self.ended = True
            case "ack":
                if frame["sequence"] != self.pushed:
                    self.findings.append(f"message {self.pushed} is {frame}")
                self.pushed += 1
                self.again += frame["repeated"]
            case "error":
                self._refused(frame)
            case "result":
                self._result(frame["index"], frame["value"])
            case "event":
                self.after = frame["id"]
                self.over = frame["event"] == "status" and frame["data"].get("status") in TERMINAL
            case other:
                self.findings.append(f"a frame of type {other!r}")

    def _refused(self, frame: dict[str, Any]) -> None:
        kind = frame["errors"][0]["type"]
        if frame["status"] == CONFLICT and kind in OVER:
            self.ended = True
        elif frame["status"] in BUSY:
            raise BrokenOffError(frame["status"], kind)
        elif not self.ended:
            self.findings.append(f"message {self.pushed}: {frame}")
            raise BrokenOffError(frame["status"], kind)

    def _result(self, index: int, value: Any) -> None:
        """Note a result; one that came before the event that tells of it may come again."""
        if index == len(self.results):
            self.results.append(value)
        elif index > len(self.results) or self.results[index] != value:
            self.findings.append(
                f"result {index} is {value!r}, and {len(self.results)} were before it"
            )

    def complaint(self, stored: Sequence[Any], *, whole: bool) -> str:
        """Return what is wrong with what was shown of these results, or nothing."""
        wanted = stored if whole else stored[: len(self.results)]
        if self.results != list(wanted):
            return f"{len(self.results)} results were shown of {len(stored)}, or others"
        return ""


async def converse(url: str, shown: Shown, authorization: str) -> None:
    """Go on with a session over one connection, until it has ended.

    Raises:
        BrokenOffError: The connection has ended before.
    """
    query = f"?after={shown.after}" if shown.after else ""
    try:
        async with connect(
            url + query,
            additional_headers={"Authorization": authorization},
            proxy=None,
            open_timeout=OPEN_SECONDS,
            close_timeout=1,
            max_size=None,
        ) as connection:
            await _go_on(connection, shown)
    except InvalidStatus as exc:
        raise BrokenOffError(exc.response.status_code, str(exc)) from exc
    except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed) as exc:
        raise BrokenOffError(0, repr(exc)) from exc


async def _go_on(connection: ClientConnection, shown: Shown) -> None:
    unanswered = 0
    while not shown.over:
        while unanswered < AHEAD and (frame := shown.next(unanswered)) is not None:
            await connection.send(json.dumps(frame))
            unanswered += 1
        async with asyncio.timeout(SILENT_SECONDS):
            received = json.loads(await connection.recv())
        unanswered -= received["type"] in {"ack", "error"}
        shown.take(received)
