"""Kafka is killed, away, frozen or cut off in the middle of streams: complete, in order, or failed."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.runtime.site import Platform, Site, a_chain, a_platform, a_site
from tests.kit.builders import a_topic_prefix
from tests.kit.fault_proxy import FaultProxy
from tests.kit.kafka import RealKafka
from tests.kit.wait import until

pytestmark = pytest.mark.timeout(500)

MANY = 8_000
CHAIN = (("deeds", ""), ("echo", "second"), ("echo", "third"))


def channels(bootstrap: str) -> dict[str, str]:
    # heartbeats are patient: what is tested is Kafka, on a machine that may be busy; there a broker
    # takes longer to start than the patience that engines have by default
    return {
        "PATIENCE_SECONDS": "150",
        "KAFKA_BROKERS": bootstrap,
        "KAFKA_TOPIC_PREFIX": a_topic_prefix(),
        "HEARTBEAT_TIMEOUT": "10",
    }


@pytest.fixture
def kafka(kafka_behind_proxy: tuple[RealKafka, FaultProxy]) -> RealKafka:
    return kafka_behind_proxy[0]


@pytest.fixture
def proxy(kafka_behind_proxy: tuple[RealKafka, FaultProxy]) -> FaultProxy:
    return kafka_behind_proxy[1]


@pytest.fixture
def site(tmp_path: Path, kafka: RealKafka) -> Iterator[Site]:
    with a_site(tmp_path, channels=channels(kafka.bootstrap)) as site:
        yield site


async def start_chain(platform: Platform, **environment: str) -> None:
    for kind, engine in CHAIN:
        await platform.start(kind, engine, environment=environment)


async def stream(platform: Platform, count: int = MANY) -> str:
    """Begin a session that streams through the chain; it is in full flow when this returns."""
    plan = a_chain("deeds", "second", "third")
    session = await platform.submit(plan, {"do": "many", "count": count, "size": 500})
    await more_came(platform, session, 0)
    return session


async def more_came(platform: Platform, session: str, than: int) -> None:
    async def more() -> bool:
        return await platform.store.result_count(session, "Out") > than

    await until(more, 120, what="the stream goes on")


async def all_came(platform: Platform, session: str, count: int = MANY) -> None:
    got = await platform.finished(session, seconds=180)
    assert [item["n"] for item in got] == list(range(count))
    record = await platform.store.read(session)
    assert record
    # exactly once to process_func
    assert [part.tally.calls for part in record.parts] == [1, count, count]


async def test_a_stream_goes_on_after_the_broker_was_killed(
    platform: Platform, kafka: RealKafka
) -> None:
    await start_chain(platform)
    session = await stream(platform)
    for _ in range(2):
        count = await platform.store.result_count(session, "Out")
        await asyncio.to_thread(kafka.restart, hard=True)
        if await platform.status(session) != "finished":
            await more_came(platform, session, count)
    await all_came(platform, session)


async def test_a_stream_goes_on_after_ten_seconds_without_the_broker(
    platform: Platform, kafka: RealKafka
) -> None:
    await start_chain(platform)
    session = await stream(platform)
    [broker] = kafka.brokers
    await asyncio.to_thread(broker.kill)
    await asyncio.sleep(10)
    assert await platform.status(session) == "processing"
    broker.start()
    await all_came(platform, session)


async def test_a_stream_goes_on_after_the_broker_was_frozen(
    platform: Platform, kafka: RealKafka
) -> None:
    await start_chain(platform)
    session = await stream(platform)
    with kafka.brokers[0].paused():
        await asyncio.sleep(4)
        assert await platform.status(session) == "processing"
    await all_came(platform, session)


async def test_a_stream_survives_cuts_of_the_network(platform: Platform, proxy: FaultProxy) -> None:
    await start_chain(platform)
    session = await stream(platform)
    for seconds in (0.0, 0.3, 3.0):
        with proxy.cut():
            await asyncio.sleep(seconds)
        proxy.reset()
    with proxy.frozen():
        await asyncio.sleep(3)
    await all_came(platform, session)


async def test_past_the_patience_sessions_fail_with_the_cause_and_engines_stay(
    platform: Platform, kafka: RealKafka
) -> None:
    await start_chain(platform, PATIENCE_SECONDS="3")
    session = await stream(platform, count=10**6)
    [broker] = kafka.brokers
    await asyncio.to_thread(broker.kill)
    record = await platform.ended(session, 60)
    assert record.status == "failed"
    assert record.fault
    assert record.fault.code == "channels-away"
    assert "Kafka at 127.0.0.1" in record.fault.message
    # what needs no Kafka goes on, what does fails soon, too
    assert await platform.finished(await platform.submit(a_chain("second"), 1)) == [1]
    other = await platform.submit(a_chain("deeds", "second"), {"do": "echo"})
    record = await platform.ended(other, 60)
    assert record.fault
    assert record.fault.code == "channels-away"
    broker.start()
    await asyncio.to_thread(kafka.wait_ready)
    assert all(engine.gone is None for engine in platform.site.engines)

    async def works_again() -> bool:
        session = await platform.submit(a_chain("second", "third"), {"back": True})
        record = await platform.ended(session, 60)
        return record.status == "finished"

    await until(works_again, 60)


async def test_a_reader_that_is_cut_off_alone_fails_what_it_cannot_hear(
    tmp_path: Path, kafka: RealKafka, proxy: FaultProxy
) -> None:
    """The writer reaches the broker past the proxy."""
    direct = f"127.0.0.1:{kafka.brokers[0].internal_port}"
    (tmp_path / "own").mkdir()
    with a_site(tmp_path / "own", channels=channels(kafka.bootstrap)) as site:
        async with a_platform(site) as platform:
            await platform.start("echo", "writer", environment={"KAFKA_BROKERS": direct})
            await platform.start("echo", "reader", environment={"PATIENCE_SECONDS": "3"})
            plan = a_chain("writer", "reader")
            assert await platform.finished(await platform.submit(plan, 1)) == [1]
            with proxy.cut():
                session = await platform.submit(a_chain("writer", "reader"), 2)
                record = await platform.ended(session, 60)
                assert record.fault
                assert record.fault.code == "channels-away"


async def test_without_kafka_an_engine_says_so_and_ends(tmp_path: Path) -> None:
    nobody = {"KAFKA_BROKERS": "127.0.0.1:9", "PATIENCE_SECONDS": "1"}
    with a_site(tmp_path, channels=nobody) as site:
        engine = site.launch("echo")
        assert await asyncio.to_thread(engine.wait, 30) == 1
        assert "no Kafka at 127.0.0.1:9 within 1 s" in engine.output().splitlines()[-1]
        site.engines.clear()


@pytest.fixture
async def on_three(
    tmp_path: Path, three_brokers: RealKafka
) -> AsyncIterator[tuple[Platform, RealKafka]]:
    with a_site(tmp_path, channels=channels(three_brokers.bootstrap)) as site:
        async with a_platform(site) as platform:
            yield platform, three_brokers


async def test_a_stream_goes_on_when_one_of_three_brokers_is_killed(
    on_three: tuple[Platform, RealKafka],
) -> None:
    platform, kafka = on_three
    await start_chain(platform)
    leads = await asyncio.to_thread(kafka.ask, leaders(platform.site.channels))
    victims: list[Any] = [broker for broker in kafka.brokers if broker.number in leads]
    session = await stream(platform)
    await asyncio.to_thread(victims[0].kill)
    await all_came(platform, session)
    victims[0].start()
    await asyncio.to_thread(kafka.wait_ready)


def leaders(settings: Any) -> Any:
    """Return a question for the brokers that lead an inbox of the platform."""
    from aiokafka.admin import AIOKafkaAdminClient  # noqa: PLC0415

    async def ask(bootstrap: str) -> set[int]:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        try:
            topics = await admin.describe_topics()
        finally:
            await admin.close()
        ours = [t for t in topics if t["topic"].startswith(settings["KAFKA_TOPIC_PREFIX"])]
        return {partition["leader"] for t in ours for partition in t["partitions"]}

    return ask
