"""Speaking to a platform from outside, over REST.

``AsyncClient`` and its blocking face ``Client`` submit workflows and follow their sessions;
``Workflow`` builds one; ``verify_webhook`` says whether a webhook is real. See ``docs/client.md``.
"""

from importlib.util import find_spec

if find_spec("httpx") is None:
    raise ModuleNotFoundError(
        "blueengine.client needs one more package: pip install 'blueengine[client]'", name="httpx"
    )

from blueengine.client.aio import AsyncClient, RunOptions
from blueengine.client.answers import (
    Blob,
    Delivery,
    Event,
    Key,
    NewKey,
    Outcome,
    Secret,
    SessionWebhook,
    Tenant,
    Upload,
)
from blueengine.client.errors import (
    ApiError,
    BusyError,
    ClientError,
    ConflictError,
    InvalidError,
    KeyRefusedError,
    NotFoundError,
    PlatformAwayError,
    RefusedError,
    SessionCanceledError,
    SessionEndedError,
    SessionFailedError,
    SignatureError,
    TransferError,
    WorkflowError,
)
from blueengine.client.jobs import SingleEngine, load
from blueengine.client.session import AsyncSession
from blueengine.client.sync import Client, Session
from blueengine.client.values import Many
from blueengine.client.webhooks import Webhook, WebhookEvent, verify_webhook
from blueengine.client.workflow import Node, Workflow

__all__ = [
    "ApiError",
    "AsyncClient",
    "AsyncSession",
    "Blob",
    "BusyError",
    "Client",
    "ClientError",
    "ConflictError",
    "Delivery",
    "Event",
    "InvalidError",
    "Key",
    "KeyRefusedError",
    "Many",
    "NewKey",
    "Node",
    "NotFoundError",
    "Outcome",
    "PlatformAwayError",
    "RefusedError",
    "RunOptions",
    "Secret",
    "Session",
    "SessionCanceledError",
    "SessionEndedError",
    "SessionFailedError",
    "SessionWebhook",
    "SignatureError",
    "SingleEngine",
    "Tenant",
    "TransferError",
    "Upload",
    "Webhook",
    "WebhookEvent",
    "Workflow",
    "WorkflowError",
    "load",
    "verify_webhook",
]
