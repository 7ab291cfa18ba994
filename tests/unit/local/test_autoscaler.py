"""What the autoscaler does, with a ledger and processes that are not there, in virtual time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from apps.local.autoscaler import START_SECONDS, Attendance, Autoscaler, Load
from apps.local.catalogue import LocalEngine
from blueengine.errors import StoreAwayError
from blueengine.kit import aio
from blueengine.settings.engine import EngineSettings
from tests.kit.wait import until

pytestmark = pytest.mark.looptime


@dataclass
class FakeProcess:
    """A process that ends when it is told to."""

    instance: str
    last_line: str = "last words"
    pid: int = 2**22 + 1  # above what Linux gives: no such group
    grace: float | None = None
    _end: "asyncio.Future[int]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def end(self, code: int) -> None:
        if not self._end.done():
            self._end.set_result(code)

    async def wait(self) -> int:
        return await asyncio.shield(self._end)

    async def stop(self, *, grace: float) -> int:
        self.grace = grace
        self.end(0)
        return await self.wait()

    async def kill(self) -> int:
        self.end(-9)
        return await self.wait()


class World:
    """The ledger and the machine in one."""

    def __init__(self) -> None:
        self.demand = 0
        self.started: list[FakeProcess] = []
        self.attending: dict[str, Attendance] = {}
        self.gone_reasons: dict[str, str] = {}
        self.troubles: list[str] = []
        self.notices: list[str] = []
        self.refuse_drain = False
        self.broken = False
        self.attend_at_once = True
        self.start_error: OSError | None = None

    async def load(self, engine: str) -> Load:
        if self.broken:
            raise StoreAwayError("away")
        return Load(demand=self.demand, attendances=tuple(self.attending.values()))

    async def drain_if_idle(self, instance: str) -> bool:
        return not self.refuse_drain

    async def gone(self, instance: str, reason: str) -> None:
        self.attending.pop(instance, None)
        self.gone_reasons[instance] = reason

    async def trouble(self, engine: str, reason: str) -> None:
        self.troubles.append(reason)

    async def start(self, engine: LocalEngine, instance: str, number: int) -> FakeProcess:
        if self.start_error:
            raise self.start_error
        process = FakeProcess(instance)
        self.started.append(process)
        if self.attend_at_once:
            self.attend(instance)
        return process

    def attend(self, instance: str, *, held: int = 0, idle_seconds: float = 0.0) -> None:
        self.attending[instance] = Attendance(
            id=instance, draining=False, held=held, idle_seconds=idle_seconds
        )


@pytest.fixture
def world() -> World:
    return World()


@asynccontextmanager
async def scaling(world: World, **options: float) -> AsyncIterator[Autoscaler]:
    """Run an autoscaler of the engine ``echo``, which takes two sessions an instance."""
    settings = EngineSettings(id="echo", name="echo", concurrency=2, inputs={}, outputs={})
    scaler = Autoscaler(
        world,
        world,
        {"echo": LocalEngine(script=Path("echo.py"), settings=settings)},
        most=int(options.get("most", 3)),
        cooldown=options.get("cooldown", 30.0),
        notice=world.notices.append,
    )
    async with aio.Tasks() as tasks:
        tasks.start(aio.forever(scaler.step, name="autoscaler"), name="autoscaler")
        await asyncio.sleep(0.1)
        yield scaler
    await scaler.close(grace=7)


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_news_start_an_instance_in_the_same_moment(world: World) -> None:
    async with scaling(world) as scaler:
        assert not world.started
        began = asyncio.get_running_loop().time()
        world.demand = 1
        scaler.wake("echo")
        await settled()
        assert len(world.started) == 1
        assert asyncio.get_running_loop().time() == began


async def test_news_of_unknown_engines_are_nobodys(world: World) -> None:
    async with scaling(world) as scaler:
        world.demand = 1
        scaler.wake("stranger")
        await settled()
        assert not world.started


async def test_demand_that_nobody_told_of_is_seen_at_the_next_tick(world: World) -> None:
    async with scaling(world):
        world.demand = 1
        await asyncio.sleep(1.1)
        assert len(world.started) == 1


async def test_as_many_as_the_demand_needs_up_to_the_most(world: World) -> None:
    async with scaling(world, most=2) as scaler:
        world.demand = 9
        scaler.wake("echo")
        await asyncio.sleep(5)
        assert len(world.started) == 2


async def test_an_idle_instance_is_drained_then_stopped_after_the_cooldown(world: World) -> None:
    async with scaling(world, cooldown=30) as scaler:
        world.demand = 1
        scaler.wake("echo")
        await settled()
        (process,) = world.started
        world.demand = 0
        world.attend(process.instance, idle_seconds=0)
        await asyncio.sleep(25)
        world.attend(process.instance, idle_seconds=25)
        assert process.grace is None
        world.attend(process.instance, idle_seconds=100)
        await asyncio.sleep(10)
        assert process.grace is not None
        assert process.instance in world.gone_reasons
        assert not any("trying again" in notice for notice in world.notices)


async def test_one_that_turns_busy_in_the_last_moment_stays(world: World) -> None:
    async with scaling(world, cooldown=5) as scaler:
        world.demand = 1
        scaler.wake("echo")
        await settled()
        (process,) = world.started
        world.demand, world.refuse_drain = 0, True
        world.attend(process.instance, idle_seconds=100)
        await asyncio.sleep(60)
        assert process.grace is None


async def test_the_end_of_a_process_is_told_at_once(world: World) -> None:
    async with scaling(world) as scaler:
        world.demand = 1
        scaler.wake("echo")
        await settled()
        world.started[0].end(-9)
        await settled()
        assert "killed by SIGKILL" in world.gone_reasons[world.started[0].instance]


async def test_a_failed_start_is_named_and_tried_again_later_each_time(world: World) -> None:
    world.attend_at_once = False
    async with scaling(world) as scaler:
        world.demand = 1
        scaler.wake("echo")
        for count in range(1, 5):
            await asyncio.sleep(0.01)
            assert len(world.started) == count
            world.started[-1].end(1)
            before = asyncio.get_running_loop().time()
            await until(lambda: len(world.started) > count, 60)  # noqa: B023 - called before the next turn
            waited = asyncio.get_running_loop().time() - before
            assert waited >= 0.5 * 2 ** (count - 1)
        assert world.troubles[0] == "ended with exit code 1: last words"
        assert any("last words" in notice for notice in world.notices)
        world.attend(world.started[-1].instance)
        await asyncio.sleep(2)
        assert world.troubles[-1] == ""


async def test_a_program_that_cannot_be_run_is_a_failed_start(world: World) -> None:
    world.start_error = FileNotFoundError(2, "No such file")
    async with scaling(world) as scaler:
        world.demand = 1
        scaler.wake("echo")
        await settled()
        assert "No such file" in world.troubles[0]


async def test_an_instance_that_worked_for_long_is_replaced_at_once(world: World) -> None:
    async with scaling(world) as scaler:
        world.demand = 1
        scaler.wake("echo")
        await asyncio.sleep(20)
        world.started[0].end(-11)
        await settled()
        assert len(world.started) == 2


async def test_a_process_that_never_attends_is_killed(world: World) -> None:
    world.attend_at_once = False
    async with scaling(world) as scaler:
        world.demand = 1
        scaler.wake("echo")
        await asyncio.sleep(START_SECONDS + 2)
        assert "killed by SIGKILL" in world.troubles[0]


async def test_the_loop_goes_on_when_redis_is_back(world: World) -> None:
    async with scaling(world) as scaler:
        world.broken, world.demand = True, 1
        scaler.wake("echo")
        await asyncio.sleep(30)
        assert not world.started
        world.broken = False
        await asyncio.sleep(10)
        assert len(world.started) == 1


async def test_closing_stops_all_within_the_grace(world: World) -> None:
    async with scaling(world) as scaler:
        world.demand = 6
        scaler.wake("echo")
        await asyncio.sleep(2)
    assert [process.grace for process in world.started] == [7, 7, 7]
    assert len(world.gone_reasons) == 3
