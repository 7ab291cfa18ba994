"""Waiting for news of a session, pushed by Redis and never polled.

A gateway listens to one pub/sub channel of its own. Scripts publish there the id of a session it
watches when the session ends (or at every event, for those it follows). A poke only means "look
again" (one at the end of a session may tell what there is to see), so one too many does no harm; one too few would, and pub/sub promises nothing across a
broken connection. Hence ``on_connect``: once the new subscription is seen to work, everybody who
waits looks again, and has the session watched anew: a gateway that could not be poked was taken
for gone.
"""

import asyncio
import logging
from types import TracebackType
from typing import Final, Self

from blueengine.errors import StoreAwayError, StoreReplyError
from blueengine.kit.backoff import delays
from blueengine.kit.redis_link import Link
from blueengine.wire import names

log = logging.getLogger(__name__)

_MARK: Final = b"?"
"""No session has this id. A gateway pokes itself with it to see that pokes arrive."""


class Bell:
    """Rings when there is news of one session. Use it as a context; callers: one task."""

    __slots__ = ("_future", "_pokes", "_rung", "follows", "outdated", "session", "told")

    def __init__(self, pokes: "Pokes", session: str, *, follows: bool) -> None:
        """Not listening yet; ``with`` begins it."""
        self.session = session
        self.follows = follows
        """Whether it wants to hear of every event."""
        self.outdated = False
        """The connection was lost meanwhile: the session must be watched anew."""
        self.told: bytes | None = None
        """A poke that tells the outcome of the session; see ``told_results``."""
        self._pokes = pokes
        self._rung = False
        self._future: asyncio.Future[bool] | None = None

    def ring(self) -> None:
        """Wake who waits, or who waits next."""
        self._rung = True
        if self._future is not None and not self._future.done():
            self._future.set_result(True)

    async def wait(self, seconds: float) -> bool:
        """Return True at the next ring (at once if it rang since the last wait), else False."""
        if not self._rung and seconds > 0:
            loop = asyncio.get_running_loop()
            self._future = loop.create_future()
            timer = loop.call_later(seconds, _time_up, self._future)
            try:
                await self._future
            finally:
                timer.cancel()
                self._future = None
        rung, self._rung = self._rung, False
        return rung

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._pokes.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Listen no more."""
        self._pokes.discard(self)


class Pokes:
    """Everybody in this process who waits for news. Callers: any task of one loop."""

    def __init__(self, gateway: str) -> None:
        """Wait under the name ``gateway``, new for each process."""
        self.gateway = gateway
        self.closing = False
        self._bells: dict[str, list[Bell]] = {}
        self._link: Link | None = None
        self._marked = asyncio.Event()
        self._synced = asyncio.Event()
        self._syncing: asyncio.Task[None] | None = None

    @property
    def channel(self) -> str:
        """The pub/sub channel to subscribe to."""
        return names.poke(self.gateway)

    def __len__(self) -> int:
        """How many wait."""
        return sum(map(len, self._bells.values()))

    def __bool__(self) -> bool:
        """Refuse to be mistaken for an answer."""
        raise TypeError("ask for len(), or for closing")

    def listen(self, session: str, *, follows: bool = False) -> Bell:
        """Return a bell for a session's end, or for all its news."""
        return Bell(self, session, follows=follows)

    def is_followed(self, session: str) -> bool:
        """Whether somebody here wants to hear of every event of a session."""
        return any(bell.follows for bell in self._bells.get(session, ()))

    def add(self, bell: Bell) -> None:
        """Let a bell ring from now on."""
        self._bells.setdefault(bell.session, []).append(bell)
        if self.closing:
            bell.ring()

    def discard(self, bell: Bell) -> None:
        """Let a bell ring no more."""
        bells = self._bells[bell.session]
        bells.remove(bell)
        if not bells:
            del self._bells[bell.session]

    def ring_all(self) -> None:
        """Have everybody look again."""
        for bells in self._bells.values():
            for bell in bells:
                bell.ring()

    def close(self) -> None:
        """Have everybody end their wait: the process is about to stop."""
        self.closing = True
        self.ring_all()

    # -- the subscription's side ------------------------------------------------------------------

    def on_message(self, message: bytes) -> None:
        """Ring the bells of a session. Caller: the subscription."""
        if message == _MARK:
            self._marked.set()
            return
        head, _, words = message.partition(b"\n")
        for bell in self._bells.get(head.partition(b" ")[0].decode(), ()):
            bell.told = message if words else None
            bell.ring()

    def on_connect(self) -> None:
        """Find out when pokes arrive, then have everybody look again. Caller: the subscription."""
        if self._link is not None:
            self._restart_sync(self._link)

    async def start(self, link: Link) -> None:
        """Return once pokes arrive; from then on ``on_connect`` uses this link."""
        self._link = link
        self._restart_sync(link)
        await self._synced.wait()

    async def stop(self) -> None:
        """End what ``on_connect`` began."""
        if self._syncing is not None:
            self._syncing.cancel()
            await asyncio.wait([self._syncing])

    def _restart_sync(self, link: Link) -> None:
        if self._syncing is not None:
            self._syncing.cancel()
        self._syncing = asyncio.get_running_loop().create_task(self._sync(link), name="pokes-sync")

    async def _sync(self, link: Link) -> None:
        self._marked.clear()
        for delay in delays(0.02, 1.0):
            try:
                async with asyncio.timeout(delay):
                    await link.send("PUBLISH", self.channel, _MARK)
                    await self._marked.wait()
            except TimeoutError:
                continue
            except (StoreAwayError, StoreReplyError) as exc:
                log.debug("pokes are not seen to arrive yet: %s", exc)
                await asyncio.sleep(delay)
                continue
            break
        self._synced.set()
        for bells in self._bells.values():
            for bell in bells:
                bell.outdated = True
        self.ring_all()


def _time_up(future: "asyncio.Future[bool]") -> None:
    if not future.done():
        future.set_result(False)
