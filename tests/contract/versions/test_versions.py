"""Versions side by side: what an older one left in Redis, and what it does while this one is at work.

``record.py`` says how the files were made. A file is of a version that people run; none is ever changed.
"""

import gzip
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from apps.sessions.checkup import Checkup
from apps.sessions.store import PlacementRule
from blueengine import ledger
from blueengine.kit.redis_address import RedisAddress
from blueengine.kit.redis_link import Link, Script
from blueengine.wire import codec, names
from blueengine.wire.plan import heard_first
from blueengine.wire.report import Outcome
from tests.integration.ledger.world import LONG, World
from tests.kit.builders import a_plan, a_session_id, start_data
from tests.kit.ledger_view import LedgerView
from tests.kit.servers import RealRedis

FILES: Final = sorted(Path(__file__).parent.glob("*.json.gz"))
NEAR: Final = PlacementRule("pack", "host")


@dataclass
class Older:
    """A recorded version."""

    sessions: Mapping[str, str]
    state: list[Any]
    scripts: Mapping[str, Script]


@pytest.fixture(params=FILES, ids=lambda path: path.name.partition(".")[0])
def older(request: pytest.FixtureRequest) -> Older:
    recorded = json.loads(gzip.decompress(request.param.read_bytes()))
    scripts = {name: Script(name, text) for name, text in recorded["scripts"].items()}
    return Older(recorded["sessions"], recorded["state"], scripts)


@asynccontextmanager
async def a_world(server: RealRedis, scripts: Mapping[str, Script]) -> AsyncIterator[World]:
    link = Link(RedisAddress.from_url(server.url), scripts=scripts, patience=5)
    await link.open()
    try:
        yield World(link)
    finally:
        await link.close()


@pytest.fixture
async def world(every_redis_server: RealRedis) -> AsyncIterator[World]:
    async with a_world(every_redis_server, ledger.load()) as world:
        yield world


@pytest.fixture
async def old_world(every_redis_server: RealRedis, older: Older) -> AsyncIterator[World]:
    """The same Redis, spoken to by the scripts of the older version."""
    async with a_world(every_redis_server, older.scripts) as world:
        yield world


def commands(state: list[Any]) -> Iterator[tuple[str | bytes, ...]]:
    """Return what makes these keys."""
    for raw_key, kind, value in state:
        key, kind = bytes.fromhex(raw_key), bytes.fromhex(kind)
        match kind:
            case b"hash":
                yield ("HSET", key, *map(bytes.fromhex, value))
            case b"set":
                yield ("SADD", key, *map(bytes.fromhex, value))
            case b"zset":
                words = list(map(bytes.fromhex, value))
                pairs = zip(words[1::2], words[::2], strict=True)
                yield ("ZADD", key, *(word for pair in pairs for word in pair))
            case b"list":
                yield ("RPUSH", key, *map(bytes.fromhex, value))
            case b"stream":
                for entry, fields in value:
                    yield ("XADD", key, bytes.fromhex(entry), *map(bytes.fromhex, fields))
                if not value:  # an empty one is there, too
                    yield ("XADD", key, "MAXLEN", "0", "*", "t", "none")
            case _:
                yield ("SET", key, bytes.fromhex(value))


async def restore(link: Link, state: list[Any]) -> None:
    for command in commands(state):
        await link.send(*command)


async def old_submit(world: World, engines: list[str], *, rank: int = 0) -> str:
    """Submit as the older gateway does: its script takes fewer arguments than today's."""
    plan, session = a_plan(engines), a_session_id(rank=rank)
    words = (
        session, "process-workflow", rank, codec.encode(plan),
        ",".join(f"{name}={node.engine}" for name, node in plan.nodes.items()),
        ",".join(heard_first(plan)), codec.encode(start_data(b"{}")), "Out", -1, "",
        *(int(LONG * 1e6),) * 4, 1, b"{}", "", "", "", "", 0, 0,
    )  # fmt: skip
    assert (await world.link.run("submit", *words))[0] == b"created"
    return session


async def faults(world: World) -> list[str]:
    """Return what does not fit together, once what only this version keeps was put right."""
    _ = [one async for one in Checkup(world.link, fix=True, heartbeat_timeout=LONG).run()]
    return (await LedgerView.take(world.link)).faults()


async def test_the_checkup_finds_no_more_than_indexes_the_older_version_did_not_have(
    world: World, older: Older
) -> None:
    await restore(world.link, older.state)
    found = [one.code async for one in Checkup(world.link, heartbeat_timeout=LONG).run()]
    assert set(found) <= {"place"}
    assert await faults(world) == []


async def test_everything_the_older_version_left_goes_on(world: World, older: Older) -> None:
    await restore(world.link, older.state)
    at = older.sessions
    assert await world.results(at["ended"]) == [b"one", b"two"]
    assert (await world.record(at["running"])).labels == {"team": "docs"}
    assert (await world.record(at["running"])).placement == PlacementRule()
    assert await world.status(at["failed"]) == "failed"
    for name in ("a-1", "b-1", "eager-1"):
        assert await world.instance(name).beat() == b"ok"
    assert await world.close(await world.part(at["stopping"]), Outcome.STOPPED) == "canceled"
    for part in await world.parts(at["running"]):
        assert await world.output(part, 1, b"second") == "ok"
        await world.finish(part)
    assert await world.status(at["running"]) == "finished"
    await world.manage()
    for name in ("again", "waiting", "eager"):
        for part in await world.run(at[name]):
            await world.finish(part)
        assert await world.status(at[name]) == "finished", name
    assert (await world.store.stop(at["never"], "enough"))[0] == "canceled"
    for session in at.values():
        assert await world.store.forget(session)
    assert await faults(world) == []
    view = await world.view()
    assert (view.sessions, view.held, view.demand, view.pending_list) == ({}, {}, {}, {})


async def test_older_engines_work_for_newer_services(world: World, old_world: World) -> None:
    for host in ("x", "y"):
        await old_world.attend("a", 2, name=f"a-{host}", host=host)
        await old_world.attend("b", 2, name=f"b-{host}", host=host)
    for _ in range(6):  # more than there are slots, if one were lost
        session = await world.submit(["a", "b"], placement=NEAR)
        parts = await old_world.run(session)
        for part in parts:
            assert await old_world.output(part, 0, b"x") == "ok"
            await old_world.finish(part)
        assert await world.status(session) == "finished"
    await old_world.instance("a-x").drain()
    await old_world.instance("b-x").leave("scaled in")
    session = await world.submit(["a", "b"], placement=NEAR)
    assert {part.instance for part in await world.parts(session)} == {"a-y", "b-y"}
    assert await faults(world) == []


async def test_newer_engines_work_for_older_services(world: World, old_world: World) -> None:
    await world.attend("a", 1, name="a-x", host="x", zone="eu")
    await world.attend("b", 1, name="b-x", host="x", zone="eu")
    first = await old_submit(old_world, ["a", "b"])
    second = await old_submit(old_world, ["a", "b"], rank=1)
    assert await world.status(second) == "pending"
    for session in (first, second):
        await old_world.manage()
        for part in await world.run(session):
            assert await world.output(part, 0, b"x") == "ok"
            await world.finish(part)
        assert await world.status(session) == "finished"
    held = await old_submit(old_world, ["a", "b"])
    await world.run(held)
    assert await old_world.die("a-x", "b-x") == ["a-x", "b-x"]
    assert await world.status(held) == "failed"
    assert await faults(world) == []


async def test_a_session_may_be_begun_by_one_version_and_ended_by_the_other(
    world: World, old_world: World
) -> None:
    await world.attend("a", 1, name="a-1", host="x")
    await old_world.attend("b", 1, name="b-1", host="x")
    for _ in range(3):
        session = await old_submit(old_world, ["a", "b"])
        one, two = await world.parts(session)
        await world.ready(one)
        await old_world.ready(two)
        await world.finish(one)
        await old_world.finish(two)
        assert await world.status(session) == "finished"
        session = await world.submit(["a", "b"], placement=NEAR)
        await world.run(session)
        assert (await old_world.store.stop(session, "enough"))[0] == "stopping"
        for part, its in zip(await world.parts(session), (world, old_world), strict=True):
            await its.close(part, Outcome.STOPPED)
        assert await world.status(session) == "canceled"
    await old_world.manage()
    await world.manage()
    assert await faults(world) == []


async def test_nothing_of_the_state_is_unknown_to_this_version(older: Older) -> None:
    known = [names.TEMPLATES[name].partition("{")[0] for name in names.TEMPLATES]
    for raw_key, *_ in older.state:
        key = bytes.fromhex(raw_key).decode()
        assert any(key.startswith(prefix) for prefix in known), key
