"""Short words for script tests: ``await world.submit("ocr")``, ``await world.ready(part)`` …"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from apps.sessions.store import SessionRecord, SessionStore, Submitted
from blueengine.kit.redis_link import Link
from blueengine.ledger.instance import InstanceLedger
from blueengine.wire import codec, names
from blueengine.wire.envelope import Stored
from blueengine.wire.report import Fault, Outcome, Tally
from tests.kit.builders import a_result, a_session, an_engine_spec
from tests.kit.ledger_view import LedgerView, Slot

LONG: Final = 1000.0


@dataclass(frozen=True)
class Part:
    """One node of one attempt, and the instance that plays it."""

    instance: str
    session: str
    attempt: int
    node: str

    @property
    def key(self) -> tuple[str, int, str]:
        return self.session, self.attempt, self.node


class World:
    """A ledger with instances that do what the test says."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.store = SessionStore(link)
        self._numbers = itertools.count(1)
        self._said = itertools.count()

    # -- instances --------------------------------------------------------------------------------

    async def attend(
        self, engine: str = "echo", slots: int = 1, *, name: str = "", **record: str
    ) -> str:
        """Bring an instance into attendance; its id."""
        name = name or f"{engine}-{next(self._numbers)}"
        spec = an_engine_spec(engine, concurrency=slots)
        assert await self.instance(name).attend(spec, record) == b"ok"
        return name

    def instance(self, name: str) -> InstanceLedger:
        return InstanceLedger(self.link, name, heartbeat_timeout=LONG)

    async def ready(self, part: Part) -> str:
        return _text(await self.instance(part.instance).ready(part.key))

    async def refuse(self, part: Part, *, limit: int = 3) -> str:
        fault = Fault(code="refused", message="not this one", instance=part.instance)
        return _text(await self.instance(part.instance).refuse(part.key, fault, limit=limit))

    async def output(self, part: Part, first: int, *payloads: bytes, channel: str = "Out") -> str:
        items = [codec.encode(a_result(payload)) for payload in payloads]
        return _text(await self.instance(part.instance).output(part.key, channel, first, items))

    async def notice(
        self, part: Part, kind: str, body: bytes = b"{}", *, number: int | None = None
    ) -> str:
        number = next(self._said) if number is None else number
        return _text(await self.instance(part.instance).notice(part.key, number, kind, body))

    async def finish(self, part: Part, **changes: Any) -> str:
        return await self.close(part, Outcome.FINISHED, **changes)

    async def fail(self, part: Part, message: str = "it broke") -> str:
        fault = Fault(code="failed", message=message, node=part.node)
        return await self.close(part, Outcome.FAILED, fault)

    async def crash(self, part: Part) -> str:
        fault = Fault(code="worker-died", message="exit 137", node=part.node)
        return await self.close(part, Outcome.FAILED, fault, again=True)

    async def close(
        self, part: Part, outcome: Outcome, fault: Fault | None = None, **changes: Any
    ) -> str:
        ledger = self.instance(part.instance)
        return _text(await ledger.close(part.key, outcome, fault, Tally(calls=1), **changes))

    async def die(self, *instances: str) -> list[str]:
        """Let heartbeats be overdue, with somebody watching."""
        await self.store.reap(heartbeat_timeout=LONG)
        for when, name in enumerate(instances):
            await self.link.send("ZADD", names.DEADLINES, "XX", when, name)
        return await self.store.reap(heartbeat_timeout=LONG)

    # -- sessions ---------------------------------------------------------------------------------

    async def submit(
        self, engines: str | Sequence[str] | Mapping[str, str] = "echo", **changes: Any
    ) -> str:
        """Submit a chain of engines; the session's id."""
        return (await self.submitted(engines, **changes)).session

    async def submitted(
        self,
        engines: str | Sequence[str] | Mapping[str, str] = "echo",
        *,
        specs_version: int = -1,
        gateway: str = "",
        max_pending: int = 0,
        max_pending_engine: int = 0,
        **changes: Any,
    ) -> Submitted:
        if isinstance(engines, str):
            engines = [engines]
        new = a_session(engines, **{"start_timeout": LONG, "stop_grace": LONG} | changes)
        return await self.store.submit(
            new,
            specs_version=specs_version,
            gateway=gateway,
            max_pending=max_pending,
            max_pending_engine=max_pending_engine,
        )

    async def part(self, session: str, node: str = "n1") -> Part:
        record = await self.record(session)
        row = next(row for row in record.parts if row.node == node)
        assert row.instance, f"{node} has no instance"
        return Part(row.instance, session, record.attempt, node)

    async def parts(self, session: str) -> list[Part]:
        record = await self.record(session)
        return [await self.part(session, row.node) for row in record.parts]

    async def run(self, session: str) -> list[Part]:
        """Let every part be ready; the parts."""
        parts = await self.parts(session)
        for part in parts:
            assert await self.ready(part) != "stale"
        return parts

    async def record(self, session: str) -> SessionRecord:
        record = await self.store.read(session)
        assert record, "no such session"
        return record

    async def status(self, session: str) -> str:
        return (await self.record(session)).status

    async def results(self, session: str, channel: str = "Out") -> list[bytes]:
        stored: list[Stored] = await self.store.results(session, channel, after=0, limit=1000)
        return [item.payload for item in stored]

    # -- everything -------------------------------------------------------------------------------

    async def view(self) -> LedgerView:
        return await LedgerView.take(self.link)

    async def free(self, engine: str = "echo") -> int:
        return int(sum((await self.view()).free.get(engine, {}).values()))

    async def woken(self) -> list[str]:
        """Engines with a wake-up, which this takes away."""
        view = await self.view()
        await self.link.send("DEL", names.WAKE)
        return [engine for _, engine in view.wakes]

    async def manage(self) -> int:
        """Do what management does with wake-ups until there are none; how many were placed."""
        placed = 0
        while engines := await self.woken():
            for engine in engines:
                placed += await self.store.match(engine)
        return placed

    async def commands(self, instance: str) -> list[dict[str, str]]:
        return (await self.view()).commands.get(instance, [])

    async def kinds(self, instance: str) -> list[str]:
        return [fields["t"] for fields in await self.commands(instance)]

    async def overdue(self, index: str, member: str) -> int:
        """Let a timer run out now; how many were acted on."""
        assert await self.link.send("ZADD", index, "XX", "CH", 0, member) == 1
        return (await self.store.due())[0]

    async def ignore_stop(self, part: Part) -> int:
        timer = f"stop {part.session} {part.attempt} {part.node} {part.instance}"
        return await self.overdue(names.TIMERS, timer)

    async def held(self, instance: str) -> set[Slot]:
        return (await self.view()).held.get(instance, set())


def _text(reply: bytes) -> str:
    return reply.decode()
