"""From settings to parts, opened and closed as one context."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from apps.restful.service.access import Keys, Owners
from apps.restful.service.audit import Audit
from apps.restful.service.fetch import Fetcher
from apps.restful.service.metrics import Metrics
from apps.restful.service.orders import Orders
from apps.restful.service.parts import Parts
from apps.restful.service.resumed import InFolder, Uploads
from apps.restful.service.shapes import Shapes
from apps.restful.service.specs import Specs
from apps.restful.service.taps import Taps
from apps.restful.service.wait import Pokes
from apps.restful.settings import RestfulSettings
from apps.sessions import live, outbox, outside
from apps.sessions.live import LiveStore
from apps.sessions.store import SCRIPTS, SessionStore
from apps.sessions.vault import Vault
from blueengine import ids, ledger
from blueengine.errors import SettingsError
from blueengine.kit.clock import SystemClock
from blueengine.kit.redis_link import Link, Subscription
from blueengine.ledger import keys
from blueengine.ledger.keys import KeyStore
from blueengine.transport.blob_stores import bucket_of
from blueengine.transport.blobs import BlobFolder, BlobStore
from blueengine.wire import names


def news(pokes: Pokes, known_keys: Keys) -> Subscription:
    """Return what a gateway listens to: its pokes, and keys that changed."""

    def on_message(message: bytes) -> None:
        word, _, key_id = message.partition(b" ")
        if word == b"key":
            known_keys.forget(key_id.decode())
        else:
            pokes.on_message(message)

    def on_connect() -> None:
        known_keys.forget_all()
        pokes.on_connect()

    return Subscription(
        channels=[pokes.channel, names.KEY_NEWS], on_message=on_message, on_connect=on_connect
    )


def _blobs(settings: RestfulSettings) -> tuple[BlobStore, Uploads]:
    """Return the blob store, and uploads in several requests to it."""
    if bucket := settings.system.bucket(os.environ):
        store = bucket_of(bucket, patience=settings.redis_patience)
        from apps.restful.service.resumed_pieces import InPieces  # noqa: PLC0415 - needs obstore

        return store, InPieces(store)
    try:
        settings.blobs.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise SettingsError(f"BLOB_DIR {settings.blobs} cannot be made: {exc.strerror}") from exc
    folder = BlobFolder(settings.blobs)
    return folder, InFolder(folder)


@asynccontextmanager
async def open_parts(settings: RestfulSettings) -> AsyncIterator[Parts]:
    """Connect to Redis and open the blob store.

    Raises:
        SettingsError: The blob store cannot be used, or OUTSIDE_ALLOW or a secret key cannot be read.
        StoreAwayError: Redis cannot be reached.
    """
    blobs, uploads = _blobs(settings)
    vault = Vault.parse(settings.secret_key)
    rules = outside.Rules.parse(settings.system.outside_allow)
    pokes = Pokes(f"gateway-{ids.nanoid(os.urandom, 12)}")
    audit = Audit.to(settings.audit_log) if settings.keys_needed else Audit(None)
    async with AsyncExitStack() as stack:
        stack.callback(audit.close)
        link = Link(
            settings.system.redis,
            scripts=ledger.load(*SCRIPTS, *live.SCRIPTS, *keys.SCRIPTS, *outbox.SCRIPTS),
            patience=settings.redis_patience,
        )
        stack.push_async_callback(link.close)
        await link.open()
        store, clock = SessionStore(link, vault), SystemClock()
        known_keys = Keys(KeyStore(link, os.urandom), clock, rate=settings.rate)
        ears = Link(
            settings.system.redis,
            subscription=news(pokes, known_keys),
            patience=settings.redis_patience,
        )
        stack.push_async_callback(ears.close)
        await ears.open()
        stack.push_async_callback(pokes.stop)
        await pokes.start(link)
        live_store = LiveStore(link)
        taps = Taps(settings.system.redis, live_store, pokes.gateway)
        stack.push_async_callback(taps.close)
        specs = Specs(store)
        await specs.reload()
        yield Parts(
            settings=settings,
            store=store,
            live=live_store,
            taps=taps,
            outbox=outbox.Outbox(link, vault),
            fetcher=Fetcher(
                await stack.enter_async_context(outside.client(rules, follow_redirects=True)),
                rules,
                limit=settings.max_upload,
                timeout=settings.fetch_timeout,
            ),
            specs=specs,
            orders=Orders(),
            shapes=Shapes(),
            pokes=pokes,
            blobs=blobs,
            uploads=uploads,
            metrics=Metrics(),
            clock=clock,
            entropy=os.urandom,
            keys=known_keys,
            owners=Owners(store),
            audit=audit,
        )
