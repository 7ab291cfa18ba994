"""From settings to parts, opened and closed as one context."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from apps.restful.service.metrics import Metrics
from apps.restful.service.parts import Parts
from apps.restful.service.shapes import Shapes
from apps.restful.service.specs import Specs
from apps.restful.service.wait import Pokes
from apps.restful.settings import RestfulSettings
from apps.sessions import pushes as interactive
from apps.sessions.pushes import PushStore
from apps.sessions.store import SCRIPTS, SessionStore
from blueengine import ids, ledger
from blueengine.errors import SettingsError
from blueengine.kit.clock import SystemClock
from blueengine.kit.redis_link import Link, Subscription
from blueengine.transport.blobs import BlobFolder


@asynccontextmanager
async def open_parts(settings: RestfulSettings) -> AsyncIterator[Parts]:
    """Connect to Redis and open the blob folder.

    Raises:
        SettingsError: The blob folder cannot be made.
        StoreAwayError: Redis cannot be reached.
    """
    try:
        settings.blobs.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise SettingsError(f"BLOB_DIR {settings.blobs} cannot be made: {exc.strerror}") from exc
    pokes = Pokes(f"gateway-{ids.nanoid(os.urandom, 12)}")
    async with AsyncExitStack() as stack:
        link = Link(
            settings.system.redis,
            scripts=ledger.load(*SCRIPTS, *interactive.SCRIPTS),
            patience=settings.redis_patience,
        )
        stack.push_async_callback(link.close)
        await link.open()
        ears = Link(
            settings.system.redis,
            subscription=Subscription(
                channels=[pokes.channel], on_message=pokes.on_message, on_connect=pokes.on_connect
            ),
            patience=settings.redis_patience,
        )
        stack.push_async_callback(ears.close)
        await ears.open()
        stack.push_async_callback(pokes.stop)
        await pokes.start(link)
        store = SessionStore(link)
        specs = Specs(store)
        await specs.reload()
        yield Parts(
            settings=settings,
            store=store,
            pushes=PushStore(link),
            specs=specs,
            shapes=Shapes(),
            pokes=pokes,
            blobs=BlobFolder(settings.blobs),
            metrics=Metrics(),
            clock=SystemClock(),
            entropy=os.urandom,
        )
