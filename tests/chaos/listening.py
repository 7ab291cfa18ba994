"""Receivers of webhooks that are not always well, and all that they have heard."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from standardwebhooks import WebhookVerificationError

from tests.kit.hooks import Answer, Received, Receiver, answer

Mood = Literal["well", "sick", "slow", "mute"]
RECEIVERS: Final = 2


@dataclass
class Heard:
    """A request that came."""

    received: Received
    signed: bool
    answered: bool = False
    """It was told that the event is taken; whether it heard that is not known."""


class Ear:
    """One receiver: it listens, notes everything, and answers as its mood is."""

    def __init__(self, seed: str, *, patience: float) -> None:
        """Speak to a platform that waits for an answer for ``patience`` seconds."""
        self.receiver = Receiver(self._behave)
        self.mood: Mood = "well"
        self.busy = False
        """A fault is at work here."""
        self.heard: list[Heard] = []
        self.secrets: Mapping[str, str] = {}
        """Tenant -> what its events are signed with."""
        self._patience = patience
        self._rng = random.Random(seed)

    async def _behave(self, request: Received) -> Answer:
        heard = Heard(request, self._is_signed(request))
        self.heard.append(heard)
        match self.mood:
            case "sick":
                code = self._rng.choice([429, 500, 503])
                return answer(code, b"", **({"retry_after": "1"} if code == 429 else {}))
            case "mute":
                return None
            case "well":
                pass
            case "slow":  # sometimes longer than anybody waits for it
                await asyncio.sleep(self._rng.uniform(0.0, 1.5) * self._patience)
        heard.answered = True
        return answer()

    def _is_signed(self, request: Received) -> bool:
        tenant = request.path.split("/")[2]
        try:
            return request.verified(self.secrets[tenant])
        except WebhookVerificationError:
            return False

    async def suffer(self, kind: str, seconds: float) -> None:
        """Be away, or in a mood, for so long."""
        if kind == "away":
            await self.receiver.down()
            await asyncio.sleep(seconds)
            await self.receiver.up()
            return
        moods: dict[str, Mood] = {"sick": "sick", "slow": "slow", "mute": "mute"}
        self.mood = moods[kind]
        await asyncio.sleep(seconds)
        self.mood = "well"
