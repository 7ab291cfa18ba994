"""Code that hangs, workers that die, init functions that fail: who suffers, and what is said."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from apps.sessions.store import SessionRecord
from tests.integration.runtime.site import Platform, Site, a_chain, a_graph, a_site
from tests.kit.engines.process import Gate, alive
from tests.kit.wait import until, wait_until


async def crash(platform: Platform, message: dict[str, object]) -> SessionRecord:
    record = await platform.ended(await platform.submit(a_chain("deeds"), message))
    assert record.status == "failed"
    return record


@pytest.mark.parametrize(
    ("deed", "how"),
    [("leave", "exited with code 3"), ("crash", "was killed by SIGSEGV")],
)
async def test_a_crash_fails_its_session_only(platform: Platform, deed: str, how: str) -> None:
    engine = await platform.start("deeds")
    other = await platform.submit(a_chain("deeds"), {"do": "wait"})
    await platform.noted(engine, "waiting")
    record = await crash(platform, {"do": deed})
    assert record.fault
    assert (record.fault.code, record.fault.message) == (
        "worker-crashed", f"a worker of step 'deed' {how}",
    )  # fmt: skip
    # the other session runs on, in its own worker, and the instance takes new ones
    assert await platform.status(other) == "processing"
    session = await platform.submit(a_chain("deeds"), {"do": "echo"})
    assert len(await platform.finished(session)) == 1
    await platform.store.stop(other, "enough")
    assert (await platform.ended(other)).status == "canceled"


async def test_what_a_worker_wrote_last_is_told(platform: Platform) -> None:
    engine = await platform.start("deeds")
    record = await crash(platform, {"do": "mutter", "text": "no room for the model"})
    assert record.fault
    assert record.fault.message == "a worker of step 'deed' exited with code 3"
    assert "no room for the model" in record.fault.traceback.splitlines()[-1]
    assert "no room for the model" in engine.output(), "it is in the engine's own log, too"


async def test_a_sigterm_to_the_whole_process_group_drains(
    platform: Platform, tmp_path: Path
) -> None:
    """As systemd and Ctrl-C do it: the workers leave it to the parent."""
    gate = Gate(tmp_path / "gate")
    gate.path.parent.mkdir()
    engine = await platform.start("gate", environment={"GATE": str(gate.path)})
    session = await platform.submit(a_chain("gate"), "late")
    await until(lambda: platform.status(session))
    os.killpg(engine.pid, signal.SIGTERM)
    await until(lambda: "draining" in engine.output(), 20)
    assert alive(*engine.workers())
    gate.open()
    assert await platform.finished(session) == ["late"]
    assert await asyncio.to_thread(engine.wait, 20) == 0, engine.output()


async def test_an_engine_whose_workers_crash_again_and_again_takes_no_session(
    platform: Platform,
) -> None:
    engine = await platform.start("deeds")
    for _ in range(4):
        await crash(platform, {"do": "leave"})
    await platform.finished(await platform.submit(a_chain("deeds"), {"do": "echo"}))
    for _ in range(5):  # in a row, now
        await crash(platform, {"do": "leave"})

    async def ailing() -> bool:
        [state] = await platform.store.capacities(["deeds"])
        return state.free_slots == 0 and "exited with code 3" in state.ailing

    await until(ailing, 20)
    waiting = await platform.submit(a_chain("deeds"), {"do": "echo"})
    assert await platform.status(waiting) == "pending"
    assert engine.gone is None
    await platform.store.stop(waiting, "enough")


async def test_a_worker_killed_from_outside_is_named(platform: Platform) -> None:
    engine = await platform.start("deeds")
    session = await platform.submit(a_chain("deeds"), {"do": "wait"})
    note = await platform.noted(engine, "waiting")

    os.kill(int(note.split()[1]), signal.SIGKILL)
    record = await platform.ended(session)
    assert record.fault
    assert record.fault.message == "a worker of step 'deed' was killed by SIGKILL (out of memory?)"


async def test_a_crashed_session_begins_again_when_it_may(platform: Platform) -> None:
    engine = await platform.start("deeds")
    session = await platform.submit(a_chain("deeds"), {"do": "wait"}, max_attempts=2)
    note = await platform.noted(engine, "waiting")

    os.kill(int(note.split()[1]), signal.SIGKILL)
    await until(lambda: len([n for n in engine.notes() if n.startswith("waiting")]) == 2)
    record = await platform.store.read(session)
    assert record
    assert (record.attempt, record.status) == (2, "processing")
    await platform.store.stop(session, "enough")
    await platform.ended(session)


async def test_code_that_ignores_the_time_limit_is_killed(platform: Platform) -> None:
    engine = await platform.start("deeds", settings={"MAX_WORKER": 1, "CONCURRENCY": 1})
    session = await platform.submit(a_chain("deeds"), {"do": "hang"}, time_limit=0.3)
    note = await platform.noted(engine, "hanging")
    record = await platform.ended(session)
    assert record.status == "failed"
    assert record.fault
    assert record.fault.code == "timeout"
    await until(lambda: not alive(int(note.split()[1])))
    again = await platform.submit(a_chain("deeds"), {"do": "echo"})
    assert len(await platform.finished(again)) == 1


async def test_a_stop_func_that_hangs_is_killed(platform: Platform) -> None:
    await platform.start("deeds", settings={"MAX_WORKER": 1, "CONCURRENCY": 1})
    plan = a_chain("deeds", labels={"stop": "hang"})
    session = await platform.submit(plan, {"do": "echo"})
    assert len(await platform.finished(session)) == 1
    again = await platform.submit(a_chain("deeds"), {"do": "echo"})
    assert len(await platform.finished(again)) == 1


async def test_a_hang_does_not_take_a_neighbour_with_it_that_is_at_work(
    platform: Platform,
) -> None:
    """Two sessions share a worker; the one that waits its turn is stopped, not the busy one."""
    engine = await platform.start("deeds", settings={"MAX_WORKER": 1, "CONCURRENCY": 2})
    busy = await platform.submit(a_chain("deeds"), {"do": "wait"})
    note = await platform.noted(engine, "waiting")
    queued = await platform.submit(a_chain("deeds"), {"do": "echo"})
    await platform.store.stop(queued, "enough")
    await until(lambda: "is over" in engine.output() or _waited(platform, queued))
    assert alive(int(note.split()[1]))
    assert await platform.status(busy) == "processing"
    await platform.store.stop(busy, "enough")
    assert (await platform.ended(busy)).status == "canceled"
    assert (await platform.ended(queued)).status == "canceled"


async def _waited(platform: Platform, session: str) -> bool:
    """Say whether the grace of a stopped session has passed by Redis' clock."""
    record = await platform.store.read(session)
    assert record
    stopped = [
        e.at for e in await platform.store.history(session) if e.fields.get("st") == "stopping"
    ]
    return bool(stopped) and await platform.store.now_us() - stopped[0] > 1_500_000


def test_an_init_func_that_raises_ends_the_engine_with_a_clear_line(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        engine = site.launch("deeds", environment={"DEEDS_INIT": "raise"})
        assert engine.wait() == 1
        assert "init_func of step 'deed': RuntimeError: no model in this house" in engine.output()
        assert site.redis.call("KEYS", "*") == "*0"
        assert not list(engine.temp.iterdir())


async def test_an_init_func_that_fails_later_fails_sessions_with_a_clear_line(
    platform: Platform,
) -> None:
    """The first worker began; the one after its crash cannot. The engine does not spin."""
    engine = await platform.start(
        "deeds", environment={"DEEDS_INIT": "once"}, settings={"MAX_WORKER": 1}
    )
    engine.log_file.touch()
    await crash(platform, {"do": "leave"})
    record = await crash(platform, {"do": "echo"})
    assert record.fault
    assert record.fault.message == "init_func of step 'deed': RuntimeError: the model is gone"
    assert engine.output().count("init_func of step") <= 4
    engine.log_file.unlink()
    session = await platform.submit(a_chain("deeds"), {"do": "echo"})
    assert len(await platform.finished(session)) == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"CONCURRENCY": "many"}, "ENGINE.CONCURRENCY is 'many', which is no int"),
        ({"CONCURENCY": 2}, "unknown ENGINE.CONCURENCY"),
        ({"MAX_WORKER": 1, "DEFAULT_WORKER_COUNT": 2}, "MAX_WORKER (1) is less than"),
    ],
)
def test_a_wrong_engine_yml_is_one_line_and_exit_code_2(
    tmp_path: Path, settings: dict[str, object], words: str
) -> None:
    with a_site(tmp_path) as site:
        engine = site.launch("echo", settings=settings)
        assert engine.wait() == 2
        [line] = engine.output().splitlines()
        assert line.startswith("error: ")
        assert words in line


def test_no_redis_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        site.redis.halt()
        engine = site.launch("echo", environment={"PATIENCE_SECONDS": "0.2"})
        assert engine.wait() == 1
        assert "no Redis at" in engine.output().splitlines()[-1]
        assert not list(engine.temp.iterdir())
        site.redis.start()


async def test_an_instance_that_refuses_is_passed_over(platform: Platform) -> None:
    first, second = [await platform.start("picky") for _ in range(2)]
    plan = a_chain("picky", labels={"refused-by": first.instance})
    got = [
        (await platform.finished(await platform.submit(p, 1)))[0]["start"]
        for p in (plan, a_chain("picky", labels={"refused-by": first.instance}))
    ]
    assert got == [f"prepared by {second.instance}"] * 2


async def test_three_refusals_fail_the_session_with_the_reason(platform: Platform) -> None:
    engine = await platform.start("picky")
    record = await platform.ended(
        await platform.submit(a_chain("picky", labels={"refused-by": "all"}), 1)
    )
    assert record.status == "failed"
    assert record.fault
    assert (record.refused, record.fault.code) == (3, "refused")
    assert record.fault.message == f"{engine.instance} has no room for it"


async def test_a_start_func_that_hangs_runs_into_the_start_timeout(platform: Platform) -> None:
    await platform.start("picky")
    plan = a_chain("picky", labels={"start": "hang"})
    record = await platform.ended(await platform.submit(plan, 1, start_timeout=0.3))
    assert record.fault
    assert record.fault.code == "start-timeout"
    again = await platform.submit(a_chain("picky"), 1)
    assert len(await platform.finished(again)) == 1


async def test_a_start_func_that_looks_hears_that_its_time_is_over(platform: Platform) -> None:
    engine = await platform.start("picky")
    workers = engine.workers()
    plan = a_chain("picky", labels={"start": "wait"})
    record = await platform.ended(await platform.submit(plan, 1, start_timeout=0.3))
    assert record.fault
    assert record.fault.code == "start-timeout"
    again = await platform.submit(a_chain("picky"), 1)
    assert len(await platform.finished(again)) == 1
    assert engine.workers() == workers, "nobody had to be killed"


def test_the_workers_die_with_their_parent(tmp_path: Path) -> None:
    with a_site(tmp_path, ["steps"]) as site:
        [engine] = site.engines
        workers = engine.workers()
        assert len(workers) == 3
        engine.kill()
        wait_until(lambda: not alive(*workers))


async def test_a_killed_engine_is_found_and_its_session_fails(
    site: Site, platform: Platform
) -> None:
    engine = await platform.start("deeds")
    other = await platform.start("echo")
    session = await platform.submit(a_chain("deeds"), {"do": "wait"})
    await platform.noted(engine, "waiting")
    engine.kill()
    record = await platform.ended(session)
    assert record.fault
    assert (record.status, record.fault.code) == ("failed", "instance-lost")
    assert other.gone is None
    assert len(await platform.finished(await platform.submit(a_chain("echo"), 1))) == 1


async def test_inputs_that_nobody_feeds_end_once_all_engines_are_prepared(
    platform: Platform,
) -> None:
    for engine in ("first", "second"):
        await platform.start("picky", engine)
    plan = a_graph(
        {
            "n1": ("first", {"Control": "Nobody"}, {"Results": "Out"}),
            "n2": ("second", {"Control": "NobodyToo"}, {"Results": "Other"}),
        },
        fed=[],
    )
    session = await platform.submit(plan)
    try:
        assert await platform.finished(session, seconds=2) == []
    finally:
        await platform.store.stop(session, "enough")
        await platform.ended(session)
