"""What an engine may say and do in a call, and what the session becomes of it."""

from collections.abc import Iterator
from typing import Any

import pytest

from blueengine.wire.report import Fault
from tests.integration.runtime.site import Platform, Site, a_chain, a_graph, a_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with a_site(tmp_path_factory.mktemp("site"), ["deeds", "echo", "picky"]) as site:
        yield site


async def fault_of(platform: Platform, *messages: Any) -> Fault:
    """Run a session of the engine ``deeds`` that must fail."""
    session = await platform.submit(a_chain("deeds"), *messages)
    record = await platform.ended(session)
    assert record.status == "failed", record
    assert record.fault
    assert record.fault == record.parts[0].fault
    assert (record.fault.engine, record.fault.node) == ("deeds", "n1")
    assert record.fault.instance == platform.site.engines[0].instance
    return record.fault


async def statuses(platform: Platform, session: str) -> list[str]:
    """Return what became of the session, from its history."""
    history = await platform.store.history(session)
    return [entry.fields["st"] for entry in history if entry.fields["k"] == "session"]


async def test_functions_see_what_init_func_returned(platform: Platform) -> None:
    session = await platform.submit(a_chain("deeds"), {"do": "echo"})
    assert await platform.finished(session) == [{"do": "echo", "init": "model"}]


async def test_the_history_tells_every_status_once_and_in_order(platform: Platform) -> None:
    eager = await platform.submit(a_chain("echo"), 1)
    await platform.finished(eager)
    prepared = await platform.submit(a_chain("picky", "echo"), 1)
    await platform.finished(prepared)
    told = ["pending", "queuing", "processing", "finished"]
    assert (await statuses(platform, eager), await statuses(platform, prepared)) == (told, told)


async def test_start_func_prepares_what_process_func_sees(platform: Platform) -> None:
    session = await platform.submit(a_chain("picky"), "hello")
    [got] = await platform.finished(session)
    assert got == {"start": f"prepared by {platform.site.engines[2].instance}", "got": "hello"}


async def test_an_exception_fails_the_session_with_the_authors_frames_only(
    platform: Platform,
) -> None:
    fault = await fault_of(platform, {"do": "raises", "text": "seven is no colour"})
    assert fault.code == "engine-exception"
    assert fault.message == "ValueError: seven is no colour"
    files = [line.split('"')[1] for line in fault.traceback.splitlines() if "File" in line]
    assert files
    assert all(file.endswith("deeds/engine.py") for file in files)
    assert "in deep" in fault.traceback


async def test_results_before_an_exception_are_kept(platform: Platform) -> None:
    session = await platform.submit(a_chain("deeds"), {"do": "raises", "text": "x"})
    await platform.ended(session)
    assert await platform.results(session) == ["before"]


async def test_fail_shows_its_message_and_no_traceback(platform: Platform) -> None:
    fault = await fault_of(platform, {"do": "fail", "text": "the page is blank"})
    assert (fault.code, fault.message, fault.traceback) == ("failed", "the page is blank", "")


async def test_an_error_status_fails_the_session(platform: Platform) -> None:
    fault = await fault_of(platform, {"do": "error", "text": "no ink"})
    assert (fault.code, fault.message) == ("engine-error", "no ink")


async def test_finish_ends_the_part_at_once_and_drops_what_is_queued(platform: Platform) -> None:
    engine = platform.site.engines[0]
    messages = [{"do": "finish"}, *({"do": "echo"} for _ in range(20))]
    session = await platform.submit(a_chain("deeds"), *messages)
    assert await platform.finished(session) == ["first"]
    assert "went on after finish" not in engine.notes()


async def test_what_was_written_before_finish_arrives(platform: Platform) -> None:
    session = await platform.submit(a_chain("deeds", "echo"), {"do": "burst", "count": 2000})
    got = await platform.finished(session)
    assert [item["n"] for item in got] == list(range(2000))


async def test_a_reader_that_finishes_early_does_not_hold_up_its_writer(
    platform: Platform,
) -> None:
    plan = a_graph(
        {
            "source": ("echo", {"Control": "In"}, {"Results": "Deeds"}),
            "reader": ("deeds", {"Control": "Deeds"}, {"Results": "Out"}),
        }
    )
    messages = [{"do": "finish"}, *({"do": "echo"} for _ in range(2000))]
    session = await platform.submit(plan, *messages)
    assert await platform.finished(session) == ["first"]


async def test_status_messages_reach_the_history(platform: Platform) -> None:
    session = await platform.submit(a_chain("deeds"), {"do": "status"})
    await platform.finished(session)
    history = await platform.store.history(session)
    told = [
        (e.fields["n"], e.fields["type"], e.fields["body"])
        for e in history
        if e.fields["k"] == "notice"
    ]
    assert told == [
        ("n1", "progress", '{"type":"progress","done":1,"total":2,"message":"half"}'),
        ("n1", "warmed", '{"type":"warmed","degrees":7}'),
    ]
    record = await platform.store.read(session)
    assert record
    assert record.parts[0].progress == {
        "type": "progress", "done": 1, "total": 2, "message": "half",
    }  # fmt: skip


async def test_a_linked_status_is_a_message_there_too(platform: Platform) -> None:
    plan = a_graph(
        {
            "n1": ("deeds", {"Control": "In"}, {"Results": "Out", "Status": "Told"}),
            "n2": ("echo", {"Control": "Told"}, {"Results": "Read"}),
        },
        stored=["Out", "Told", "Read"],
    )
    session = await platform.submit(plan, {"do": "status"}, {"do": "finish"})
    told = await platform.finished(session, "Told")
    assert [item["type"] for item in told] == ["progress", "warmed", "finish"]
    assert await platform.results(session, "Read") == told


@pytest.mark.parametrize(
    ("deed", "words"),
    [
        ("wrong_shape", ["step 'deed'", "{channel: value}", "not list"]),
        ("wrong_channel", ["step 'deed'", "'Rseults'", "Results, Status"]),
        ("wrong_value", ["channel 'Results'", "no JSON"]),
    ],
)
async def test_a_wrong_output_is_named(platform: Platform, deed: str, words: list[str]) -> None:
    fault = await fault_of(platform, {"do": deed})
    assert fault.code == "wrong-type"
    assert [word for word in words if word not in fault.message] == []


async def test_the_session_folder_is_removed_at_its_end(platform: Platform) -> None:
    session = await platform.submit(a_chain("deeds"), {"do": "scratch"})
    [folder] = await platform.finished(session)
    assert folder.startswith(str(platform.site.engines[0].temp))
    # that it is gone is checked after every test


async def test_stop_func_runs_at_the_end_however_it_ended(platform: Platform) -> None:
    sessions = []
    for message in ({"do": "echo"}, {"do": "raises", "text": "x"}, {"do": "finish"}):
        plan = a_chain("deeds", labels={"stop": "tell"})
        sessions.append(await platform.submit(plan, message))
        await platform.ended(sessions[-1])
    notes = platform.site.engines[0].notes()
    assert [note for note in notes if "stopped" in note] == [f"stopped {s}" for s in sessions]


async def test_a_start_func_that_raises_fails_the_session(platform: Platform) -> None:
    plan = a_chain("echo", "picky", labels={"start": "raise"})
    record = await platform.ended(await platform.submit(plan, 1))
    assert record.status == "failed"
    assert record.fault
    assert (record.fault.code, record.fault.node) == ("start-failed", "n2")
    assert "cannot prepare" in record.fault.message
    assert "picky/engine.py" in record.fault.traceback


async def test_a_sibling_of_a_failed_part_is_stopped(platform: Platform) -> None:
    plan = a_graph(
        {
            "bad": ("deeds", {"Control": "In"}, {"Results": "Out"}),
            "good": ("picky", {"Control": "Never"}, {"Results": "Other"}),
            "writer": ("deeds", {"Control": "Wait"}, {"Results": "Never"}),
        },
        fed=["In", "Wait"],
    )
    feeds = {"In": [{"do": "raises", "text": "x"}], "Wait": [{"do": "wait"}]}
    record = await platform.ended(await platform.submit(plan, feeds=feeds))
    assert record.status == "failed"
    await platform.nothing_left()
    after = await platform.store.read(record.session)
    assert after
    assert {p.node: p.status for p in after.parts} == {
        "bad": "failed", "good": "canceled", "writer": "canceled",
    }  # fmt: skip


async def test_a_stop_of_a_running_session_is_seen_by_its_code(platform: Platform) -> None:
    engine = platform.site.engines[0]
    before = len(engine.notes())
    plan = a_chain("deeds", labels={"stop": "tell"})
    session = await platform.submit(plan, {"do": "wait"})
    await platform.noted(engine, "waiting", since=before)
    assert await platform.store.stop(session, "enough") == ("stopping", "stopping")
    record = await platform.ended(session)
    assert record.status == "canceled"
    assert engine.notes()[before + 1 :] == ["saw the stop", f"stopped {session}"]
    again = await platform.submit(a_chain("deeds"), {"do": "echo"})
    await platform.finished(again)


async def test_a_stop_while_starting_cancels_at_once(platform: Platform) -> None:
    plan = a_chain("picky", labels={"start": "hang"})
    session = await platform.submit(plan, 1)
    assert (await platform.store.stop(session, "enough"))[1] == "canceled"
    # its start_func hangs: the worker is killed after the grace, and the engine works on
    again = await platform.submit(a_chain("picky"), 1)
    assert len(await platform.finished(again)) == 1
