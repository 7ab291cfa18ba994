"""Webhooks in answers, for the OpenAPI document; see ``schemas``."""

from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class _Out(BaseModel):
    """What is written."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, use_attribute_docstrings=True
    )


class TryView(_Out):
    """One try to deliver an event."""

    at: str
    latency_ms: float
    code: int | None
    """Of the answer; null when there was none."""
    response: str
    """The beginning of the answer."""
    error: str
    """Why there was no answer, or why it did not count."""


class DeliveryView(_Out):
    """What became of one event of a webhook."""

    delivery_id: str
    """The `eventId` of its body and its `webhook-id` header."""
    session_id: str
    type: str
    status: str
    engine_id: str
    happened_at: str
    callback_url: str
    state: Literal["retrying", "delivered", "dead"]
    tries: int
    next_try_at: str | None
    log: list[TryView]
    """The last 20 tries, oldest first."""


class DeliveryList(_Out):
    """Deliveries, the last changed first."""

    deliveries: list[DeliveryView]
    cursor: str | None
    """Give it as `cursor` for the next page; null at the end."""


class WebhookView(_Out):
    """A webhook of a session and how it fares."""

    callback_url: str
    callback_header: dict[str, str]
    """Names only; the values are never shown."""
    status_types: list[str]
    result_chan: str | None
    events: int
    """So far."""
    waiting: int
    delivered: int
    dead: int
    dropped: int
    """Messages of engines left out because 10,000 waited."""
    deliveries: list[DeliveryView]
    """The last 20 that were tried, newest first."""


class SecretView(_Out):
    """A secret that signs webhooks."""

    secret: str
    created_at: str
    signs_until: str | None
    """null: until it is replaced."""


class SecretList(_Out):
    """Secrets that sign, newest first."""

    secrets: list[SecretView]
