"""Worker processes of a step that come with sessions and go when they idle."""

from tests.integration.runtime.site import Platform, a_chain
from tests.kit.wait import until


async def test_workers_that_idle_end_in_order_and_come_back_with_sessions(
    platform: Platform,
) -> None:
    engine = await platform.start(
        "deeds",
        settings={"CONCURRENCY": 3, "MAX_WORKER": 3, "WORKER_IDLE_SECONDS": 0.3},
    )
    assert len(engine.workers()) == 1
    for _ in range(2):
        known = len(engine.notes())
        sessions = [await platform.submit(a_chain("deeds"), {"do": "wait"}) for _ in range(3)]
        await until(
            lambda known=known: (  # type: ignore[misc]
                len([n for n in engine.notes()[known:] if n.startswith("waiting")]) == 3
            ),
            20,
        )
        assert len(engine.workers()) == 3
        for session in sessions:
            await platform.store.stop(session, "enough")
        for session in sessions:
            assert (await platform.ended(session)).status == "canceled"
        await until(lambda: len(engine.workers()) == 1, 20)
    assert len([n for n in engine.notes() if n.startswith("terminated")]) == 4
    again = await platform.submit(a_chain("deeds"), {"do": "echo"})
    assert len(await platform.finished(again)) == 1
