"""Sessions of every shape through real engine processes."""

import asyncio
from collections.abc import Iterator, Mapping

import pytest

from tests.integration.runtime.site import Platform, Site, a_chain, a_graph, a_site

MANY = 3000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, channels: Mapping[str, str]) -> Iterator[Site]:
    engines = ["echo", ("echo", "second"), ("echo", "third"), "pair", "steps"]
    with a_site(tmp_path_factory.mktemp("site"), engines, channels=channels) as site:
        yield site


async def test_one_engine_answers_one_message(platform: Platform) -> None:
    session = await platform.submit(a_chain("echo"), {"hello": "world"})
    assert await platform.finished(session) == [{"hello": "world"}]
    record = await platform.store.read(session)
    assert record
    [part] = record.parts
    assert (part.status, part.tally.messages_in, part.tally.messages_out) == ("finished", 1, 1)
    assert part.tally.calls == len(part.tally.spans) == 1


async def test_a_session_without_start_data_ends_at_once(platform: Platform) -> None:
    session = await platform.submit(a_chain("echo"))
    assert await platform.finished(session) == []


async def test_thousands_of_messages_pass_three_engines_in_order(platform: Platform) -> None:
    session = await platform.submit(a_chain("echo", "second", "third"), *range(MANY))
    assert await platform.finished(session) == list(range(MANY))


async def test_a_fan_out_gives_every_reader_every_message(platform: Platform) -> None:
    plan = a_graph(
        {
            "source": ("echo", {"Control": "In"}, {"Results": "All"}),
            "left": ("second", {"Control": "All"}, {"Results": "L"}),
            "right": ("third", {"Control": "All"}, {"Results": "R"}),
        },
        stored=["L", "R"],
    )
    session = await platform.submit(plan, *range(500))
    assert await platform.finished(session, "L") == list(range(500))
    assert await platform.results(session, "R") == list(range(500))


async def test_a_fan_in_keeps_the_order_of_each_writer(platform: Platform) -> None:
    plan = a_graph(
        {
            "left": ("echo", {"Control": "L"}, {"Results": "Both"}),
            "right": ("second", {"Control": "R"}, {"Results": "Both"}),
            "sink": ("third", {"Control": "Both"}, {"Results": "Out"}),
        },
        fed=["L", "R"],
    )
    feeds = {"L": [["l", n] for n in range(500)], "R": [["r", n] for n in range(500)]}
    session = await platform.submit(plan, feeds=feeds)
    got = await platform.finished(session)
    assert [item for item in got if item[0] == "l"] == feeds["L"]
    assert [item for item in got if item[0] == "r"] == feeds["R"]


async def test_a_diamond_is_joined_first_with_first(platform: Platform) -> None:
    plan = a_graph(
        {
            "source": ("echo", {"Control": "In"}, {"Results": "All"}),
            "left": ("second", {"Control": "All"}, {"Results": "L"}),
            "right": ("third", {"Control": "All"}, {"Results": "R"}),
            "join": (
                "pair",
                {"Left": "L", "Right": "R", "Setting": "Set"},
                {"Results": "Out"},
            ),
        },
        fed=["In", "Set"],
        types={"Set": "Bytes"},
    )
    session = await platform.submit(plan, *range(1000), feeds={"Set": [b"xyz"]})
    assert await platform.finished(session) == [[n, n, 3] for n in range(1000)]


async def test_a_message_without_a_partner_fails_the_session(platform: Platform) -> None:
    plan = a_graph(
        {"join": ("pair", {"Left": "L", "Right": "R"}, {"Results": "Out"})}, fed=["L", "R"]
    )
    session = await platform.submit(plan, feeds={"L": [1, 2, 3], "R": [1]})
    record = await platform.ended(session)
    assert record.fault
    assert (record.status, record.fault.code) == ("failed", "no-partner")
    assert "2 on 'Left'" in record.fault.message


async def test_steps_pass_objects_on_in_order(platform: Platform) -> None:
    plan = a_chain("steps")
    session = await platform.submit(plan, {"pieces": 300, "size": 10})
    got = await platform.finished(session)
    assert [(item["n"], item["sum"]) for item in got] == [(n, 2 * n % 256 * 10) for n in range(300)]


async def test_steps_pass_large_objects_on(platform: Platform) -> None:
    session = await platform.submit(a_chain("steps"), {"pieces": 20, "size": 1 << 20})
    got = await platform.finished(session)
    assert [item["sum"] for item in got] == [2 * n << 20 for n in range(20)]


async def test_one_engine_stands_twice_in_a_graph(platform: Platform) -> None:
    session = await platform.submit(a_chain("echo", "echo"), *range(MANY))
    assert await platform.finished(session) == list(range(MANY))


async def test_many_sessions_share_the_slots(platform: Platform) -> None:
    plans = [a_chain("echo", "second") for _ in range(40)]
    sessions = [await platform.submit(plan, at) for at, plan in enumerate(plans)]
    got = await asyncio.gather(*(platform.finished(session) for session in sessions))
    assert got == [[at] for at in range(40)]
