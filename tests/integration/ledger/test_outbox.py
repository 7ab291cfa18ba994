"""The outbox: what webhooks are told, in which order, and that none of it is lost or doubled."""

import base64
from collections.abc import Sequence
from typing import Any

import pytest

from apps.sessions.outbox import Claim, Outbox
from apps.sessions.store import SessionStore
from apps.sessions.vault import Vault
from blueengine.kit.redis_link import Link
from blueengine.wire import names
from blueengine.wire.webhook import PART_CHANGED, SESSION_CHANGED, Webhook
from tests.integration.ledger.world import World
from tests.kit.hooks import let_pass

LEASE = 60.0
KEYS = [base64.urlsafe_b64encode(bytes([n]) * 32).decode() for n in range(2)]


def a_hook(*types: str, receiver: str = "hooks.test:80", **changes: Any) -> Webhook:
    return Webhook(url=f"http://{receiver}/in", receiver=receiver, types=types or ("*",), **changes)


@pytest.fixture
def outbox(every_link: Link) -> Outbox:
    return Outbox(every_link)


async def claims(
    outbox: Outbox, *, at_most: int = 100, each: int = 10, **rooms: int
) -> list[Claim]:
    found, _ = await outbox.claim(at_most=at_most, lease=LEASE, per_receiver=each, rooms=rooms)
    return found


async def told(outbox: Outbox) -> list[Claim]:
    """Deliver everything that waits, in turn."""
    out: list[Claim] = []
    while found := await claims(outbox):
        for claim in found:
            out.append(claim)
            assert await outbox.settle(claim, "delivered")
    return out


def words(found: Sequence[Claim]) -> list[tuple[str, str, str]]:
    return [(c.event.type, c.event.node, c.event.status) for c in found]


async def test_a_webhook_is_told_everything_in_the_order_it_happened(
    world: World, outbox: Outbox
) -> None:
    await world.attend("ocr")
    session = await world.submit("ocr", webhooks=[a_hook()])
    (part,) = await world.parts(session)
    await world.ready(part)
    await world.notice(part, "page-found", b'{"type":"page-found","page":2}')
    await world.finish(part)
    assert words(await told(outbox)) == [
        (PART_CHANGED, "n1", "starting"),
        (SESSION_CHANGED, "", "pending"),
        (SESSION_CHANGED, "", "queuing"),
        (PART_CHANGED, "n1", "ready"),
        (PART_CHANGED, "n1", "processing"),
        (SESSION_CHANGED, "", "processing"),
        ("page-found", "n1", "processing"),
        ("finish", "n1", "processing"),
        (PART_CHANGED, "n1", "finished"),
        (SESSION_CHANGED, "", "finished"),
    ]


async def test_only_the_types_asked_for_are_told(world: World, outbox: Outbox) -> None:
    await world.attend("ocr")
    session = await world.submit("ocr", webhooks=[a_hook("finish"), a_hook(SESSION_CHANGED)])
    (part,) = await world.parts(session)
    await world.ready(part)
    await world.notice(part, "progress", b"{}")
    await world.finish(part)
    found = await told(outbox)
    assert [c.event.type for c in found if c.queue.endswith("~0")] == ["finish"]
    assert [c.event.status for c in found if c.queue.endswith("~1")] == [
        "pending",
        "queuing",
        "processing",
        "finished",
    ]


async def test_an_engines_own_word_is_told_once_and_in_its_own_words(
    world: World, outbox: Outbox
) -> None:
    await world.attend("ocr")
    session = await world.submit("ocr", webhooks=[a_hook("finish", "error")])
    (part,) = await world.parts(session)
    await world.ready(part)
    for _ in range(2):  # the report is repeated after a broken connection
        await world.notice(part, "finish", b'{"type":"finish","pages":3}', number=0)
    for _ in range(2):
        await world.finish(part)
    (only,) = await told(outbox)
    assert (only.event.type, only.event.body) == ("finish", '{"type":"finish","pages":3}')


async def test_a_failure_is_told_as_an_error_with_its_reason(world: World, outbox: Outbox) -> None:
    await world.attend("ocr")
    session = await world.submit("ocr", webhooks=[a_hook("error", SESSION_CHANGED)])
    (part,) = await world.parts(session)
    await world.ready(part)
    await world.fail(part, "no text")
    *_, error, failed = await told(outbox)
    assert error.event.fault is not None
    assert (error.event.type, error.event.fault.message) == ("error", "no text")
    assert failed.event.fault is not None
    assert (failed.event.status, failed.event.fault.message) == ("failed", "no text")


async def test_an_engine_cannot_speak_as_the_platform(world: World, outbox: Outbox) -> None:
    await world.attend("ocr")
    session = await world.submit("ocr", webhooks=[a_hook()])
    (part,) = await world.parts(session)
    await world.ready(part)
    await told(outbox)
    await world.notice(part, SESSION_CHANGED, b'{"status":"finished"}')
    assert await told(outbox) == []


async def test_a_word_of_an_earlier_attempt_does_not_count_for_the_next(
    world: World, outbox: Outbox
) -> None:
    first = await world.attend("ocr")
    session = await world.submit("ocr", webhooks=[a_hook("finish")], max_attempts=2)
    (part,) = await world.parts(session)
    await world.ready(part)
    await world.notice(part, "finish", number=0)
    await world.attend("ocr")
    await world.die(first)
    (part,) = await world.parts(session)
    assert part.attempt == 2
    await world.ready(part)
    await world.notice(part, "finish", b'{"second":true}', number=0)
    await world.finish(part)
    assert [(c.event.attempt, c.event.body) for c in await told(outbox)] == [
        (1, "{}"),
        (2, '{"second":true}'),
    ]


async def test_only_the_first_event_of_a_webhook_is_under_way(world: World, outbox: Outbox) -> None:
    await world.attend("ocr")
    await world.submit("ocr", webhooks=[a_hook()])
    (first,) = await claims(outbox)
    assert await claims(outbox) == []
    assert await outbox.settle(first, "retry", wait=5.0)
    assert await claims(outbox) == []
    await let_pass(outbox, 5.0)
    (again,) = await claims(outbox)
    assert (again.event.id, again.tries) == (first.event.id, 1)


async def test_what_a_dead_replica_took_is_taken_over_and_its_late_word_ignored(
    world: World, outbox: Outbox
) -> None:
    await world.attend("ocr")
    await world.submit("ocr", webhooks=[a_hook()])
    (first,) = await claims(outbox)
    await let_pass(outbox, LEASE)
    (second,) = await claims(outbox)
    assert second.event.id == first.event.id
    assert not await outbox.settle(first, "delivered")
    assert await outbox.settle(second, "delivered")
    (third,) = await claims(outbox)
    assert third.event.id != second.event.id
    assert not await outbox.settle(second, "delivered")


@pytest.mark.parametrize("outcome", ["delivered", "dead", "retry", "back"])
async def test_an_end_that_is_said_again_settles_no_other_event(
    world: World, outbox: Outbox, outcome: str
) -> None:
    """The link repeats what had no reply: that it was done before shows in the answer alone."""
    await world.attend("ocr")
    session = await world.submit("ocr", webhooks=[a_hook(SESSION_CHANGED)])
    (claim,) = await claims(outbox)
    assert await outbox.settle(claim, outcome)
    assert not await outbox.settle(claim, outcome)
    (watching,) = await outbox.watching(session, 1)
    gone = outcome in {"delivered", "dead"}
    assert (watching.waiting, watching.delivered + watching.dead) == (2 - gone, gone)
    assert sum(delivery.tries for delivery in watching.deliveries) == (outcome != "back")
    (following,) = await claims(outbox)
    assert following.event.status == ("queuing" if gone else "pending")


async def test_a_receiver_gets_no_more_at_once_than_it_has_room_for(
    world: World, outbox: Outbox
) -> None:
    for _ in range(5):
        await world.submit("ocr", webhooks=[a_hook("*", receiver="slow:80")])
        await world.submit("ocr", webhooks=[a_hook("*", receiver="fast:80")])
    found, wait = await outbox.claim(at_most=100, lease=LEASE, per_receiver=4, rooms={"slow:80": 1})
    receivers = [claim.webhook.receiver for claim in found]
    assert (receivers.count("slow:80"), receivers.count("fast:80")) == (1, 4)
    # nothing that could be taken now is left: what there is no room for is not waited for
    assert wait is None


async def test_the_wait_is_until_the_next_try_is_due(world: World, outbox: Outbox) -> None:
    assert (await outbox.claim(at_most=1, lease=LEASE, per_receiver=1, rooms={}))[1] is None
    await world.submit("ocr", webhooks=[a_hook()])
    (claim,) = await claims(outbox)
    await outbox.settle(claim, "retry", wait=5.0)
    found, wait = await outbox.claim(at_most=1, lease=LEASE, per_receiver=1, rooms={})
    assert not found
    assert wait is not None
    assert 3.0 < wait <= 5.0


async def test_a_session_without_webhooks_leaves_nothing_in_the_outbox(world: World) -> None:
    await world.attend("ocr")
    session = await world.submit("ocr")
    (part,) = await world.parts(session)
    await world.ready(part)
    await world.finish(part)
    assert await world.link.send("KEYS", "be:hook:*") == []


async def test_results_are_counted_at_the_moment_of_the_event(world: World, outbox: Outbox) -> None:
    await world.attend("ocr")
    session = await world.submit("ocr", webhooks=[a_hook("finish", "page", results="Out")])
    (part,) = await world.parts(session)
    await world.ready(part)
    await world.output(part, 0, b"1", b"2")
    await world.notice(part, "page")
    await world.output(part, 2, b"3")
    await world.finish(part)
    assert [c.event.results for c in await told(outbox)] == [2, 3]


async def test_a_large_message_is_told_without_its_body(world: World, outbox: Outbox) -> None:
    await world.attend("ocr")
    session = await world.submit("ocr", webhooks=[a_hook("page")])
    (part,) = await world.parts(session)
    await world.ready(part)
    await world.notice(part, "page", b'"%s"' % (b"x" * 70_000))
    (claim,) = await told(outbox)
    assert (claim.event.body, claim.event.large) == ("null", 70_002)


async def test_a_session_is_kept_until_its_webhooks_are_told(world: World, outbox: Outbox) -> None:
    await world.attend("ocr")
    session = await world.submit("ocr", webhooks=[a_hook()], ttl=1.0)
    (part,) = await world.parts(session)
    await world.ready(part)
    await world.finish(part)
    record = await world.store.read(session)
    assert record is not None
    in_an_hour = record.ended + 3_600_000_000
    assert await world.store.expired(now_us=in_an_hour) == []
    await told(outbox)
    assert await world.store.expired(now_us=record.ended + 1_000_000) == [session]
    assert await world.store.forget(session)
    assert await world.link.send("KEYS", "be:hook:[sq]:*") == []


async def test_forgetting_a_session_clears_what_still_waits(world: World, outbox: Outbox) -> None:
    session = await world.submit("ocr", webhooks=[a_hook()])
    await world.store.stop(session, "a test")
    (claim,) = await claims(outbox)
    assert await world.store.forget(session)
    assert await world.link.send("KEYS", "be:hook:*") == []
    assert not await outbox.settle(claim, "delivered")
    assert await claims(outbox) == []


async def test_a_dead_event_makes_way_and_can_be_delivered_again(
    world: World, outbox: Outbox
) -> None:
    session = await world.submit("ocr", webhooks=[a_hook()])
    (first,) = await claims(outbox)
    await outbox.settle(first, "dead", tried={"code": 500}, body=b"the body")
    assert (await claims(outbox))[0].event.id != first.event.id
    (dead,), _ = await outbox.page(tenant="default", state="dead", before=0, limit=10)
    assert (dead.event.id, dead.state, dead.log) == (first.event.id, "dead", [{"code": 500}])
    # it outlives its session
    await world.store.stop(session, "a test")
    await world.store.forget(session)
    assert await outbox.redeliver(first.event.id, tenant="other") == "unknown"
    assert await outbox.redeliver(first.event.id, tenant="default") == "ok"
    assert await outbox.redeliver(first.event.id, tenant="default") == "retrying"
    (again,) = await claims(outbox)
    assert (again.event.id, again.body, again.tries) == (first.event.id, b"the body", 0)
    assert again.age < first.age + 1  # it has a day again
    await outbox.settle(again, "delivered")
    assert await outbox.redeliver(first.event.id, tenant="default") == "delivered"
    assert (await outbox.counts(tenant="default"))["dead"] == 0
    assert await claims(outbox) == []


async def test_dead_events_of_a_webhook_are_delivered_again_in_order_and_counted(
    world: World, outbox: Outbox
) -> None:
    session = await world.submit("ocr", webhooks=[a_hook()])
    await world.store.stop(session, "a test")
    ids = []
    while found := await claims(outbox):
        ids.append(found[0].event.id)
        await outbox.settle(found[0], "dead", tried={"code": 500}, body=ids[-1].encode())
    for event in ids:
        assert await outbox.redeliver(event, tenant="default") == "ok"
    assert [w.dead for w in await outbox.watching(session, 1)] == [0]
    (first,) = await claims(outbox)
    await outbox.settle(first, "dead", tried={"code": 500}, body=first.body)
    rest = await told(outbox)
    assert [(c.event.id, c.body) for c in [first, *rest]] == [(i, i.encode()) for i in ids]
    assert await outbox.redeliver(ids[0], tenant="default") == "ok"
    (again,) = await claims(outbox)
    assert again.event.id == ids[0]
    assert not await outbox.settle(first, "delivered")  # who lost it before has still lost it
    assert await outbox.settle(again, "delivered")
    (seen,) = await outbox.watching(session, 1)
    assert (seen.dead, seen.delivered, seen.waiting) == (0, len(ids), 0)


async def test_a_webhook_shows_how_it_fares(world: World, outbox: Outbox) -> None:
    session = await world.submit("ocr", webhooks=[a_hook(), a_hook("never")])
    (first,) = await claims(outbox)
    await outbox.settle(first, "delivered", tried={"code": 204})
    (second,) = await claims(outbox)
    await outbox.settle(second, "retry", wait=9, tried={"code": 503})
    await world.store.stop(session, "a test")
    busy, idle = await outbox.watching(session, 2)
    assert (busy.told, busy.waiting, busy.delivered) == (4, 3, 1)
    assert [(d.event.id, d.state) for d in busy.deliveries] == [
        (second.event.id, "retrying"),
        (first.event.id, "delivered"),
    ]
    assert (idle.told, idle.waiting, idle.deliveries) == (0, 0, [])


async def test_messages_of_an_engine_are_dropped_when_too_many_wait_but_no_status_is(
    world: World, outbox: Outbox
) -> None:
    await world.attend("ocr")
    session = await world.submit("ocr", webhooks=[a_hook()])
    (part,) = await world.parts(session)
    await world.ready(part)
    for _ in range(10):
        await world.link.send("RPUSH", names.hook_queue(f"{session}~0"), *["{}"] * 1000)
    await world.notice(part, "page")
    await world.finish(part)
    (hook,) = await outbox.watching(session, 1)
    assert hook.dropped == 1
    last = await world.link.send("LRANGE", names.hook_queue(f"{session}~0"), -1, -1)
    assert b'"finished"' in last[0]


async def test_there_is_always_a_secret_and_two_after_it_is_changed(outbox: Outbox) -> None:
    (first,) = await outbox.signing_secrets("default")
    assert await outbox.signing_secrets("default") == [first]
    new, old = await outbox.rotate_secret("default", keep_old=60)
    assert (old.value, new.until) == (first.value, 0)
    assert old.until > new.created
    assert await outbox.signing_secrets("default") == [new, old]
    assert [s.value for s in await outbox.signing_secrets("other")] != [new.value]
    (alone,) = await outbox.rotate_secret("default", keep_old=0)
    assert alone.value not in {new.value, old.value}


# ---- at rest -------------------------------------------------------------------------------------


async def everything_kept(link: Link) -> bytes:
    """Return all that Redis holds, as it holds it."""
    found = []
    for key in await link.send("KEYS", "*"):
        kind = (await link.send("TYPE", key)).decode()
        read = {
            "hash": ("HGETALL", key),
            "list": ("LRANGE", key, 0, -1),
            "string": ("GET", key),
            "zset": ("ZRANGE", key, 0, -1),
            "set": ("SMEMBERS", key),
            "stream": ("XRANGE", key, "-", "+"),
        }[kind]
        found.append(repr(await link.send(*read)))
    return "\n".join(found).encode()


async def test_with_a_key_no_secret_lies_in_redis(world: World) -> None:
    vault = Vault.parse(KEYS[0])
    world.store, outbox = SessionStore(world.link, vault), Outbox(world.link, vault)
    (secret,) = await outbox.signing_secrets("acme")
    hook = a_hook(headers={"Authorization": "Bearer tr0ub4dor"}, tenant="acme")
    session = await world.submit("ocr", webhooks=[hook])
    (first,) = await claims(outbox)
    assert first.webhook == hook
    assert await outbox.settle(first, "dead", tried={"code": 500}, body=b"{}")
    (delivery,), _ = await outbox.page(tenant="acme", state="dead", before=0, limit=10)
    assert delivery.webhook == hook
    assert [seen.webhook for seen in await outbox.watching(session, 1)] == [hook]
    assert await outbox.redeliver(first.event.id, tenant="acme") == "ok"
    assert [claim.webhook for claim in await claims(outbox)] == [hook, hook]
    assert await outbox.signing_secrets("acme") == [secret]
    kept = await everything_kept(world.link)
    assert session.encode() in kept
    assert b"tr0ub4dor" not in kept
    assert secret.value[6:-1].encode() not in kept


async def test_a_key_is_brought_in_and_replaced_without_a_gap(world: World) -> None:
    hook = a_hook(headers={"Authorization": "Bearer tr0ub4dor"})
    await world.submit("ocr", webhooks=[hook])
    plain = await Outbox(world.link).rotate_secret("default")
    for keys in (KEYS[0], f"{KEYS[1]},{KEYS[0]}"):
        outbox = Outbox(world.link, Vault.parse(keys))
        assert await outbox.signing_secrets("default") == plain
    (claim,) = await claims(outbox)
    assert claim.webhook == hook, "kept before there was a key"
    newest = Outbox(world.link, Vault.parse(KEYS[1]))
    assert await newest.signing_secrets("default") == plain, "sealed anew when it was read"
    assert plain[0].value.encode() not in await everything_kept(world.link)


async def test_an_event_whose_key_is_missing_waits_and_holds_up_no_other(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    sealing, world.store = world.store, SessionStore(world.link, Vault.parse(KEYS[0]))
    await world.submit("ocr", webhooks=[a_hook(SESSION_CHANGED, receiver="sealed.test:80")])
    world.store = sealing
    await world.submit("ocr", webhooks=[a_hook(SESSION_CHANGED, receiver="plain.test:80")])
    without = Outbox(world.link)
    assert [claim.webhook.receiver for claim in await claims(without)] == ["plain.test:80"]
    assert "BLUEENGINE_SECRET_KEY" in caplog.text
    await let_pass(without, LEASE + 1)
    with_key = await claims(Outbox(world.link, Vault.parse(KEYS[0])))
    assert {claim.webhook.receiver for claim in with_key} == {"plain.test:80", "sealed.test:80"}
