"""What the use cases work with: one record a process, put together in ``bootstrap``."""

from dataclasses import dataclass

from apps.restful.service.access import Keys, Owners
from apps.restful.service.audit import Audit
from apps.restful.service.fetch import Fetcher
from apps.restful.service.metrics import Metrics
from apps.restful.service.orders import Orders
from apps.restful.service.resumed import Uploads
from apps.restful.service.shapes import Shapes
from apps.restful.service.specs import Specs
from apps.restful.service.taps import Taps
from apps.restful.service.wait import Pokes
from apps.restful.settings import RestfulSettings
from apps.sessions.live import LiveStore
from apps.sessions.outbox import Outbox
from apps.sessions.store import SessionStore
from blueengine.ids import Entropy
from blueengine.kit.clock import Clock
from blueengine.transport.blobs import BlobStore


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of a running gateway."""

    settings: RestfulSettings
    store: SessionStore
    live: LiveStore
    outbox: Outbox
    fetcher: Fetcher
    specs: Specs
    orders: Orders
    shapes: Shapes
    pokes: Pokes
    taps: Taps
    blobs: BlobStore
    uploads: Uploads
    """Those in several requests."""
    metrics: Metrics
    clock: Clock
    entropy: Entropy
    keys: Keys
    owners: Owners
    audit: Audit
