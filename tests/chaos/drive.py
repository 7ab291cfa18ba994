"""The clients: they submit over REST until they are told that a session is there, and watch it."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from blueengine.wire.lifecycle import TERMINAL
from tests.chaos.sessions import Wanted, a_session

WAIT_SECONDS: Final = 2
REST_SECONDS: Final = 0.1


@dataclass
class Sent:
    """A session that was acknowledged, or is about to be."""

    key: str
    wanted: Wanted
    session: str = ""
    submitted: float = 0.0
    acknowledged: float = 0.0
    ended: float = 0.0
    status: str = ""
    """The terminal status that the client was told."""
    statuses: list[str] = field(default_factory=list)


class Clients:
    """A steady number of clients, each with one session after the other."""

    def __init__(self, urls: Sequence[str], seed: int, *, count: int) -> None:
        self._urls = urls
        self._seed = seed
        self._count = count
        self.sent: list[Sent] = []
        self.findings: list[str] = []
        self.answers: dict[int, int] = {}
        """Status code -> how many; 0: the connection broke."""
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Go on until told to stop, and every session has ended."""
        patience = httpx.Timeout(15, connect=3)
        async with httpx.AsyncClient(timeout=patience) as http, asyncio.TaskGroup() as group:
            for number in range(self._count):
                group.create_task(self._client(http, number))

    def stop(self) -> None:
        """Submit nothing more."""
        self._stop.set()

    @property
    def open(self) -> list[Sent]:
        """Return the sessions that have not ended, as far as the clients know."""
        return [one for one in self.sent if one.session and not one.status]

    async def _client(self, http: httpx.AsyncClient, number: int) -> None:
        rng = random.Random(f"{self._seed} {number}")
        loop = asyncio.get_running_loop()
        while not self._stop.is_set():
            one = Sent(f"{self._seed}-{number}-{len(self.sent)}", a_session(rng))
            self.sent.append(one)
            one.submitted = loop.time()
            await self._submit(http, one, rng)
            one.acknowledged = loop.time()
            if one.wanted.stop_after is not None and not one.status:
                await asyncio.sleep(one.wanted.stop_after)
                await self._stop_it(http, one, rng)
            while not one.status:
                answer = await self._ask(
                    http, rng, "GET", f"/api/v1/process-workflow/{one.session}"
                )
                self._note(one, answer.json()["data"]["process"]["status"])
                if not one.status:
                    await asyncio.sleep(REST_SECONDS)
            one.ended = loop.time()

    def _note(self, one: Sent, status: str) -> None:
        if not one.statuses or one.statuses[-1] != status:
            one.statuses.append(status)
        if status in TERMINAL:
            one.status = status

    async def _submit(self, http: httpx.AsyncClient, one: Sent, rng: random.Random) -> None:
        wait = WAIT_SECONDS if rng.random() < 0.5 and one.wanted.stop_after is None else 0
        answer = await self._ask(
            http,
            rng,
            "POST",
            "/api/v1/process-workflow",
            json={**one.wanted.body, "waitTimeSecond": wait},
            headers={"Idempotency-Key": one.key},
        )
        one.session = answer.json()["data"]["sessionId"]
        self._note(one, answer.json()["data"]["process"]["status"])

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
            if answer.status_code != 503:
                self.findings.append(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
            await asyncio.sleep(REST_SECONDS)

    def _count_answer(self, code: int) -> None:
        self.answers[code] = self.answers.get(code, 0) + 1
