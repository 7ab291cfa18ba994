"""Live views of channels: what engines publish while somebody here watches.

Lossy on purpose: a watcher that is slow misses messages and is told how many; nobody waits for it.
The connection for it is made when the first one watches. A tap lasts for some seconds and is
renewed while it is watched, so that a gateway that went away costs the engines nothing for long.
"""

import asyncio
import logging
from collections import deque
from types import TracebackType
from typing import Final, Self

import msgspec

from apps.sessions.live import LiveStore, Target
from blueengine.errors import BlueEngineError, DecodeError
from blueengine.kit.redis_address import RedisAddress
from blueengine.kit.redis_link import Link, Subscription
from blueengine.wire import codec, names
from blueengine.wire.envelope import Copy

log = logging.getLogger(__name__)

KEPT: Final = 64
"""Copies that wait for one slow watcher."""
LASTS: Final = 30
"""Seconds."""
RENEW: Final = 10.0
OPEN_WITHIN: Final = 5.0


class Watcher:
    """One client's view of some channels of a session. Use it as a context; callers: one task."""

    def __init__(self, taps: "Taps", target: Target, channels: tuple[str, ...]) -> None:
        """Not watching yet; ``async with`` begins it."""
        self.target = target
        self.channels = channels
        self._taps = taps
        self._copies: deque[Copy] = deque()
        self._came = asyncio.Event()
        self._newest: dict[tuple[str, str], tuple[int, int]] = {}

    async def arm(self) -> None:
        """Have the engines show these channels from now on; nothing while the session waits."""
        await self._taps.arm(self)

    async def next(self) -> Copy:
        """Return the next copy; ``skipped`` says how many before it were not shown."""
        loop = asyncio.get_running_loop()
        renew_at = loop.time() + RENEW
        while not self._copies:
            self._came.clear()
            try:
                async with asyncio.timeout_at(renew_at):
                    await self._came.wait()
            except TimeoutError:
                await self.arm()
                renew_at = loop.time() + RENEW
        return self._copies.popleft()

    def show(self, copy: Copy) -> None:
        """Take a copy, once, in place of the oldest when there are many."""
        at = (copy.attempt, copy.number)
        if at <= self._newest.get((copy.channel, copy.sender), (-1, -1)):
            return
        self._newest[copy.channel, copy.sender] = at
        self._copies.append(copy)
        if len(self._copies) > KEPT:
            skipped = self._copies.popleft().skipped + 1
            oldest = self._copies[0]
            self._copies[0] = msgspec.structs.replace(oldest, skipped=oldest.skipped + skipped)
        self._came.set()

    async def __aenter__(self) -> Self:
        """Begin to watch."""
        await self._taps.add(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Watch no more; the engines stop to show by themselves."""
        self._taps.discard(self)


class Taps:
    """Everybody in this process who watches channels. Callers: any task of one loop."""

    def __init__(self, address: RedisAddress, live: LiveStore, gateway: str) -> None:
        """Watch under the name ``gateway``; nothing is connected yet."""
        self._address = address
        self._live = live
        self._gateway = gateway
        self._watchers: dict[tuple[str, str], list[Watcher]] = {}
        self._link: Link | None = None
        self._opening = asyncio.Lock()
        self._listens = asyncio.Event()

    def watch(self, target: Target, channels: tuple[str, ...]) -> Watcher:
        """Return a view of these channels of a session."""
        return Watcher(self, target, channels)

    async def add(self, watcher: Watcher) -> None:
        """Let a watcher see copies from now on."""
        await self._open()
        for channel in watcher.channels:
            self._watchers.setdefault((watcher.target.session, channel), []).append(watcher)
        try:
            await self.arm(watcher)
        except BaseException:
            self.discard(watcher)
            raise

    def discard(self, watcher: Watcher) -> None:
        """Let a watcher see nothing more."""
        for channel in watcher.channels:
            key = (watcher.target.session, channel)
            watchers = self._watchers[key]
            watchers.remove(watcher)
            if not watchers:
                del self._watchers[key]

    async def arm(self, watcher: Watcher) -> None:
        """Tell the engines; while Redis is away there is nothing to see anyway."""
        try:
            for channel in watcher.channels:
                await self._live.tap(watcher.target, channel, gateway=self._gateway, seconds=LASTS)
        except BlueEngineError as exc:
            log.debug("a tap is not renewed: %s", exc)

    async def close(self) -> None:
        """Disconnect."""
        if self._link is not None:
            await self._link.close()

    async def _open(self) -> None:
        async with self._opening:
            if self._link is None:
                link = Link(
                    self._address,
                    subscription=Subscription(
                        channels=[names.tap(self._gateway)],
                        on_message=self._on_message,
                        on_connect=self._listens.set,
                    ),
                    patience=OPEN_WITHIN,
                )
                await link.open()
                self._link = link
        async with asyncio.timeout(OPEN_WITHIN):
            await self._listens.wait()

    def _on_message(self, raw: bytes) -> None:
        try:
            copy = codec.decode(Copy, raw)
        except DecodeError as exc:
            log.warning("a copy that this version cannot read: %s", exc)
            return
        for watcher in self._watchers.get((copy.session, copy.channel), ()):
            watcher.show(copy)
