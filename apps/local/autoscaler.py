"""Starts engine processes when sessions need them, from zero, and stops those that idle.

It is told, not asking: the ledger publishes an engine's id whenever a session has to wait for a
slot. A slow tick does the rest (stopping, starts to be tried again). The decisions are in
``scaling``; here is what carries them out, over two ports so that tests need no server.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from apps.local.catalogue import LocalEngine
from apps.local.processes import all_of, describe_exit
from apps.local.scaling import HEALTHY_SECONDS, Failures, Instance, Scale
from blueengine.errors import BlueEngineError
from blueengine.ids import instance_id
from blueengine.kit import aio

log = logging.getLogger(__name__)

TICK_SECONDS: Final = 1.0
START_SECONDS: Final = 120.0
"""A process that does not attend within this time counts as a failed start."""
IDLE_STOP_SECONDS: Final = 15.0
"""An idle instance that ignores SIGTERM for so long is killed."""


@dataclass(frozen=True, kw_only=True)
class Attendance:
    """An instance as the ledger knows it."""

    id: str
    draining: bool
    held: int
    idle_seconds: float
    """Since it attended or was last sent a command."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """An engine's load."""

    demand: int
    attendances: tuple[Attendance, ...]


class Ledger(Protocol):
    """What the autoscaler reads of the ledger and tells it."""

    async def load(self, engine: str) -> Load:
        """Return the engine's load now."""

    async def drain_if_idle(self, instance: str) -> bool:
        """Keep sessions off an instance that holds none; False when it holds one."""

    async def gone(self, instance: str, reason: str) -> None:
        """Say that an instance's process has ended; nothing happens if it left by itself."""

    async def trouble(self, engine: str, reason: str) -> None:
        """Keep why the engine cannot be started, for those who wait; empty: it can."""


class Running(Protocol):
    """A started engine process."""

    @property
    def pid(self) -> int:
        """Its process id."""

    @property
    def last_line(self) -> str:
        """The last line it wrote."""

    async def wait(self) -> int:
        """Wait for its end; the exit code."""

    async def stop(self, *, grace: float) -> int:
        """Ask it to end, make it after ``grace`` seconds; the exit code."""

    async def kill(self) -> int:
        """End it now; the exit code."""


class Launcher(Protocol):
    """Starts engine processes."""

    async def start(self, engine: LocalEngine, instance: str, number: int) -> Running:
        """Start ``engine`` as ``instance``; ``number`` is free among those that run."""


@dataclass(kw_only=True, eq=False)
class _Run:
    """One process of ours."""

    instance: str
    number: int
    process: Running
    started_at: float
    attended_at: float | None = None
    stopping: bool = False


class _Engine:
    """What is known of one engine."""

    def __init__(self, engine: LocalEngine, scale: Scale) -> None:
        self.engine = engine
        self.scale = scale
        self.runs: dict[str, _Run] = {}
        self.looking = asyncio.Lock()

    def free_number(self) -> int:
        taken = {run.number for run in self.runs.values()}
        return next(number for number in range(1, len(taken) + 2) if number not in taken)


class Autoscaler:
    """Scales all local engines. Callers: any task of one event loop."""

    def __init__(
        self,
        ledger: Ledger,
        launcher: Launcher,
        engines: Mapping[str, LocalEngine],
        *,
        most: int,
        cooldown: float,
        notice: Callable[[str], None],
    ) -> None:
        """Scale ``engines``, each to ``most`` instances; ``notice`` is told what a person wants to know."""
        self._ledger = ledger
        self._launcher = launcher
        self._notice = notice
        self._engines = {
            engine.id: _Engine(
                engine, Scale(concurrency=engine.settings.concurrency, most=most, cooldown=cooldown)
            )
            for engine in engines.values()
        }
        self._dirty = set(self._engines)
        self._wake = asyncio.Event()
        self._wake.set()
        self._background: set[asyncio.Task[None]] = set()
        self._closing = False

    def wake(self, engine: str) -> None:
        """Have this engine looked at now."""
        if engine in self._engines:
            self._dirty.add(engine)
            self._wake.set()

    def wake_all(self) -> None:
        """Have all engines looked at now: news may have been missed."""
        self._dirty.update(self._engines)
        self._wake.set()

    async def step(self) -> None:
        """Wait for news or the tick, and act."""
        if not await aio.nap(self._wake, TICK_SECONDS):
            self._dirty.update(self._engines)
        dirty, self._dirty = self._dirty, set()
        try:
            await all_of([self._look(self._engines[name]) for name in sorted(dirty)])
        except BaseException:
            self._dirty |= dirty
            raise

    async def close(self, *, grace: float) -> None:
        """Let all instances drain, at most ``grace`` seconds, and end."""
        self._closing = True
        runs = [run for state in self._engines.values() for run in state.runs.values()]
        for run in runs:
            run.stopping = True
        await all_of([run.process.stop(grace=grace) for run in runs])
        while self._background:
            await asyncio.wait(self._background)

    # -- one engine -------------------------------------------------------------------------------

    async def _look(self, state: _Engine) -> None:
        async with state.looking:
            if self._closing:
                return
            load = await self._ledger.load(state.engine.id)
            now = asyncio.get_running_loop().time()
            await self._note_attending(state, load, now)
            decision = state.scale.decide(now, load.demand, self._instances(state, load, now))
            for _ in range(decision.start):
                await self._start(state)
            for instance in decision.stop:
                await self._stop_idle(state, state.runs[instance])
            self._kill_late(state, now)

    def _instances(self, state: _Engine, load: Load, now: float) -> list[Instance]:
        """Return what attends and what of ours is on its way there; nothing that is leaving."""
        found = [
            Instance(
                id=seen.id,
                attending=True,
                held=seen.held,
                active_at=now - seen.idle_seconds,
                ours=seen.id in state.runs,
            )
            for seen in load.attendances
            if not seen.draining and not self._is_leaving(state, seen.id)
        ]
        known = {seen.id for seen in load.attendances}
        starting = [
            Instance(id=run.instance, attending=False)
            for run in state.runs.values()
            if run.instance not in known and not run.stopping and run.attended_at is None
        ]
        return found + starting

    @staticmethod
    def _is_leaving(state: _Engine, instance: str) -> bool:
        run = state.runs.get(instance)
        return run is not None and run.stopping

    async def _note_attending(self, state: _Engine, load: Load, now: float) -> None:
        for seen in load.attendances:
            run = state.runs.get(seen.id)
            if run is None:
                continue
            if run.attended_at is None:
                run.attended_at = now
                log.info("%s attends after %.2f s", run.instance, now - run.started_at)
                if state.scale.failures.reason:
                    state.scale.failures.reason = ""
                    await self._ledger.trouble(state.engine.id, "")
            elif state.scale.failures.count and now - run.attended_at >= HEALTHY_SECONDS:
                state.scale.failures = Failures()

    async def _start(self, state: _Engine) -> None:
        instance = instance_id(state.engine.id, entropy=os.urandom)
        number = state.free_number()
        now = asyncio.get_running_loop().time()
        try:
            process = await self._launcher.start(state.engine, instance, number)
        except OSError as exc:
            reason = self._failed(state, f"it cannot be started: {exc}")
            await self._ledger.trouble(state.engine.id, reason)
            return
        run = _Run(instance=instance, number=number, process=process, started_at=now)
        state.runs[instance] = run
        self._notice(f"{state.engine.id}: starting instance {number} (pid {process.pid})")
        self._in_background(self._watch(state, run), f"watch-{instance}")

    async def _stop_idle(self, state: _Engine, run: _Run) -> None:
        if run.stopping or not await self._ledger.drain_if_idle(run.instance):
            return
        run.stopping = True
        self._notice(f"{state.engine.id}: stopping instance {run.number}, it idles")
        self._in_background(_stopped(run.process), f"stop-{run.instance}")

    def _kill_late(self, state: _Engine, now: float) -> None:
        for run in state.runs.values():
            if (
                run.attended_at is None
                and not run.stopping
                and now - run.started_at > START_SECONDS
            ):
                log.warning("%s did not attend in time", run.instance)
                self._in_background(_killed(run.process), f"kill-{run.instance}")

    async def _watch(self, state: _Engine, run: _Run) -> None:
        """See a process to its end and tell everybody."""
        code = await run.process.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(run.process.pid, signal.SIGKILL)  # workers that outlived their engine
        how = describe_exit(code)
        # together, or a look in between would start the next one at once
        del state.runs[run.instance]
        reason = "" if run.stopping else self._unasked_end(state, run, how)
        try:
            # found at once, not only when its heartbeat is overdue
            await self._ledger.gone(run.instance, f"the process of {run.instance} {how}")
            if reason:
                await self._ledger.trouble(state.engine.id, reason)
        except BlueEngineError as exc:
            log.warning("%s %s, and the ledger cannot be told: %s", run.instance, how, exc)
        self.wake(state.engine.id)

    def _unasked_end(self, state: _Engine, run: _Run, how: str) -> str:
        """Note an end nobody asked for; why the engine cannot be started, empty when it can."""
        now = asyncio.get_running_loop().time()
        if run.attended_at is not None and now - run.attended_at >= HEALTHY_SECONDS:
            state.scale.failures = Failures()
            self._notice(f"{state.engine.id}: instance {run.number} {how}: {run.process.last_line}")
            return ""
        return self._failed(state, f"{how}: {run.process.last_line}")

    def _failed(self, state: _Engine, reason: str) -> str:
        now = asyncio.get_running_loop().time()
        wait = state.scale.failures.add(now, reason)
        self._notice(f"{state.engine.id}: {reason} (trying again in {wait:.1f} s if needed)")
        return reason

    def _in_background(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


async def _stopped(process: Running) -> None:
    await process.stop(grace=IDLE_STOP_SECONDS)


async def _killed(process: Running) -> None:
    await process.kill()
