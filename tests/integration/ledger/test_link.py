"""The link keeps its promises while Redis is killed, paused, restarted and refuses."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

import pytest

from blueengine.errors import ReadOnlyStoreError, StoreAwayError, StoreReplyError
from blueengine.kit.redis_address import RedisAddress
from blueengine.kit.redis_link import Link, Script, Subscription
from tests.kit.servers import RealRedis
from tests.kit.wait import until

PUSH = Script("push", "return redis.call('RPUSH', 'list', ARGV[1])")


@contextlib.asynccontextmanager
async def linked(
    server: RealRedis | str,
    *,
    patience: float = 10.0,
    reply_timeout: float = 10.0,
    subscription: Subscription | None = None,
) -> AsyncIterator[Link]:
    url = server if isinstance(server, str) else server.url
    link = Link(
        RedisAddress.from_url(url),
        scripts={"push": PUSH},
        patience=patience,
        reply_timeout=reply_timeout,
        subscription=subscription,
    )
    try:
        await link.open()
        yield link
    finally:
        await link.close()


async def stored(link: Link) -> list[int]:
    return [int(item) for item in await link.send("LRANGE", "list", 0, -1)]


def assert_nothing_lost(items: list[int], count: int) -> None:
    """Every number is there, and none comes before its predecessor did; repeats are fine."""
    assert set(items) == set(range(count))
    highest = -1
    for item in items:
        assert item <= highest + 1
        highest = max(highest, item)


# -- order -----------------------------------------------------------------------------------------


async def test_commands_and_replies_keep_their_order(redis_server: RealRedis) -> None:
    async with linked(redis_server) as link:
        replies = await asyncio.gather(*(link.run("push", i) for i in range(5000)))
        assert replies == list(range(1, 5001))
        assert await stored(link) == list(range(5000))


async def test_tasks_that_share_a_link_get_their_own_replies(redis_server: RealRedis) -> None:
    async with linked(redis_server) as link:

        async def one(number: int) -> None:
            for turn in range(20):
                text = f"{number} {turn}".encode() * (1 + number * turn)
                assert await link.send("ECHO", text) == text

        await asyncio.gather(*(one(number) for number in range(50)))


async def test_one_who_gives_up_disturbs_nobody(redis_server: RealRedis) -> None:
    async with linked(redis_server) as link:
        futures = [link.send("ECHO", i) for i in range(100)]
        for future in futures[::3]:
            future.cancel()
        rest = [(i, future) for i, future in enumerate(futures) if i % 3]
        assert [await future for _, future in rest] == [b"%d" % i for i, _ in rest]


async def test_large_values_go_through_and_the_writer_is_held_back(redis_server: RealRedis) -> None:
    value = b"x" * 30_000_000
    async with linked(redis_server) as link:
        setting = link.send("SET", "large", value)
        await until(lambda: setting.done() or not link.room.is_set())
        assert await setting == b"OK"
        await asyncio.wait_for(link.room.wait(), 5)
        assert await link.send("GET", "large") == value


# -- lost connections ------------------------------------------------------------------------------


async def test_a_connection_killed_again_and_again_loses_nothing(redis_server: RealRedis) -> None:
    count = 6000
    async with linked(redis_server) as killer, linked(redis_server) as link:
        replies: list[asyncio.Future[int]] = []
        for start in range(0, count, 500):
            replies += [link.run("push", i) for i in range(start, start + 500)]
            await killer.send("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await asyncio.sleep(0)
        await asyncio.gather(*replies)
        assert_nothing_lost(await stored(link), count)


@pytest.mark.parametrize("hard", [False, True], ids=["restart", "kill -9"])
async def test_a_restart_loses_nothing_that_was_acknowledged(
    own_redis: RealRedis, hard: bool
) -> None:
    count = 4000
    async with linked(own_redis) as link:
        replies = [link.run("push", i) for i in range(count)]
        await until(replies[count // 4].done)
        await asyncio.to_thread(own_redis.restart, hard=hard)
        await asyncio.gather(*replies)
        assert_nothing_lost(await stored(link), count)


async def test_scripts_that_redis_forgot_are_loaded_again_in_order(redis_server: RealRedis) -> None:
    count = 1000
    async with linked(redis_server) as link:
        replies = []
        for i in range(count):
            # one by script, one plain: all that came after a lost script is repeated with it
            replies.append(link.run("push", i) if i % 2 else link.send("RPUSH", "list", i))
            if i % 250 == 0:
                replies.append(link.send("SCRIPT", "FLUSH"))
        await asyncio.gather(*replies)
        last = {item: at for at, item in enumerate(await stored(link))}
        assert [item for item, _ in sorted(last.items(), key=lambda pair: pair[1])] == [
            *range(count)
        ]


async def test_a_frozen_redis_is_left_and_found_again(
    own_redis: RealRedis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with linked(own_redis, reply_timeout=0.2) as link:
        with own_redis.paused():
            reply = link.run("push", 0)
            await until(lambda: "is silent" in caplog.text)
            assert not reply.done()
        assert await reply in {1, 2}  # thawed, it may also read what it was sent before
        assert "lost the connection" in caplog.text


async def test_a_slow_command_is_no_silence_while_others_answer(redis_server: RealRedis) -> None:
    async with linked(redis_server, reply_timeout=0.5) as link:
        before = await link.send("CLIENT", "ID")
        for _ in range(8):
            await link.send("BLPOP", "nothing", 0.1)
        assert await link.send("CLIENT", "ID") == before


# -- away ------------------------------------------------------------------------------------------


async def test_when_patience_is_over_all_fail_until_redis_is_back(own_redis: RealRedis) -> None:
    async with linked(own_redis, patience=0.3) as link:
        await link.send("PING")
        await asyncio.to_thread(own_redis.kill)
        waiting = [link.send("PING") for _ in range(10)]
        outcomes = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5)
        assert {type(outcome) for outcome in outcomes} == {StoreAwayError}
        with pytest.raises(StoreAwayError):
            await asyncio.wait_for(link.send("PING"), 0.1)  # at once
        await asyncio.to_thread(own_redis.start)

        async def is_back() -> bool:
            try:
                return bool(await link.send("PING") == b"PONG")
            except StoreAwayError:
                return False

        await until(is_back)
        assert await link.run("push", 1) == 1


async def test_a_redis_that_accepts_and_never_answers_is_away(own_redis: RealRedis) -> None:
    with own_redis.paused(), pytest.raises(StoreAwayError, match="is it running"):
        async with linked(own_redis, patience=0.3):
            pass
    async with linked(own_redis, patience=0.3, reply_timeout=0.2) as link:
        with own_redis.paused(), pytest.raises(StoreAwayError):
            await asyncio.wait_for(link.send("PING"), 5)


async def test_no_redis_at_all(own_redis: RealRedis) -> None:
    own_redis.halt()
    with pytest.raises(StoreAwayError, match=f"127.0.0.1:{own_redis.port}/0 within 0.2 s"):
        async with linked(own_redis, patience=0.2):
            pass


async def test_a_redis_that_still_loads_is_waited_for(own_redis: RealRedis) -> None:
    async with linked(own_redis) as link:
        await asyncio.gather(*(link.run("push", i) for i in range(3000)))
        # 3000 entries at 300 microseconds: it answers LOADING for about a second
        own_redis.options["key-load-delay"] = "300"
        waiting = link.send("LLEN", "list")
        await waiting
        await asyncio.to_thread(own_redis.restart, wait=False)
        await until(lambda: own_redis_says(own_redis).startswith("-LOADING"))
        late = link.run("push", 3000)
        assert not late.done()
        assert await late == 3001


def own_redis_says(server: RealRedis) -> str:
    try:
        return server.call("PING")
    except OSError:
        return ""


async def test_closing_fails_what_waits_and_does_not_hang(own_redis: RealRedis) -> None:
    async with linked(own_redis) as link:
        with own_redis.paused():
            waiting = [link.send("ECHO", b"x" * 1_000_000) for _ in range(20)]
            await asyncio.wait_for(link.close(), 3)
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {StoreAwayError}
        with pytest.raises(StoreAwayError):
            await link.send("PING")


async def test_closing_while_it_tries_to_connect(own_redis: RealRedis) -> None:
    async with linked(own_redis) as link:
        own_redis.kill()
        await until(lambda: link._transport is None)
        waiting = link.send("PING")
        await asyncio.wait_for(link.close(), 1)
        with pytest.raises(StoreAwayError):
            await waiting


# -- servers that misbehave ------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def a_server(talk: Callable[[int, asyncio.StreamWriter], None]) -> AsyncIterator[str]:
    """Answer each command by ``talk(number of the connection, writer)``."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        number = connections
        with contextlib.suppress(ConnectionError):
            while await reader.readuntil(b"PING\r\n") if not reader.at_eof() else b"":
                talk(number, writer)
        writer.close()

    async def quiet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(quiet, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


async def plain_link(url: str, patience: float = 3.0) -> Link:
    return Link(RedisAddress.from_url(url), patience=patience, reply_timeout=5)


async def test_a_connection_lost_just_after_the_login_is_noticed() -> None:
    def talk(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(b"+PONG\r\n")
        if number < 3:
            writer.close()

    async with a_server(talk) as url:
        link = await plain_link(url)
        await link.open()
        assert await asyncio.wait_for(link.send("PING"), 4) == b"PONG"
        await link.close()


async def test_a_connection_lost_during_the_login_is_tried_again() -> None:
    def talk(number: int, writer: asyncio.StreamWriter) -> None:
        if number < 3:
            writer.close()
        else:
            writer.write(b"+PONG\r\n")

    async with a_server(talk) as url:
        link = await plain_link(url)
        await link.open()
        assert await link.send("PING") == b"PONG"
        await link.close()


async def test_bytes_that_are_no_redis_are_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    def talk(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(b"+PONG\r\n" if number > 1 else b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with a_server(talk) as url:
        link = await plain_link(url)
        await link.open()
        assert await link.send("PING") == b"PONG"
        await link.close()


# -- refusals --------------------------------------------------------------------------------------


async def test_a_wrong_password_is_said_at_once_and_never_shown() -> None:
    with RealRedis(options={"requirepass": "sesame"}) as server:
        good = server.url.replace("://", "://:sesame@")
        async with linked(good) as link:
            assert await link.send("PING") == b"PONG"
        for login in (":guess@", "", "nobody:guess@"):
            url = server.url.replace("://", f"://{login}")
            link = Link(RedisAddress.from_url(url), patience=30)
            with pytest.raises(StoreAwayError, match="refuses the login") as caught:
                await asyncio.wait_for(link.open(), 3)
            assert "guess" not in str(caught.value)


async def test_a_password_that_changes_meanwhile_is_waited_for(own_redis: RealRedis) -> None:
    async with linked(own_redis, patience=5) as link:
        own_redis.call("CONFIG", "SET", "requirepass", "sesame")
        own_redis.options["requirepass"] = "sesame"
        own_redis.call("CLIENT", "KILL", "TYPE", "normal")
        waiting = link.send("PING")
        await asyncio.sleep(0.2)
        assert not waiting.done()
        own_redis.call("CONFIG", "SET", "requirepass", "")
        assert await waiting == b"PONG"


async def test_errors_of_commands_are_those_of_their_callers(redis_server: RealRedis) -> None:
    async with linked(redis_server) as link:
        good, bad, after = (
            link.send("SET", "a", 1),
            link.send("LPUSH", "a", 1),
            link.send("GET", "a"),
        )
        assert await good == b"OK"
        with pytest.raises(StoreReplyError, match="WRONGTYPE"):
            await bad
        assert await after == b"1"


async def test_out_of_memory_is_a_refusal_that_may_end(every_redis_server: RealRedis) -> None:
    async with linked(every_redis_server) as link:
        await link.send("CONFIG", "SET", "maxmemory", 1)
        try:
            for refused in (link.send("SET", "a", 1), link.run("push", 1)):
                with pytest.raises(ReadOnlyStoreError) as caught:
                    await refused
                assert caught.value.retriable
        finally:
            await link.send("CONFIG", "SET", "maxmemory", 0)
        assert await link.run("push", 1) == 1


# -- addresses -------------------------------------------------------------------------------------


async def test_a_unix_socket(redis_server: RealRedis) -> None:
    async with linked(redis_server.unix_url) as link:
        assert await link.run("push", 1) == 1


async def test_a_database_of_its_own_also_after_a_reconnect(redis_server: RealRedis) -> None:
    async with linked(redis_server) as other:
        async with linked(redis_server.url.replace("/0", "/3")) as link:
            await link.send("SET", "a", 3)
            await other.send("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            assert await link.send("GET", "a") == b"3"
        assert await other.send("GET", "a") is None


# -- subscriptions ---------------------------------------------------------------------------------


class Heard:
    """What a subscription was told."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.connects = 0
        self.subscription = Subscription(["news", "more"], self.messages.append, self.on_connect)

    def on_connect(self) -> None:
        self.connects += 1


async def test_a_subscription_hears_everything_once_it_says_so(redis_server: RealRedis) -> None:
    heard = Heard()
    async with linked(redis_server) as link, linked(
        redis_server, subscription=heard.subscription
    ):  # fmt: skip
        await until(lambda: heard.connects == 1)
        # from here on nothing may be missed: both channels count this listener
        assert [await link.send("PUBLISH", c, c) for c in ("news", "more", "other")] == [1, 1, 0]
        await until(lambda: heard.messages == [b"news", b"more"])


async def test_a_subscription_is_made_again_and_says_so(redis_server: RealRedis) -> None:
    heard = Heard()
    async with linked(redis_server) as link, linked(
        redis_server, subscription=heard.subscription
    ):  # fmt: skip
        for times in range(1, 4):
            await until(lambda: heard.connects == times)  # noqa: B023 - called at once
            assert await link.send("PUBLISH", "news", times) == 1
            await until(lambda: len(heard.messages) == times)  # noqa: B023 - called at once
            await link.send("CLIENT", "KILL", "TYPE", "pubsub")
    assert heard.messages == [b"1", b"2", b"3"]


async def test_a_quiet_subscription_notices_that_redis_is_frozen(own_redis: RealRedis) -> None:
    heard = Heard()
    async with linked(own_redis, subscription=heard.subscription, reply_timeout=0.2):
        await until(lambda: heard.connects == 1)
        with own_redis.paused():
            await asyncio.sleep(0.8)
        await until(lambda: heard.connects == 2)


async def test_a_quiet_subscription_stays(redis_server: RealRedis) -> None:
    heard = Heard()
    async with linked(redis_server) as link, linked(
        redis_server, subscription=heard.subscription, reply_timeout=0.2
    ):  # fmt: skip
        await asyncio.sleep(1)  # five times as long as it waits for an answer
        assert heard.connects == 1
        await link.send("PUBLISH", "news", "still here")
        await until(lambda: heard.messages == [b"still here"])
