"""Webhooks as their receivers see them: a real Redis, a real server, signatures verified."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from apps.management.loops.webhooks import PER_RECEIVER, Deliverer
from apps.management.webhooks.retry import Schedule
from apps.management.webhooks.sender import Sender
from apps.sessions import outside
from apps.sessions.outbox import Delivery, Outbox
from apps.sessions.store import SessionStore
from blueengine.kit import aio
from blueengine.kit.clock import SystemClock
from blueengine.kit.redis_address import RedisAddress
from blueengine.kit.redis_link import Link, Subscription
from blueengine.wire import names
from blueengine.wire.webhook import SESSION_CHANGED, Webhook
from tests.integration.ledger.world import World
from tests.kit.hooks import Behaviour, Received, Receiver, answer, let_pass
from tests.kit.wait import until

QUICK = Schedule(first=0.02, longest=0.05, least=0.01)
"""For tests that want tries to follow each other."""
LEASE = 60.0


@pytest.fixture
def outbox(link: Link) -> Outbox:
    return Outbox(link)


@pytest.fixture
def world(link: Link) -> World:
    return World(link)


@asynccontextmanager
async def delivering(
    link: Link,
    redis_address: RedisAddress,
    *,
    schedule: Schedule = QUICK,
    allow: str = "loopback",
    timeout: float = 5.0,
    lease: float = LEASE,
) -> AsyncIterator[Deliverer]:
    """One replica, as ``apps.management.main`` puts it together."""
    clock = SystemClock()
    async with outside.client(outside.Rules.parse(allow)) as client, aio.Tasks() as tasks:
        sender = Sender(client, clock, timeout=timeout)
        deliverer = Deliverer(
            Outbox(link), SessionStore(link), sender, clock=clock, lease=lease, schedule=schedule
        )
        news = Link(
            redis_address,
            subscription=Subscription(
                [names.HOOK_WAKE],
                on_message=lambda _: deliverer.wake(),
                on_connect=deliverer.wake,
            ),
        )
        await news.open()
        tasks.start(aio.forever(deliverer.step, name="webhooks"), name="webhooks")
        try:
            yield deliverer
        finally:
            await tasks.close()
            await deliverer.close()
            await news.close()


Replica = Callable[..., Any]


@pytest.fixture
def replica(link: Link, redis_address: RedisAddress) -> Replica:
    return lambda **changes: delivering(link, redis_address, **changes)


def hook(receiver: Receiver, *types: str, **changes: Any) -> Webhook:
    return Webhook(url=receiver.url, receiver=receiver.receiver, types=types or ("*",), **changes)


async def run(world: World, receiver: Receiver, *types: str, **changes: Any) -> str:
    """Run a session from its submit to its end."""
    engine = await world.attend("ocr")
    session = await world.submit("ocr", webhooks=[hook(receiver, *types, **changes)])
    part = next(p for p in await world.parts(session) if p.instance == engine)
    await world.ready(part)
    await world.output(part, 0, b'{"page":1}', b'{"page":2}')
    await world.notice(part, "page-found", b'{"type":"page-found","message":"two"}')
    await world.finish(part)
    await world.instance(engine).leave("done")
    return session


async def log_of(outbox: Outbox, state: str, count: int = 1) -> list[Delivery]:
    """Wait for deliveries of a state."""

    async def there() -> list[Delivery]:
        found, _ = await outbox.page(tenant="default", state=state, before=0, limit=100)
        return found if len(found) >= count else []

    return await until(there, 30)  # type: ignore[no-any-return]


async def test_a_receiver_gets_every_event_signed_and_in_order(
    world: World, outbox: Outbox, replica: Replica
) -> None:
    async with Receiver() as receiver, replica():
        session = await run(
            world, receiver, "finish", "page-found", SESSION_CHANGED,
            headers={"Authorization": "Bearer my-secret-token"}, results="Out",
        )  # fmt: skip
        await until(lambda: len(receiver.got) >= 6, 30)
        (secret,) = await outbox.signing_secrets("default")
        assert all(request.verified(secret.value) for request in receiver.got)
        bodies = [request.body for request in receiver.got]
        assert [(b["type"], b["status"]) for b in bodies] == [
            (SESSION_CHANGED, "pending"),
            (SESSION_CHANGED, "queuing"),
            (SESSION_CHANGED, "processing"),
            ("page-found", "processing"),
            ("finish", "processing"),
            (SESSION_CHANGED, "finished"),
        ]
        page = receiver.got[3]
        assert page.headers["authorization"] == "Bearer my-secret-token"
        assert page.headers["content-type"] == "application/json"
        assert page.body == {
            "eventId": page.id,
            "sessionId": session,
            "type": "page-found",
            "status": "processing",
            "engineId": "ocr",
            "message": "two",
            "data": {"type": "page-found", "message": "two"},
            "results": {"Out": [{"page": 1}, {"page": 2}]},
            "timestamp": page.body["timestamp"],
        }
        await log_of(outbox, "delivered", 6)
        (seen,) = await outbox.watching(session, 1)
        assert (seen.delivered, seen.waiting, seen.dead) == (6, 0, 0)
        assert [one.log[0]["code"] for one in seen.deliveries] == [200] * 6


async def test_a_receiver_that_was_down_gets_everything_later_in_order(
    world: World, outbox: Outbox, replica: Replica
) -> None:
    async with Receiver() as receiver, replica():
        await receiver.down()
        await run(world, receiver, SESSION_CHANGED)
        (failing,) = await log_of(outbox, "retrying")
        assert "ConnectError" in failing.log[0]["error"]
        await receiver.up()
        await until(lambda: len(receiver.taken()) >= 4, 30)
        assert [request.body["status"] for request in receiver.taken()] == [
            "pending",
            "queuing",
            "processing",
            "finished",
        ]


@pytest.mark.parametrize(
    "case",
    [
        (answer(500, b"broken"), 500, ""),
        (answer(404, b"who?"), 404, ""),
        (answer(429, b"", retry_after="0"), 429, ""),
        (answer(302, b"", location="http://127.0.0.1:1/"), 302, "redirects are not followed"),
        (b"\x00\x01 this is no HTTP\r\n\r\n", None, "RemoteProtocolError"),
        (None, None, "RemoteProtocolError"),
        (b"HTTP/1.1 2", None, "RemoteProtocolError"),
    ],
    ids=["500", "404", "429", "redirect", "garbage", "closed", "cut"],
)
async def test_what_was_not_taken_is_sent_again_with_the_same_id_and_body(
    case: tuple[bytes | None, int | None, str], world: World, outbox: Outbox, replica: Replica
) -> None:
    first, code, error = case
    async with Receiver() as receiver, replica():
        receiver.behave = lambda _: first if len(receiver.got) == 1 else answer()
        await world.submit("ocr", webhooks=[hook(receiver)])
        (done, *_) = (await log_of(outbox, "delivered", 2))[::-1]
        assert (receiver.got[0].id, receiver.got[0].raw) == (
            receiver.got[1].id,
            receiver.got[1].raw,
        )
        assert done.tries == 2
        assert done.log[0].get("code") == code
        assert error in done.log[0].get("error", "")
        assert done.log[1]["code"] == 200


async def test_the_time_that_the_receiver_asks_for_is_respected(
    world: World, outbox: Outbox, replica: Replica
) -> None:
    async with Receiver(lambda _: answer(503, b"", retry_after="3600")) as receiver, replica():
        await world.submit("ocr", webhooks=[hook(receiver)])
        (waiting,) = await log_of(outbox, "retrying")
        wait = waiting.next_try / 1e6 - waiting.log[0]["at"] / 1e6
        assert 3590 < wait < 3700
        receiver.behave = lambda _: answer()
        await let_pass(outbox, 3700)
        await until(lambda: len(receiver.got) >= 2, 30)


async def test_410_ends_all_deliveries_of_that_webhook_and_no_other(
    world: World, outbox: Outbox, replica: Replica
) -> None:
    async with Receiver(lambda _: answer(410, b"leave me")) as gone, Receiver() as other, replica():
        await world.submit("ocr", webhooks=[hook(gone), hook(other)])
        dead = (await log_of(outbox, "dead", 2))[::-1]
        assert [one.log[-1].get("code") for one in dead] == [410, None]
        assert "410" in dead[1].log[0]["error"]
        assert len(gone.got) == 1
        await until(lambda: len(other.got) == 2, 30)
        # what is given up can be sent again, in the same words
        gone.behave = lambda _: answer()
        assert await outbox.redeliver(dead[0].event.id, tenant="default") == "ok"
        await until(lambda: len(gone.got) == 2, 30)
        assert gone.got[0].raw == gone.got[1].raw


async def test_a_slow_receiver_delays_nobody_else_and_is_not_swamped(
    world: World, outbox: Outbox, replica: Replica
) -> None:
    release = asyncio.Event()

    async def slow(_: object) -> bytes:
        await release.wait()
        return answer()

    async with Receiver(slow) as tarpit, Receiver() as quick, replica(timeout=30):
        for _ in range(4 * PER_RECEIVER):
            await world.submit("ocr", webhooks=[hook(tarpit, SESSION_CHANGED)])
        for _ in range(20):
            await world.submit("ocr", webhooks=[hook(quick, SESSION_CHANGED)])
        await until(lambda: len(quick.got) == 20, 30)
        assert len(tarpit.got) <= PER_RECEIVER
        release.set()
        await until(lambda: len(tarpit.taken()) == 4 * PER_RECEIVER, 30)
        assert tarpit.most_at_once <= PER_RECEIVER


async def test_a_receiver_that_never_answers_is_left_after_the_timeout(
    world: World, outbox: Outbox, replica: Replica
) -> None:
    async def never(_: object) -> bytes:
        await asyncio.sleep(3600)
        return b""

    async with Receiver(never) as receiver, replica(timeout=0.2):
        await world.submit("ocr", webhooks=[hook(receiver)])
        (failing,) = await log_of(outbox, "retrying")
        assert failing.log[0]["error"] == "no answer within 0.2 s"
        receiver.behave = lambda _: answer()
        await log_of(outbox, "delivered", 2)


async def test_an_endless_answer_is_read_no_further_than_a_snippet(
    world: World, outbox: Outbox, replica: Replica
) -> None:
    endless = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1_000_000
    async with Receiver(lambda _: endless) as receiver, replica():
        await world.submit("ocr", webhooks=[hook(receiver)])
        done = await log_of(outbox, "delivered", 2)
        assert done[0].log[0]["response"] == "x" * 1024


async def test_what_a_receiver_echoes_of_our_secrets_is_masked(
    world: World, outbox: Outbox, replica: Replica, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    headers = {"Authorization": "Bearer abc-secret-xyz", "X-Key": "pass phrase"}
    async with Receiver() as receiver, replica():
        receiver.behave = lambda got: answer(500, str(got.headers).encode())
        await world.submit("ocr", webhooks=[hook(receiver, headers=headers)])
        (failing,) = await log_of(outbox, "retrying")
        assert receiver.got[0].headers["x-key"] == "pass phrase"
        shown = failing.log[0]["response"]
        assert "webhook-id" in shown
        assert "abc-secret-xyz" not in shown
        assert "pass phrase" not in shown
    assert "abc-secret-xyz" not in caplog.text
    assert "pass phrase" not in caplog.text


async def test_an_address_inside_is_not_called_whatever_its_name(
    world: World, outbox: Outbox, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Receiver() as receiver, replica(allow=""):
        for host in ("localhost", "127.0.0.1", "127.1", "[::ffff:127.0.0.1]"):
            url = f"http://{host}:{receiver.port}/"
            await world.submit("ocr", webhooks=[Webhook(url=url, receiver=host, types=("*",))])
        failing = await log_of(outbox, "retrying", 4)
        assert all("inside the platform's own network" in one.log[0]["error"] for one in failing)
        assert receiver.got == []


async def test_after_a_change_of_the_secret_both_sign(
    world: World, outbox: Outbox, replica: Replica
) -> None:
    async with Receiver() as receiver, replica():
        (old,) = await outbox.signing_secrets("default")
        new, _ = await outbox.rotate_secret("default")
        await world.submit("ocr", webhooks=[hook(receiver, SESSION_CHANGED)])
        await until(lambda: receiver.got, 30)
        assert receiver.got[0].verified(old.value, new.value)


async def test_after_a_day_of_failures_an_event_is_given_up_and_the_next_one_tried(
    world: World, outbox: Outbox, replica: Replica
) -> None:
    async with Receiver(lambda _: answer(500, b"")) as receiver, replica(schedule=Schedule()):
        await world.submit("ocr", webhooks=[hook(receiver)])
        (waiting,) = await log_of(outbox, "retrying")
        await let_pass(outbox, 86_400)
        (dead,) = await log_of(outbox, "dead")
        assert (dead.event.id, dead.tries) == (waiting.event.id, 2)
        receiver.behave = lambda _: answer()
        await log_of(outbox, "delivered")


async def test_many_results_are_cut_and_the_rest_is_named(
    world: World, outbox: Outbox, replica: Replica
) -> None:
    async with Receiver() as receiver, replica():
        await world.attend("ocr")
        session = await world.submit("ocr", webhooks=[hook(receiver, "finish", results="Out")])
        (part,) = await world.parts(session)
        await world.ready(part)
        await world.output(part, 0, *[b"%d" % number for number in range(150)])
        await world.finish(part)
        await until(lambda: receiver.got, 30)
        body = receiver.got[0].body
        assert body["results"]["Out"] == list(range(100))
        assert body["more"] == {"Out": f"/api/v1/sessions/{session}/results/Out?after=100"}


async def told_something(world: World, chance: random.Random, *webhooks: Webhook) -> str:
    """Run a session in which something happens, we cannot say what."""
    await world.attend("ocr")
    session = await world.submit("ocr", webhooks=webhooks)
    (part,) = await world.parts(session)
    await world.ready(part)
    for _ in range(chance.randrange(4)):
        await world.notice(part, "word")
    await (world.fail(part) if chance.random() < 0.3 else world.finish(part))
    return session


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_receivers_and_replicas_do_each_webhook_is_told_all_of_it_in_order(
    seed: int, world: World, outbox: Outbox, replica: Replica
) -> None:
    chance = random.Random(seed)
    taken: dict[tuple[str, str], list[str]] = {}

    def moody(name: str) -> Behaviour:
        def behave(got: Received) -> bytes | None:
            mood = chance.random()
            if mood < 0.3:
                return None if mood < 0.1 else answer(500, b"")
            told = taken.setdefault((name, got.body["sessionId"]), [])
            if got.id not in told:
                told.append(got.id)
            # some are taken, and yet the sender does not hear of it
            return None if mood < 0.4 else answer()

        return behave

    async with Receiver(moody("a")) as a, Receiver(moody("b")) as b, replica(), replica():
        sessions = [await told_something(world, chance, hook(a), hook(b)) for _ in range(8)]

        async def all_told() -> bool:
            seen = [w for s in sessions for w in await outbox.watching(s, 2, last=0)]
            return all(w.waiting == 0 and w.told == w.delivered for w in seen)

        await until(all_told, 50)
        for session in sessions:
            counts = [w.told for w in await outbox.watching(session, 2, last=0)]
            for at, name in enumerate("ab"):
                numbers = [int(one.rpartition("_")[2]) for one in taken[name, session]]
                assert numbers == list(range(1, counts[at] + 1))
        assert Counter(await outbox.totals())["dead"] == 0
