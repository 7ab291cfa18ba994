"""The life of an instance: draining, being told twice, being killed, being fenced."""

import os
import signal
from pathlib import Path

from blueengine.wire import names
from tests.integration.runtime.site import Platform, Site, a_chain, a_graph
from tests.kit.engines.process import Gate, alive
from tests.kit.signals import signals
from tests.kit.wait import until, wait_until


async def test_an_idle_engine_that_is_told_to_end_leaves_no_key(
    site: Site, platform: Platform
) -> None:
    engine = await platform.start("steps")
    assert engine.end() == 0
    keys = await platform.link.send("KEYS", "*")
    kept = {names.engine("steps"), names.ENGINES, names.SPECS}
    assert {key.decode() for key in keys} <= kept | {"be:watch"}
    assert not list(engine.temp.iterdir())


async def test_a_drain_lets_the_running_session_finish(platform: Platform, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    engine = await platform.start("gate", environment={"GATE": str(gate.path)})
    other = await platform.start("gate", environment={"GATE": str(gate.path)})
    sessions = [await platform.submit(a_chain("gate"), at) for at in range(2)]
    engine.signal(signal.SIGTERM)
    await until(lambda: "draining" in engine.output())

    async def is_draining() -> bool:
        record = await platform.link.send("HGET", names.instance(engine.instance), "state")
        return bool(record == b"draining")

    await until(is_draining)
    more = [await platform.submit(a_chain("gate"), at) for at in range(2, 3)]
    for session in more:
        record = await platform.store.read(session)
        assert record
        assert record.parts[0].instance == other.instance
    assert engine.gone is None
    gate.open()
    assert [await platform.finished(s) for s in (*sessions, *more)] == [[0], [1], [2]]
    assert engine.wait() == 0
    assert not list(engine.temp.iterdir())


async def test_a_draining_engine_takes_its_part_of_a_session_that_was_placed_before(
    platform: Platform, tmp_path: Path
) -> None:
    """Thousands of messages still come through after the SIGTERM."""
    gate = Gate(tmp_path)
    first = await platform.start("gate", environment={"GATE": str(gate.path)})
    second = await platform.start("echo")
    session = await platform.submit(a_chain("gate", "echo"), *range(2000))
    for engine in (first, second):
        engine.signal(signal.SIGTERM)
        await until(lambda engine=engine: "draining" in engine.output())  # type: ignore[misc]
    gate.open()
    assert await platform.finished(session) == list(range(2000))
    assert (first.wait(), second.wait()) == (0, 0)


async def test_a_second_signal_ends_at_once(platform: Platform) -> None:
    engine = await platform.start("deeds")
    session = await platform.submit(a_chain("deeds"), {"do": "hang"})
    await platform.noted(engine, "hanging")
    engine.signal(signal.SIGTERM)
    await until(lambda: "draining" in engine.output())
    engine.signal(signal.SIGTERM)
    assert engine.wait(3) == 1
    assert not list(engine.temp.iterdir())
    record = await platform.ended(session)
    assert record.fault
    assert (record.fault.code, record.fault.message) == (
        "instance-left", "the engine was told to end at once",
    )  # fmt: skip


async def test_a_signal_during_init_ends_the_engine(site: Site, platform: Platform) -> None:
    engine = site.launch("deeds", environment={"DEEDS_INIT": "hang"})
    await platform.noted(engine, "init")
    # its worker may be there first; until the engine itself is, a signal does what it does by default
    await until(lambda: signal.SIGTERM in signals(engine.pid, "SigCgt"))
    engine.signal(signal.SIGTERM)
    assert engine.wait(8) == 0
    assert not list(engine.temp.iterdir())
    assert await platform.link.send("DBSIZE") == 0


async def test_a_paused_instance_is_fenced_and_ends_with_75(platform: Platform) -> None:
    engine = await platform.start("deeds", environment={"HEARTBEAT_TIMEOUT": "1"})
    plan = a_graph(
        {"n1": ("deeds", {"Control": "In"}, {"Results": "Out"})},
    )
    session = await platform.submit(plan, {"do": "many", "count": 10**7})
    await until(lambda: platform.store.result_count(session, "Out"))
    platform.heartbeat_timeout = 1.0
    for pid in (engine.pid, *engine.workers()):
        os.kill(pid, signal.SIGSTOP)
    workers = engine.workers()
    record = await platform.ended(session)
    assert record.fault
    assert (record.status, record.fault.code) == ("failed", "instance-lost")
    count = await platform.store.result_count(session, "Out")
    for pid in (engine.pid, *workers):
        os.kill(pid, signal.SIGCONT)
    assert engine.wait() == 75
    assert "gave this instance up" in engine.output()
    assert await platform.store.result_count(session, "Out") == count
    assert not list(engine.temp.iterdir())
    assert not alive(*workers)


async def test_a_paused_instance_changes_nothing_for_the_next_attempt(platform: Platform) -> None:
    engine = await platform.start("deeds", environment={"HEARTBEAT_TIMEOUT": "1"})
    reader = await platform.start("echo")
    plan = a_chain("deeds", "echo")
    session = await platform.submit(
        plan, {"do": "many", "count": 20_000, "size": 100}, max_attempts=2
    )
    await until(lambda: platform.store.result_count(session, "Out"))
    workers = engine.workers()
    platform.heartbeat_timeout = 1.0
    for pid in (engine.pid, *workers):
        os.kill(pid, signal.SIGSTOP)

    async def queued_again() -> bool:
        await platform.manage()
        record = await platform.store.read(session)
        return bool(record and record.attempt == 2)

    await until(queued_again, 10)
    second = await platform.start("deeds")
    for pid in (engine.pid, *workers):
        os.kill(pid, signal.SIGCONT)
    got = await platform.finished(session, seconds=30)
    assert [item["n"] for item in got] == list(range(20_000))
    assert engine.wait() == 75
    assert (second.gone, reader.gone) == (None, None)


async def test_a_killed_parent_takes_its_workers_along(platform: Platform) -> None:
    engine = await platform.start("deeds")
    session = await platform.submit(a_chain("deeds"), {"do": "hang"})
    await platform.noted(engine, "hanging")
    workers = engine.workers()
    engine.kill()
    wait_until(lambda: not alive(*workers))
    assert (await platform.ended(session)).status == "failed"
