"""Inboxes of instances that are gone are removed; those of living ones never."""

from apps.management.loops.inboxes import Inboxes
from apps.sessions.store import SessionStore
from blueengine.kit.redis_link import Link
from blueengine.settings.system import SystemSettings
from blueengine.transport.kafka_topics import topics
from blueengine.wire import names
from tests.kit.builders import a_topic_prefix
from tests.kit.kafka import RealKafka
from tests.kit.wait import until


async def test_an_inbox_without_attendance_at_two_looks_is_removed(
    kafka_server: RealKafka, link: Link, store: SessionStore
) -> None:
    ours = SystemSettings(
        kafka_brokers=kafka_server.bootstrap, kafka_topic_prefix=a_topic_prefix()
    ).kafka
    theirs = SystemSettings(
        kafka_brokers=kafka_server.bootstrap, kafka_topic_prefix=a_topic_prefix()
    ).kafka
    assert ours
    assert theirs
    await link.send("HSET", names.instance("here"), "engine", "e")
    async with topics(ours) as admin, topics(theirs) as other:
        for instance in ("here", "dead.é", "slow to attend"):
            await admin.make(instance)
        await other.make("of another platform")

        async def all_are_known() -> bool:
            return (
                len(await admin.owners()) == 3
            )  # a broker hears of a topic a moment after it is made

        await until(all_are_known, 30)
        inboxes = Inboxes(store, ours, every=60)
        assert await inboxes.look() == []
        await link.send("HSET", names.instance("slow to attend"), "engine", "e")
        assert await inboxes.look() == ["dead.é"]
        assert await inboxes.look() == []
        assert sorted(await admin.owners()) == ["here", "slow to attend"]
        assert await other.owners() == ["of another platform"]
        await admin.remove(["here", "slow to attend", "never was"])
        await other.remove(["of another platform"])
