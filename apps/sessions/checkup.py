"""Whether everything in Redis fits together, on a live system; and mending what does not.

Each finding comes from one atomic look at one session, one instance or a few members of an index,
so what is merely under way is never reported. Everything is gone through in batches of a bounded
size; nothing is held up for long.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final

import msgspec

from blueengine.kit.redis_link import Link, Reply
from blueengine.wire import names
from blueengine.wire.lifecycle import Status

SCRIPTS: Final = ("check_session", "check_instance", "check_members", "check_keys")
"""The scripts a link must know to be used here."""

KEYS_AT_ONCE: Final = 500
MEMBERS_AT_ONCE: Final = 100

_SESSION: Final = names.session("")
_INSTANCE: Final = names.instance("")
_WITH_INSTANCE: Final = tuple(
    make("").removeprefix(_INSTANCE) for make in (names.held, names.commands, names.inbox)
)
_OF_ENGINES: Final = {
    "waiting": "waiting",
    "free": "free",
    "instances": "instances",
    "pending": "pending_list",
    "demand": "demand",
}
"""Indexes of an engine: what the script calls them -> their name."""


class Finding(msgspec.Struct, frozen=True):
    """Something that does not fit together."""

    code: str
    subject: str
    """The session, instance, member or key it is of."""
    message: str


class Checkup:
    """Goes through the ledger."""

    def __init__(self, link: Link, *, fix: bool = False, heartbeat_timeout: float = 4.0) -> None:
        """Look over ``link``, which must know ``SCRIPTS``; with ``fix`` mend what is found."""
        self._link = link
        self._fix = "fix" if fix else ""
        self._timeout_us = int(heartbeat_timeout * 1e6)

    async def run(self) -> AsyncIterator[Finding]:
        """Yield what is found, or mended; slots first, because the others follow from them."""
        for part in (self._instances(), self._sessions(), self._indexes()):
            async for finding in part:
                yield finding

    async def _instances(self) -> AsyncIterator[Finding]:
        async for keys in self._keys(f"{_INSTANCE}*"):
            asked, pairs = [], list[str]()
            for key in keys:
                suffix = next((end for end in _WITH_INSTANCE if key.endswith(end)), "")
                if suffix:
                    pairs += [key.removesuffix(suffix), key]
                else:
                    instance = key.removeprefix(_INSTANCE)
                    asked.append(
                        self._link.run("check_instance", self._fix, instance, self._timeout_us)
                    )
            async for finding in self._all([*asked, *self._check_keys(pairs)]):
                yield finding

    async def _sessions(self) -> AsyncIterator[Finding]:
        async for keys in self._keys(f"{_SESSION}*"):
            asked, pairs = [], list[str]()
            for key in keys:
                session, _, rest = key.removeprefix(_SESSION).partition(":")
                if rest:
                    pairs += [names.session(session), key]
                else:
                    asked.append(self._link.run("check_session", self._fix, session))
            async for finding in self._all([*asked, *self._check_keys(pairs)]):
                yield finding

    async def _indexes(self) -> AsyncIterator[Finding]:
        async for kind, of, key in self._index_keys():
            async for finding in self._members(kind, of, key):
                yield finding
        if elder := await self._link.send("GET", names.TEMPLATES["elder"]):
            async for finding in self._all([self._check_members("elder", "", [elder])]):
                yield finding

    async def _index_keys(self) -> AsyncIterator[tuple[str, str, str]]:
        """Yield every index: its kind, the status or engine it is of, its key."""
        for status in Status:
            yield "status", status, names.status(status)
        yield "sessions", "", names.SESSIONS
        yield "expiry", "", names.EXPIRY
        yield "timers", "", names.TIMERS
        yield "deadlines", "", names.DEADLINES
        for kind, name in _OF_ENGINES.items():
            before, _, behind = names.TEMPLATES[name].partition("{}")
            async for keys in self._keys(f"{before}*{behind}"):
                for key in keys:
                    yield kind, key.removeprefix(before).removesuffix(behind), key
        async for keys in self._keys(names.free_at("*", "*")):
            for key in keys:
                # an engine's id has no colon
                engine, _, place = key.removeprefix(names.engine("")).partition(":free:")
                yield "place", f"{engine} {place}", key

    async def _members(self, kind: str, of: str, key: str) -> AsyncIterator[Finding]:
        is_set = kind in {"demand", "instances"}
        async for members in self._scan("SSCAN" if is_set else "ZSCAN", key):
            alone = members if is_set else members[::2]
            asked = [
                self._check_members(kind, of, alone[at : at + MEMBERS_AT_ONCE])
                for at in range(0, len(alone), MEMBERS_AT_ONCE)
            ]
            async for finding in self._all(asked):
                yield finding

    def _check_members(self, kind: str, of: str, members: Sequence[bytes]) -> "Reply":
        return self._link.run("check_members", self._fix, kind, of, *members)

    def _check_keys(self, pairs: Sequence[str]) -> list["Reply"]:
        return [
            self._link.run("check_keys", self._fix, *pairs[at : at + 2 * MEMBERS_AT_ONCE])
            for at in range(0, len(pairs), 2 * MEMBERS_AT_ONCE)
        ]

    async def _all(self, replies: Iterable["Reply"]) -> AsyncIterator[Finding]:
        for reply in replies:
            for code, subject, message in await reply:
                yield Finding(code.decode(), subject.decode(), message.decode())

    async def _keys(self, pattern: str) -> AsyncIterator[list[str]]:
        async for keys in self._scan("SCAN", "", "MATCH", pattern):
            yield [key.decode() for key in keys]

    async def _scan(self, command: str, key: str, *more: str) -> AsyncIterator[list[bytes]]:
        cursor = b"0"
        while True:
            words = (command, key, cursor) if key else (command, cursor)
            cursor, found = await self._link.send(*words, *more, "COUNT", KEYS_AT_ONCE)
            if found:
                yield found
            if cursor == b"0":
                return
