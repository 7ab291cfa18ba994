"""The outbox in Redis, as the services use it: one method per atomic step or read.

Events get into it by the scripts that change sessions; here they are taken out, looked at and
delivered again. Promises are as in ``apps.sessions.store``: any method may be repeated.
"""

import base64
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from apps.sessions.vault import PLAIN, SealedError, Vault
from blueengine.kit.redis_link import Arg, Link
from blueengine.wire import codec, names
from blueengine.wire.webhook import Event, Webhook

log = logging.getLogger(__name__)

SCRIPTS: Final = ("hook_claim", "hook_settle", "hook_redeliver", "hook_secrets", "hook_reseal")
"""The scripts a link must know to be used by an outbox."""

DAY: Final = 86_400
KEPT_DELIVERED: Final = DAY
"""Seconds the record of a delivered event is kept."""
KEPT_OTHERS: Final = 7 * DAY
KEPT_AT_MOST: Final = 10_000
"""Records of each state and tenant that can be listed; older ones only by their id."""
OLD_SECRET_SECONDS: Final = float(DAY)
"""How long a secret still signs after it was replaced."""
STATES: Final = ("retrying", "delivered", "dead")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """An event that this process may deliver until its lease is over."""

    queue: str
    number: int
    """Who claims the event later has another one."""
    tries: int
    age: float
    """Seconds since it happened, or since it was asked for again."""
    webhook: Webhook
    event: Event
    body: bytes
    """As it was sent before; empty at the first try."""
    gone: bool
    """The receiver wants no more events of this queue."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What became of one event."""

    event: Event
    webhook: Webhook
    state: str
    """``retrying`` | ``delivered`` | ``dead``."""
    tries: int
    next_try: int
    """Microseconds; 0 when there is none."""
    log: Sequence[Mapping[str, Any]]
    """The last tries, oldest first."""


@dataclass(frozen=True, kw_only=True)
class Watching:
    """One webhook of a session and how it fares."""

    webhook: Webhook
    told: int
    """Events so far."""
    waiting: int
    delivered: int
    dead: int
    dropped: int
    """Messages of engines left out because too many waited."""
    deliveries: Sequence[Delivery]
    """The last ones that were tried, newest first."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret that signs. Times are microseconds; ``until`` 0: it is the newest."""

    value: str
    created: int
    until: int


def new_secret() -> str:
    """Return a random secret in the form of Standard Webhooks."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def described(webhooks: Sequence[Webhook], vault: Vault) -> list[Arg]:
    """Return the arguments of the submit script that make these webhooks the session's."""
    if not webhooks:
        return [""]
    known = [
        {"to": hook.receiver, "on": dict.fromkeys(hook.types, True)}
        | ({"with": hook.results} if hook.results else {})
        for hook in webhooks
    ]
    return [msgspec.json.encode(known), *(vault.seal(codec.encode(hook)) for hook in webhooks)]


class Outbox:
    """The services' view of the outbox."""

    def __init__(self, link: Link, vault: Vault = PLAIN) -> None:
        """Work over ``link``, which must know ``SCRIPTS``; ``vault`` keeps what is secret."""
        self._link = link
        self._vault = vault

    # -- delivering -------------------------------------------------------------------------------

    async def claim(
        self, *, at_most: int, lease: float, per_receiver: int, rooms: Mapping[str, int]
    ) -> tuple[list[Claim], float | None]:
        """Take events that are due; also the seconds until more is (None: nothing waits).

        Args:
            at_most: So many.
            lease: Seconds until an event that was not settled is due again.
            per_receiver: At most so many for one receiver.
            rooms: Receivers for which it is less.
        """
        text = ",".join(f"{receiver}={room}" for receiver, room in rooms.items())
        wait, now, *found = await self._link.run(
            "hook_claim", at_most, int(lease * 1e6), per_receiver, text
        )
        claims = []
        for queue, number, tries, since, hook, raw, body, gone in found:
            event = msgspec.json.decode(raw, type=Event)
            try:
                webhook = self._webhook(hook)
            except (
                SealedError
            ) as exc:  # it stays first in its queue, and is due again after the lease
                log.error("event %s waits: %s", event.id, exc)
                continue
            claims.append(
                Claim(
                    queue=queue.decode(),
                    number=number,
                    tries=int(tries),
                    age=(int(now) - int(since or event.at)) / 1e6,
                    webhook=webhook,
                    event=event,
                    body=body,
                    gone=bool(gone),
                )
            )
        return claims, None if float(wait) < 0 else float(wait) / 1e6

    async def settle(
        self,
        claim: Claim,
        outcome: str,
        *,
        wait: float = 0.0,
        tried: Mapping[str, Any] | None = None,
        body: bytes = b"",
        gone: bool = False,
    ) -> bool:
        """Say how a try ended; False when that was said before, or somebody has claimed it since.

        Args:
            claim: The event.
            outcome: ``delivered`` | ``retry`` | ``dead`` | ``back`` (it was not tried).
            wait: Seconds until the next try.
            tried: What is kept of this try.
            body: What was sent, kept unless it was delivered.
            gone: The receiver wants no more events of this queue.
        """
        answer = await self._link.run(
            "hook_settle",
            claim.queue,
            claim.number,
            outcome,
            int(wait * 1e6),
            msgspec.json.encode(tried or {}),
            claim.webhook.receiver,
            claim.webhook.tenant,
            b"" if outcome == "delivered" else body,
            "1" if gone else "",
            KEPT_DELIVERED,
            KEPT_OTHERS,
            KEPT_AT_MOST,
        )
        return bool(answer == b"ok")

    async def redeliver(self, delivery: str, *, tenant: str) -> str:
        """Have a dead event delivered again: ``ok`` | ``unknown`` | ``retrying`` | ``delivered``."""
        answer = await self._link.run("hook_redeliver", delivery, tenant, KEPT_OTHERS)
        return str(answer.decode())

    # -- looking ----------------------------------------------------------------------------------

    async def delivery(self, delivery: str) -> Delivery | None:
        """Return what became of an event, None when it was never tried or is forgotten."""
        found = await self._deliveries([delivery])
        return found[0] if found else None

    async def page(
        self, *, tenant: str, state: str, before: int, limit: int
    ) -> tuple[list[Delivery], int]:
        """Return deliveries newest first, changed before ``before`` (0: all), and the next one's."""
        raw = await self._link.send(
            "ZREVRANGEBYSCORE",
            names.hook_index(tenant, state),
            f"({before}" if before else "+inf",
            "-inf",
            "WITHSCORES",
            "LIMIT",
            0,
            limit,
        )
        ids = [word.decode() for word in raw[::2]]
        cursor = int(float(raw[-1])) if len(ids) == limit else 0
        return await self._deliveries(ids), cursor

    async def counts(self, *, tenant: str) -> dict[str, int]:
        """Return how many deliveries of each state can be listed."""
        asked = [self._link.send("ZCARD", names.hook_index(tenant, state)) for state in STATES]
        return {state: await reply for state, reply in zip(STATES, asked, strict=True)}

    async def totals(self) -> dict[str, int]:
        """Return outcome -> tries so far, by all replicas of all times."""
        flat = await self._link.send("HGETALL", names.HOOK_TOTALS)
        return {
            name.decode(): int(count) for name, count in zip(flat[::2], flat[1::2], strict=True)
        }

    async def watching(self, session: str, count: int, *, last: int = 20) -> list[Watching]:
        """Return the webhooks of a session, which has ``count`` of them."""
        queues = [f"{session}~{number}" for number in range(count)]
        asked = [
            (
                self._link.send("HGETALL", names.hook(queue)),
                self._link.send("LLEN", names.hook_queue(queue)),
            )
            for queue in queues
        ]
        found = []
        for number, (state, length) in enumerate(asked):
            flat, waiting = await state, await length
            fields = dict(zip(flat[::2], flat[1::2], strict=True))
            if b"hook" not in fields:
                continue
            webhook = self._webhook(fields[b"hook"])
            told, dropped = (int(fields.get(name) or 0) for name in (b"told", b"dropped"))
            newest = told - max(0, waiting - 1)  # the first that waits may have been tried
            ids = [
                f"evt_{session[-21:]}_{number}_{at}"
                for at in range(newest, max(0, newest - last), -1)
            ]
            found.append(
                Watching(
                    webhook=webhook,
                    told=told,
                    waiting=waiting,
                    delivered=int(fields.get(b"delivered") or 0),
                    dead=int(fields.get(b"dead") or 0),
                    dropped=dropped,
                    deliveries=await self._deliveries(ids),
                )
            )
        return found

    async def _deliveries(self, ids: Sequence[str]) -> list[Delivery]:
        fields = ("event", "hook", "state", "tries", "next")
        asked = [
            (
                self._link.send("HMGET", names.hook_delivery(one), *fields),
                self._link.send("LRANGE", names.hook_tries(one), 0, -1),
            )
            for one in ids
        ]
        found = []
        for record, tries in asked:
            (event, hook, state, count, next_try), log = await record, await tries
            if event is None:
                continue
            found.append(
                Delivery(
                    event=msgspec.json.decode(event, type=Event),
                    webhook=self._webhook(hook),
                    state=state.decode(),
                    tries=int(count),
                    next_try=int(next_try or 0),
                    log=[msgspec.json.decode(one) for one in log],
                )
            )
        return found

    def _webhook(self, kept: bytes) -> Webhook:
        return codec.decode(Webhook, self._vault.open(kept))

    # -- secrets ----------------------------------------------------------------------------------

    async def signing_secrets(self, tenant: str) -> list[Secret]:
        """Return the secrets that sign now, newest first; the first one is made when there is none."""
        return await self._secrets(tenant, "ensure", 0.0)

    async def rotate_secret(
        self, tenant: str, *, keep_old: float = OLD_SECRET_SECONDS
    ) -> list[Secret]:
        """Add a new secret; the others still sign, too, for ``keep_old`` seconds."""
        return await self._secrets(tenant, "rotate", keep_old)

    async def _secrets(self, tenant: str, how: str, keep_old: float) -> list[Secret]:
        made = self._vault.seal(new_secret().encode())
        flat = await self._link.run("hook_secrets", tenant, made, how, int(keep_old * 1e6))
        await self._reseal(tenant, flat[::3])
        return [
            Secret(self._vault.open(value).decode(), int(created), int(until))
            for value, created, until in zip(flat[::3], flat[1::3], flat[2::3], strict=True)
        ]

    async def _reseal(self, tenant: str, kept: Sequence[bytes]) -> None:
        """Have the first key of the vault seal what it has not: so an old key can go one day."""
        pairs: list[Arg] = []
        for value in kept:
            if self._vault.is_outdated(value):
                pairs += [value, self._vault.seal(self._vault.open(value))]
        if pairs:
            await self._link.run("hook_reseal", tenant, *pairs)
