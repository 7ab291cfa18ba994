"""The clients: they submit over REST until they are told that a session is there, and watch it."""

import asyncio
import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from blueengine.wire.lifecycle import TERMINAL
from tests.chaos.conversing import BrokenOffError, Shown, converse
from tests.chaos.sessions import GENERATION, Wanted, a_session

WAIT_SECONDS: Final = 2
REST_SECONDS: Final = 0.1
BUSY: Final = {429, 503}
"""What a client is answered that should come again."""
CONFLICT: Final = 409
OVER: Final = {"session-ended", "channel-unread"}
"""Why a session takes no more messages."""


@dataclass
class Sent:
    """A session that was acknowledged, or is about to be."""

    key: str
    tenant: str
    wanted: Wanted
    session: str = ""
    submitted: float = 0.0
    acknowledged: float = 0.0
    ended: float = 0.0
    status: str = ""
    """The terminal status that the client was told."""
    statuses: list[str] = field(default_factory=list)
    pushed: int = 0
    """Messages that were taken."""
    again: int = 0
    """Requests that were repeated because nothing is known of their answer, and were known already."""
    shown: Shown | None = None
    """What came over a WebSocket; None where there is none."""

    def path(self, hook: int) -> str:
        """Return where its receiver is told of this session by one of its webhooks."""
        return f"/{self.tenant}/{self.key}/{hook}"


class Clients:
    """A steady number of clients, each with one session after the other."""

    def __init__(
        self,
        urls: Sequence[str],
        seed: int,
        *,
        count: int,
        keys: Mapping[str, str],
        receivers: Sequence[str],
        generation: int = GENERATION,
    ) -> None:
        """Make clients.

        Args:
            urls: Of the gateways.
            seed: The same seed makes the same sessions.
            count: How many clients.
            keys: Tenant -> its API key; clients have them in turn.
            receivers: URLs of those that webhooks go to.
            generation: Whose sessions they are.
        """
        self._urls = urls
        self._seed = seed
        self._count = count
        self._keys = keys
        self._receivers = receivers
        self._generation = generation
        self.sent: list[Sent] = []
        self.findings: list[str] = []
        self.answers: dict[int, int] = {}
        """Status code -> how many; 0: the connection broke."""
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Go on until told to stop, and every session has ended."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._count):
                group.create_task(self._client(number))

    def stop(self) -> None:
        """Submit nothing more."""
        self._stop.set()

    @property
    def open(self) -> list[Sent]:
        """Return the sessions that have not ended, as far as the clients know."""
        return [one for one in self.sent if one.session and not one.status]

    async def _client(self, number: int) -> None:
        rng = random.Random(f"{self._seed} {number}")
        # what is submitted does not depend on how often something had to be asked again
        makes = rng if self._generation == 1 else random.Random(f"{self._seed} {number} makes")
        loop = asyncio.get_running_loop()
        tenant, key = list(self._keys.items())[number % len(self._keys)]
        http = httpx.AsyncClient(
            timeout=httpx.Timeout(15, connect=3), headers={"Authorization": f"Bearer {key}"}
        )
        async with http:
            for at in itertools.count():
                if self._stop.is_set():
                    return
                wanted = a_session(
                    makes, receivers=len(self._receivers), generation=self._generation
                )
                one = Sent(f"{self._seed}-{number}-{at}", tenant, wanted)
                self.sent.append(one)
                one.submitted = loop.time()
                await self._one(http, one, rng)
                one.ended = loop.time()

    async def _one(self, http: httpx.AsyncClient, one: Sent, rng: random.Random) -> None:
        await self._submit(http, one, rng)
        one.acknowledged = asyncio.get_running_loop().time()
        if one.wanted.socket:
            await self._converse(one, rng, http.headers["Authorization"])
        elif one.wanted.pushes:
            await self._feed(http, one, rng)
        if one.wanted.stop_after is not None and not one.status:
            await asyncio.sleep(one.wanted.stop_after)
            await self._stop_it(http, one, rng)
        while not one.status:
            answer = await self._ask(http, rng, "GET", f"/api/v1/process-workflow/{one.session}")
            self._note(one, answer.json()["data"]["process"]["status"])
            if not one.status:
                await asyncio.sleep(REST_SECONDS)

    def _note(self, one: Sent, status: str) -> None:
        if not one.statuses or one.statuses[-1] != status:
            one.statuses.append(status)
        if status in TERMINAL:
            one.status = status

    async def _submit(self, http: httpx.AsyncClient, one: Sent, rng: random.Random) -> None:
        hooks = [
            hook.body(self._receivers[hook.receiver] + one.path(number))
            for number, hook in enumerate(one.wanted.hooks)
        ]
        waits = one.wanted.stop_after is None and not one.wanted.pushes
        wait = WAIT_SECONDS if rng.random() < 0.5 and waits else 0
        answer = await self._ask(
            http,
            rng,
            "POST",
            "/api/v1/process-workflow",
            json={**one.wanted.body, "webhooks": hooks, "waitTimeSecond": wait},
            headers={"Idempotency-Key": one.key},
        )
        one.session = answer.json()["data"]["sessionId"]
        self._note(one, answer.json()["data"]["process"]["status"])

    async def _feed(self, http: httpx.AsyncClient, one: Sent, rng: random.Random) -> None:
        """Push every message once, and end the channel; a session that ended takes no more."""
        url = f"/api/v1/sessions/{one.session}/channels/In"
        by_number = rng.random() < 0.5
        for number, message in enumerate(one.wanted.pushes):
            name: dict[str, Any] = {"headers": {"Idempotency-Key": f"{number}"}}
            if by_number:
                name = {"params": {"sequence": number}}
            answer = await self._ask(
                http, rng, "POST", url, fine=lambda code: code in {200, 202, 409},
                json=message, **name,
            )  # fmt: skip
            if answer.status_code == CONFLICT:
                if (kind := answer.json()["data"]["errors"][0]["type"]) not in OVER:
                    self.findings.append(f"{one.session} message {number}: {kind}")
                return
            taken = answer.json()["data"]
            if taken["sequence"] != number:
                self.findings.append(f"{one.session} message {number} is {taken}")
            one.pushed += 1
            one.again += taken["repeated"]
        await self._ask(http, rng, "POST", f"{url}/end", fine=lambda code: code in {200, 202, 409})

    async def _converse(self, one: Sent, rng: random.Random, authorization: str) -> None:
        """Push and read over WebSockets, one after the other, until the session has ended."""
        one.shown = Shown(one.wanted.pushes)
        while not one.shown.over:
            url = rng.choice(self._urls).replace("http://", "ws://")
            url += f"/api/v1/sessions/{one.session}/ws"
            try:
                await converse(url, one.shown, authorization)
            except BrokenOffError as exc:
                self._count_answer(exc.status)
                if exc.status not in {0, *BUSY}:
                    self.findings.append(f"{one.session} socket: {exc.status} {exc}")
                await asyncio.sleep(REST_SECONDS)
        one.pushed, one.again = one.shown.pushed, one.shown.again
        self.findings += [f"{one.session} socket: {text}" for text in one.shown.findings]

    async def _stop_it(self, http: httpx.AsyncClient, one: Sent, rng: random.Random) -> None:
        url = f"/api/v1/sessions/{one.session}/stop"
        await self._ask(http, rng, "POST", url, fine=lambda code: code in {200, 202, 409})

    async def _ask(
        self,
        http: httpx.AsyncClient,
        rng: random.Random,
        method: str,
        path: str,
        *,
        fine: Callable[[int], bool] = lambda code: code in {200, 202},
        **more: Any,
    ) -> httpx.Response:
        """Ask one gateway after the other until one answers."""
        while True:
            url = rng.choice(self._urls)
            try:
                answer = await http.request(method, url + path, **more)
            except httpx.TransportError:
                self._count_answer(0)
                await asyncio.sleep(REST_SECONDS)
                continue
            self._count_answer(answer.status_code)
            if fine(answer.status_code):
                return answer
            if answer.status_code not in BUSY:
                self.findings.append(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
            await asyncio.sleep(REST_SECONDS)

    def _count_answer(self, code: int) -> None:
        self.answers[code] = self.answers.get(code, 0) + 1
