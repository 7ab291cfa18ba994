"""Delivers what waits in the outbox: in order for each webhook, and to all receivers side by side.

Any number of replicas do so at the same time. Each claims an event for a while; what a dead one had
claimed is due again when that is over. So an event may arrive twice, never not at all, and never
before one that came before it. Nobody polls: a message wakes every replica when an event waits that
was not expected, and the outbox says when the next one is due.
"""

import asyncio
import logging
from collections import Counter
from typing import Final

from apps.management.webhooks import message
from apps.management.webhooks.retry import Schedule
from apps.management.webhooks.sender import GONE, Sender, Tried
from apps.sessions.outbox import Claim, Outbox
from apps.sessions.store import SessionStore
from blueengine.errors import BlueEngineError
from blueengine.kit import aio
from blueengine.kit.clock import Clock

log = logging.getLogger(__name__)

AT_ONCE: Final = 256
"""Deliveries under way in one replica."""
PER_RECEIVER: Final = 4
"""Of them to one receiver: so many slow answers wait for each other and for nobody else."""
LONGEST_WAIT: Final = 5.0
"""Seconds until the outbox is looked at again when nothing wakes us: another replica may have died."""
CLOSE_SECONDS: Final = 3.0
"""How long deliveries under way may take to end when the process stops."""


class Deliverer:
    """Delivers as one replica. ``step`` is the step of a loop; ``wake`` is called from anywhere."""

    def __init__(
        self,
        outbox: Outbox,
        store: SessionStore,
        sender: Sender,
        *,
        clock: Clock,
        lease: float,
        schedule: Schedule | None = None,
    ) -> None:
        """Deliver from ``outbox``.

        Args:
            outbox: Where events wait.
            store: Where the results are that go with them.
            sender: Makes one try.
            clock: For signatures.
            lease: Seconds a claim lasts; longer than a try can take.
            schedule: When to try again.
        """
        self._outbox = outbox
        self._store = store
        self._sender = sender
        self._clock = clock
        self._lease = lease
        self._schedule = schedule or Schedule()
        self._bell = asyncio.Event()
        self._under_way: dict[asyncio.Task[None], Claim] = {}

    def wake(self) -> None:
        """Have the outbox looked at now."""
        self._bell.set()

    async def step(self) -> None:
        """Begin to deliver what is due and there is room for, then wait for more."""
        due: float | None = None
        if (room := AT_ONCE - len(self._under_way)) > 0:
            busy = Counter(claim.webhook.receiver for claim in self._under_way.values())
            claims, due = await self._outbox.claim(
                at_most=room,
                lease=self._lease,
                per_receiver=PER_RECEIVER,
                rooms={receiver: max(0, PER_RECEIVER - many) for receiver, many in busy.items()},
            )
            for claim in claims:
                self._begin(claim)
        await aio.nap(self._bell, LONGEST_WAIT if due is None else min(due, LONGEST_WAIT))

    async def close(self) -> None:
        """Let what is under way end, for a short while; give the rest back at once."""
        if not self._under_way:
            return
        await asyncio.wait(self._under_way, timeout=CLOSE_SECONDS)
        left = dict(self._under_way)
        for task in left:
            await aio.cancel(task)
        for claim in left.values():
            try:
                await self._outbox.settle(claim, "back")
            except BlueEngineError as exc:
                log.warning(
                    "event %s is taken over when its lease is over: %s", claim.event.id, exc
                )

    def _begin(self, claim: Claim) -> None:
        task = asyncio.get_running_loop().create_task(self._guarded(claim), name=claim.event.id)
        self._under_way[task] = claim
        task.add_done_callback(self._on_done)

    def _on_done(self, task: "asyncio.Task[None]") -> None:
        del self._under_way[task]
        self._bell.set()

    async def _guarded(self, claim: Claim) -> None:
        try:
            await self._deliver(claim)
        except BlueEngineError as exc:  # the lease gives it to whoever is there then
            log.warning("event %s was not settled: %s", claim.event.id, exc)
        except Exception:
            log.exception("event %s was not settled", claim.event.id)

    async def _deliver(self, claim: Claim) -> None:
        body = claim.body or await self._body(claim)
        if claim.gone:
            tried = Tried(
                at=self._clock.unix(),
                seconds=0.0,
                error=f"not sent: the receiver answered an earlier event with {GONE}",
            )
            await self._outbox.settle(claim, "dead", tried=tried.kept(), body=body)
            return
        secrets = await self._outbox.signing_secrets(claim.webhook.tenant)
        headers = message.signed(
            claim.event.id,
            body,
            secrets=[secret.value for secret in secrets],
            unix_time=self._clock.unix(),
        )
        tried = await self._sender.post(claim.webhook, body, headers)
        await self._settle(claim, tried, body)

    async def _body(self, claim: Claim) -> bytes:
        event, channel = claim.event, claim.webhook.results
        results = []
        if channel and event.results:
            limit = min(event.results, message.MOST_RESULTS)
            results = await self._store.results(event.session, channel, after=0, limit=limit)
        return message.body(event, channel, results)

    async def _settle(self, claim: Claim, tried: Tried, body: bytes) -> None:
        wait = None
        if not tried.delivered and tried.code != GONE:
            wait = self._schedule.wait(
                tries=claim.tries, age=claim.age + tried.seconds, asked=tried.asked
            )
        outcome = "delivered" if tried.delivered else "dead" if wait is None else "retry"
        await self._outbox.settle(
            claim,
            outcome,
            wait=wait or 0.0,
            tried=tried.kept(),
            body=body,
            gone=tried.code == GONE,
        )
        facts = {"session": claim.event.session, "receiver": claim.webhook.receiver}
        how = tried.error or f"it answered {tried.code}"
        if outcome == "dead":
            log.warning("gave up event %s: %s", claim.event.id, how, extra=facts)
        elif outcome == "retry":
            log.info(
                "event %s was not taken (try %d): %s; again in %.0f s",
                claim.event.id,
                claim.tries + 1,
                how,
                wait or 0.0,
                extra=facts,
            )
        else:
            log.debug("event %s was taken", claim.event.id, extra=facts)
