"""The same workflows, with data between engines over Kafka."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from blueengine.client import AsyncClient, load
from blueengine.wire import names
from tests.acceptance import blocks
from tests.integration.local.platform_kit import Up, up
from tests.kit.kafka import RealKafka
from tests.kit.wait import until

ROOT = Path(__file__).parents[2]
INLINE, BY_REFERENCE = 40_000, 64 << 20

pytestmark = [pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="function")]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, kafka_server: RealKafka) -> Iterator[Up]:
    """A running platform on Kafka with the built-in engines and two of blocks."""
    folder = tmp_path_factory.mktemp("platform")
    engines = blocks.engines(folder)
    options = ["--engines", engines, "--kafka-brokers", kafka_server.bootstrap]
    with up(folder / "data", *options) as running:
        yield running
        running.end()
        assert running.alive() == {}


async def written_to(kafka: RealKafka, instance: str) -> int:
    """Return how many records were ever written to an instance's inbox."""
    ending = names.inbox_topic("", instance)
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap)
    await consumer.start()
    try:
        [topic] = [t for t in await consumer.topics() if t.endswith(ending)]
        inbox = TopicPartition(topic, 0)
        count: int = (await consumer.end_offsets([inbox]))[inbox]
    finally:
        await consumer.stop()
    return count


async def test_a_pdf_is_read_over_kafka(client: AsyncClient, kafka_server: RealKafka) -> None:
    job, sample = load(ROOT / "workflows" / "ocr.yml"), ROOT / "samples" / "ocr-sample.pdf"
    session = await client.submit(job, {"Document": sample})
    outcome = await session.wait()
    assert outcome.status == "finished", outcome.process.error
    texts = outcome.results["Text"]
    truth = (ROOT / "samples" / "ocr-sample.txt").read_text()
    assert "\n\n".join(page["text"] for page in texts) + "\n" == truth
    parts = {part.engine: part.instance for part in (await session.detail()).sub_sessions}
    for engine in ("detect_text", "ocr"):  # it went no other way
        assert await written_to(kafka_server, parts[engine] or "") > 0


@pytest.mark.parametrize(
    ("count", "size"),
    [(12, 1), (12, INLINE), (2, BY_REFERENCE)],
    ids=["a byte", "inline", "64 MiB by reference"],
)
async def test_every_reader_gets_every_binary_whole_and_in_order(
    client: AsyncClient, count: int, size: int
) -> None:
    numbers = list(range(count))
    order = {"Order": {"numbers": numbers, "size": size}}
    session = await client.submit(blocks.workflow(readers=3), order)
    outcome = await session.wait()
    assert outcome.status == "finished", outcome.process.error
    wanted = [hashlib.sha256(blocks.content(n, size)).hexdigest() for n in numbers]
    for reader in range(3):
        assert [d["sha256"] for d in outcome.results[f"D{reader}"]] == wanted


async def test_an_interactive_session_answers_each_message_when_it_comes(
    client: AsyncClient,
) -> None:
    session = await client.submit(blocks.workflow(), interactive=True)
    for number in range(3):
        await session.push("Order", {"numbers": [number], "size": 1000})

        async def answered(count: int = number + 1) -> bool:
            return len([r async for r in session.results("D0", follow=False)]) == count

        await until(answered, 60)
    assert (await session.outcome()).status == "processing"
    await session.end("Order")
    assert (await session.wait()).status == "finished"
