"""An engine that does what a test tells it: the ledger's side of one, without the SDK's runtime."""

from collections.abc import Sequence
from typing import Any, Final, Self

import msgspec

from blueengine import ledger
from blueengine.kit.redis_address import RedisAddress
from blueengine.kit.redis_link import Link
from blueengine.ledger.instance import SCRIPTS, InstanceLedger
from blueengine.wire import codec, command, names
from blueengine.wire.envelope import Stored
from blueengine.wire.plan import Feed, StartData
from blueengine.wire.report import Fault, Outcome, Tally
from blueengine.wire.spec import EngineSpec
from tests.kit.wait import until

ECHO: Final = EngineSpec(
    id="echo",
    name="Echo",
    concurrency=2,
    inputs={"Control": "JSON", "Image": "Image"},
    outputs={"Result": "JSON", "Picture": "Image", "Words": "Text", "Status": "JSON"},
)


class FakeEngine:
    """One instance. Use it as an async context."""

    def __init__(self, url: str, spec: EngineSpec = ECHO) -> None:
        self.spec = spec
        self.instance = f"{spec.id}-instance"
        self._link = Link(RedisAddress.from_url(url), scripts=ledger.load(*SCRIPTS))
        self._ledger = InstanceLedger(self._link, self.instance, heartbeat_timeout=60)
        self._seen = 0

    async def __aenter__(self) -> Self:
        await self._link.open()
        await self.attend()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._link.close()

    async def attend(self, spec: EngineSpec | None = None) -> None:
        self.spec = spec or self.spec
        assert await self._ledger.attend(self.spec, {"host": "here"}) == b"ok"

    async def next_command(self) -> command.Command:
        """Wait for the next command to this instance."""

        async def unseen() -> list[list[list[bytes]]]:
            entries = await self._link.send("XRANGE", names.commands(self.instance), "-", "+")
            return entries[self._seen :]  # type: ignore[no-any-return]

        (_, fields), *_ = await until(unseen, what="a command to the engine")
        self._seen += 1
        return command.from_fields(fields)

    async def accept(self) -> "FakePart":
        """Wait for a session and accept it."""
        start = await self.next_command()
        assert isinstance(start, command.Start), start
        part = FakePart(self._ledger, start)
        assert await self._ledger.ready(part.key) in {b"go", b"wait"}
        return part


class FakePart:
    """This engine's part in one session."""

    def __init__(self, ledger: InstanceLedger, start: command.Start) -> None:
        self.key = (start.session, start.attempt, start.node)
        self.session = start.session
        self.feeds: Sequence[Feed] = (
            codec.decode(StartData, start.start_data).feeds if start.start_data else ()
        )
        self._ledger = ledger
        self._sent: dict[str, int] = {}
        self._said = 0

    async def output(self, channel: str, *items: Stored) -> None:
        first = self._sent.get(channel, 0)
        assert (
            await self._ledger.output(
                self.key, channel, first, [codec.encode(item) for item in items]
            )
            == b"ok"
        )
        self._sent[channel] = first + len(items)

    async def say(self, *values: object, channel: str = "Result") -> None:
        """Store JSON values."""
        raws = [msgspec.json.encode(value) for value in values]
        await self.output(channel, *[Stored("JSON", raw, size=len(raw)) for raw in raws])

    async def attach(self, channels: str) -> list[list[Any]]:
        """Take what was pushed to these channels ("x,y"); what comes then is a command each."""
        kept: list[list[Any]] = await self._ledger.attach(self.key, channels.split(","))
        return kept

    async def taken(self, channel: str, count: int) -> None:
        """Say that so many pushed messages are consumed."""
        await self._ledger.taken(self.key, channel, [self.key[2]], count)

    async def notice(self, kind: str, body: bytes) -> None:
        assert await self._ledger.notice(self.key, self._said, kind, body) == b"ok"
        self._said += 1

    async def finish(self) -> None:
        tally = Tally(messages_in=1, bytes_in=7, messages_out=1, bytes_out=9, calls=1, busy=1500)
        await self._ledger.close(self.key, Outcome.FINISHED, None, tally)

    async def stop(self) -> None:
        await self._ledger.close(self.key, Outcome.STOPPED, None, Tally())

    async def fail(self, message: str) -> None:
        fault = Fault(
            code="failed", message=message, engine="echo", node=self.key[2], traceback="Traceback …"
        )
        await self._ledger.close(self.key, Outcome.FAILED, fault, Tally())
