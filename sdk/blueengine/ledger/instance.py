"""What an engine instance tells the ledger: one method per script, nothing else.

Every method may run twice (the link repeats what had no reply); the scripts make that harmless.
Each returns a future, so that reports of many sessions share one round trip.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from blueengine.kit.redis_link import Arg, Link, Reply
from blueengine.wire import names
from blueengine.wire.report import Fault, Outcome, Tally
from blueengine.wire.spec import EngineSpec

SCRIPTS: Final = (
    "ail", "attend", "beat", "drain", "leave", "ready", "refuse", "output", "notice", "log",
    "close", "attach", "taken",
)  # fmt: skip

_json = msgspec.json.Encoder()

Part = tuple[str, int, str]
"""(session, attempt, node)."""


Results = tuple[str, int, Sequence[bytes]]
"""(channel, sequence number of the first message, encoded ``Stored`` items)."""


class InstanceLedger:
    """The reports of one instance."""

    def __init__(self, link: Link, instance: str, *, heartbeat_timeout: float) -> None:
        """Speak for ``instance`` over ``link``, which must know ``SCRIPTS``."""
        self._link = link
        self._instance = instance
        self._timeout_us = int(heartbeat_timeout * 1e6)
        self._beats = self._answered = 0
        self.slots = 0
        """How many the instance had at the last beat."""

    def attend(self, spec: EngineSpec, record: dict[str, str]) -> "asyncio.Future[Reply]":
        """Advertise the instance with these further facts (host, pid, …)."""
        pairs = [word for pair in record.items() for word in pair]
        return self._link.run(
            "attend",
            self._instance,
            spec.id,
            spec.concurrency,
            _json.encode(spec),
            self._timeout_us,
            *pairs,
        )

    async def beat(self) -> bytes:
        """Say that the instance lives: ``b"ok"``, or ``b"gone"`` when it was given up.

        ``b"forgot"``: Redis has lost what it had acknowledged, this instance's last beat with it.
        """
        self._beats += 1
        number = self._beats
        answer: bytes
        answer, self.slots = await self._link.run(
            "beat", self._instance, self._timeout_us, number, self._answered
        )
        self._answered = number
        return answer

    def drain(self) -> "asyncio.Future[Reply]":
        """Take no new session; answers how many are held."""
        return self._link.run("drain", self._instance, "always")

    def ail(self, reason: str) -> "asyncio.Future[Reply]":
        """Take no new session for this reason; an empty one: all is well again."""
        return self._link.run("ail", self._instance, reason)

    def leave(self, reason: str) -> "asyncio.Future[Reply]":
        """Withdraw the attendance and everything kept for the instance."""
        return self._link.run("leave", self._instance, reason)

    async def holds(self, part: Part) -> bool:
        """Whether the instance has the slot of this part."""
        session, attempt, node = part
        member = f"{session} {attempt} {node}"
        return bool(await self._link.send("SISMEMBER", names.held(self._instance), member))

    async def held(self) -> set[Part]:
        """Return the parts whose slots the instance has."""
        found = set()
        for member in await self._link.send("SMEMBERS", names.held(self._instance)):
            session, attempt, node = member.decode().split(" ")
            found.add((session, int(attempt), node))
        return found

    def ready(self, part: Part) -> "asyncio.Future[Reply]":
        """Accept a session; answers ``b"go"``, ``b"wait"`` or ``b"stale"``."""
        return self._link.run("ready", *part, self._instance)

    def refuse(self, part: Part, fault: Fault, *, limit: int) -> "asyncio.Future[Reply]":
        """Refuse a session; after ``limit`` refusals it fails."""
        return self._link.run("refuse", *part, self._instance, _json.encode(fault), limit)

    def output(
        self, part: Part, channel: str, first: int, items: Iterable[bytes]
    ) -> "asyncio.Future[Reply]":
        """Store messages of a channel; ``first`` is the sequence number of the first item."""
        return self._link.run("output", *part, channel, first, *items)

    def notice(self, part: Part, number: int, kind: str, body: bytes) -> "asyncio.Future[Reply]":
        """Put a status message (a JSON object) into the session's history.

        ``number`` counts those of the part from 0, so that none is told twice.
        """
        return self._link.run("notice", *part, kind, body, number)

    def log(self, part: Part, number: int, words: Sequence[Arg]) -> "asyncio.Future[Reply]":
        """Put lines (time in microseconds, level, text of each) into the session's log.

        ``number`` counts those the part wrote before, so that none is there twice.
        """
        return self._link.run("log", *part, number, *words)

    def attach(self, part: Part, channels: Iterable[str]) -> "asyncio.Future[Reply]":
        """Take what the client of an interactive session pushed to these channels so far.

        Answers ``b"stale"`` or ``[[channel, number of the first, 1 when it has ended, [encoded
        Feed, …]], …]``; what is pushed from then on comes as a command each.
        """
        return self._link.run("attach", *part, ",".join(channels))

    def taken(
        self, part: Part, channel: str, readers: Iterable[str], count: int
    ) -> "asyncio.Future[Reply]":
        """Say how many pushed messages this part has consumed; answers blobs nobody needs now."""
        return self._link.run("taken", *part, channel, ",".join(readers), count)

    def close(
        self,
        part: Part,
        outcome: Outcome,
        fault: Fault | None,
        tally: Tally,
        *,
        again: bool = False,
        results: Iterable[Results] = (),
    ) -> "asyncio.Future[Reply]":
        """End this part and give its slot back.

        Args:
            part: Which one.
            outcome: How it ended.
            fault: Why it failed.
            tally: What it did.
            again: Another attempt may help.
            results: Its last messages of stored channels, kept in the same step.
        """
        why: Arg = _json.encode(fault) if fault else b""
        last: list[Arg] = []
        for channel, first, items in results:
            last += [channel, first, len(items), *items]
        return self._link.run(
            "close",
            *part,
            self._instance,
            outcome.value,
            why,
            _json.encode(tally),
            "1" if again else "",
            *last,
        )
