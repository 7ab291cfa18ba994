"""What clients ask for; and what was asked before, so that only its payloads are looked at again.

Clients send the same request with other payloads over and over; reading, converting and checking it
costs more than all the rest of a submit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import orjson

from apps.restful.service.recent import Recent
from apps.restful.service.shapes import KnownShape
from blueengine.graph.dag import Checked, Fault, Feeding, check_single, check_workflow
from blueengine.graph.payload import Misfit, fit
from blueengine.graph.request import SingleEngine, Workflow
from blueengine.wire.plan import Plan
from blueengine.wire.spec import EngineSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class HookAsked:
    """A webhook as a client asks for it."""

    url: str
    types: Sequence[str] = ("*",)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    results: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A graph and how to run it, without payloads: each is None. Times are seconds."""

    kind: str
    graph: SingleEngine | Workflow
    wait: float = 0.0
    time_limit: float = 0.0
    ttl: float = 0.0
    """0: as the settings say."""
    max_attempts: int = 1
    known: KnownShape | None = None
    """The shape of a workflow, which may have been checked before."""
    policy: str = ""
    """``spread`` | ``pack``; empty: as the settings say."""
    near: str = ""
    """``host`` | ``zone`` | ``any``; empty: as the settings say."""
    webhooks: Sequence[HookAsked] = ()
    refused: Sequence[Fault] = ()
    """Faults found before; they are reported with all others."""


class KnownOrder:
    """An order, and the plan that was made of it with the specs of some version."""

    __slots__ = ("_feeds", "_plan", "_version", "order")

    def __init__(self, order: Order) -> None:
        """Know of no plan."""
        self.order = order
        self._plan: Plan | None = None
        self._feeds: Sequence[Feeding] = ()
        self._version = -3  # one that no specs have

    def check(
        self, payloads: Sequence[Any], specs: Mapping[str, EngineSpec], version: int
    ) -> Checked:
        """Return what it means with these payloads; see ``check_workflow``."""
        if version == self._version and (found := self._fed(payloads)) is not None:
            return Checked(plan=self._plan, feedings=found, faults=())
        order = self.order
        graph = order.graph.fed(payloads)
        if isinstance(graph, Workflow):
            shape = order.known.graph(specs, version) if order.known else None
            checked = check_workflow(graph, specs=specs, graph=shape)
        else:
            checked = check_single(graph, specs=specs)
        if checked.plan is not None:
            self._plan, self._version = checked.plan, version
            self._feeds = [
                Feeding(feeding.channel, feeding.type, _NOTHING, feeding.loc)
                for feeding in checked.feedings
            ]
        return checked

    def _fed(self, payloads: Sequence[Any]) -> list[Feeding] | None:
        """Return the start data of the plan; None when some of it does not fit."""
        try:
            return [
                Feeding(feed.channel, feed.type, fit(feed.type, payload), feed.loc)
                for feed, payload in zip(self._feeds, payloads, strict=True)
            ]
        except Misfit:
            return None


_NOTHING: Final = fit("JSON", None)


class Orders(Recent[Order, KnownOrder]):
    """The orders seen last."""

    def __init__(self) -> None:
        """Know none."""
        super().__init__(KnownOrder)

    def key(self, kind: str, bare: object) -> bytes:
        """Return what stands for a request body without payloads."""
        return orjson.dumps([kind, bare])


class Posted(msgspec.Struct, frozen=True, kw_only=True):
    """A request to run an order."""

    known: KnownOrder
    payloads: Sequence[Any]
    """Of its start data, in the order in which it stands in the request."""
    idempotency_key: str = ""
    body_hash: str = ""
