"""The client for programs without an event loop: the asynchronous one on a thread of its own.

Each method here is the one of ``AsyncClient`` or ``AsyncSession``, with its arguments, types and
words; nothing is written twice.
"""

import asyncio
import functools
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Concatenate, Final, Generic, ParamSpec, Self, TypeVar

from blueengine.client.aio import AsyncClient
from blueengine.client.errors import ClientError
from blueengine.client.session import AsyncSession

if TYPE_CHECKING:
    import httpx

A = TypeVar("A")
P = ParamSpec("P")
T = TypeVar("T")

CLEAN_UP_SECONDS: Final = 5.0
"""How long an interrupted call may take to end in order."""


class _Loop:
    """An event loop on a thread of its own, begun when it is first needed."""

    def __init__(self) -> None:
        self.closed = False
        self._lock: Final = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what ``work`` returns. Interrupted (Ctrl-C), it is cancelled and ends in order."""
        over = threading.Event()

        async def whole() -> T:
            try:
                return await work
            finally:
                over.set()

        try:
            loop = self._running()
        except ClientError:
            work.close()
            raise
        future = asyncio.run_coroutine_threadsafe(whole(), loop)
        try:
            return future.result()
        except BaseException:
            if future.cancel():
                over.wait(CLEAN_UP_SECONDS)
            raise

    def close(self) -> None:
        """End the loop and its thread."""
        with self._lock:
            self.closed = True
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self.closed:
                raise ClientError("this client is closed; make another one")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_serve, args=[self._loop], name="blueengine-client", daemon=True
                )
                self._thread.start()
            return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


class _Face(Generic[A]):
    """A blocking object and the asynchronous one behind it."""

    def __init__(self, loop: _Loop, behind: A) -> None:
        self._loop = loop
        self._behind = behind

    def __repr__(self) -> str:
        """Say what it stands for."""
        return repr(self._behind).removeprefix("Async")


def _blocking(
    method: Callable[Concatenate[A, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[_Face[A], P], T]:
    """Return ``method`` as one that returns when it is done."""

    @functools.wraps(method)
    def call(self: _Face[A], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._loop.run(method(self._behind, *args, **kwargs))

    return call


def _opening(
    method: Callable[Concatenate[A, P], Coroutine[Any, Any, AsyncSession]],
) -> "Callable[Concatenate[_Face[A], P], Session]":
    """Return ``method`` as one that returns a blocking session."""

    @functools.wraps(method)
    def call(self: _Face[A], /, *args: P.args, **kwargs: P.kwargs) -> Session:
        return Session(self._loop, self._loop.run(method(self._behind, *args, **kwargs)))

    return call


def _iterating(
    method: Callable[Concatenate[A, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate[_Face[A], P], Iterator[T]]:
    """Return ``method`` as one that blocks for each item."""

    @functools.wraps(method)
    def call(self: _Face[A], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        items = method(self._behind, *args, **kwargs)

        async def following() -> list[T]:
            return [item async for item in _one(items)]

        try:
            while found := self._loop.run(following()):
                yield from found
        finally:
            if not self._loop.closed:  # the loop has closed them at its own end
                self._loop.run(_closed(items))

    return call


async def _one(items: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """Yield the next item, or nothing at the end."""
    try:
        yield await anext(items)
    except StopAsyncIteration:
        return


async def _closed(items: AsyncGenerator[Any, None]) -> None:
    await items.aclose()


class Session(_Face[AsyncSession]):
    """A session; made by ``submit``, or by ``client.session`` of its id."""

    @property
    def id(self) -> str:
        """The session's id."""
        return self._behind.id

    outcome = _blocking(AsyncSession.outcome)
    wait = _blocking(AsyncSession.wait)
    detail = _blocking(AsyncSession.detail)
    webhooks = _blocking(AsyncSession.webhooks)
    stop = _blocking(AsyncSession.stop)
    push = _blocking(AsyncSession.push)
    end = _blocking(AsyncSession.end)
    results = _iterating(AsyncSession.results)
    events = _iterating(AsyncSession.events)
    logs = _iterating(AsyncSession.logs)


class Client(_Face[AsyncClient]):
    """One platform. Use it as a context manager, or ``close`` it in the end.

    Callers: any thread.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = 30.0,
        patience: float = 30.0,
        transport: "httpx.AsyncBaseTransport | None" = None,
    ) -> None:
        """Speak to the platform at ``url``; see ``AsyncClient`` for the arguments."""
        behind = AsyncClient(
            url, api_key=api_key, timeout=timeout, patience=patience, transport=transport
        )
        super().__init__(_Loop(), behind)

    @property
    def url(self) -> str:
        """Where the platform is."""
        return self._behind.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and end the thread."""
        if not self._loop.closed:
            self._loop.run(self._behind.aclose())
            self._loop.close()

    def session(self, session_id: str) -> Session:
        """Return the session of an id; nothing is asked yet."""
        return Session(self._loop, self._behind.session(session_id))

    submit = _opening(AsyncClient.submit)
    submit_engine = _opening(AsyncClient.submit_engine)
    run = _blocking(AsyncClient.run)
    dry_run = _blocking(AsyncClient.dry_run)
    sessions = _iterating(AsyncClient.sessions)
    page = _blocking(AsyncClient.page)
    engines = _blocking(AsyncClient.engines)
    engine = _blocking(AsyncClient.engine)
    upload = _blocking(AsyncClient.upload)
    download = _blocking(AsyncClient.download)
    read = _blocking(AsyncClient.read)
    load = _blocking(AsyncClient.load)
    array = _blocking(AsyncClient.array)
    request = _blocking(AsyncClient.request)
    deliveries = _iterating(AsyncClient.deliveries)
    delivery = _blocking(AsyncClient.delivery)
    redeliver = _blocking(AsyncClient.redeliver)
    webhook_secrets = _blocking(AsyncClient.webhook_secrets)
    rotate_webhook_secret = _blocking(AsyncClient.rotate_webhook_secret)
    create_key = _blocking(AsyncClient.create_key)
    api_keys = _iterating(AsyncClient.api_keys)
    api_key = _blocking(AsyncClient.api_key)
    revoke_key = _blocking(AsyncClient.revoke_key)
    tenants = _blocking(AsyncClient.tenants)
    tenant = _blocking(AsyncClient.tenant)
    limit_tenant = _blocking(AsyncClient.limit_tenant)
