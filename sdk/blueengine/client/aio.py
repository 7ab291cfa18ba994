"""The asynchronous client: one platform, its sessions and engines."""

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypedDict, Unpack
from urllib.parse import quote

import orjson

from blueengine.client import answers, transfer
from blueengine.client.errors import ClientError, NotFoundError, WorkflowError
from blueengine.client.http import Http
from blueengine.client.jobs import Job, SingleEngine, as_job
from blueengine.client.operations import Operations
from blueengine.client.session import AsyncSession, outcome_of
from blueengine.client.values import Attachment, content_type, guess, messages, stand_in
from blueengine.client.webhooks import Webhook
from blueengine.client.workflow import Workflow
from blueengine.datatypes.file import File
from blueengine.datatypes.image import Image
from blueengine.errors import DataTypeError
from blueengine.graph.dag import Fault
from blueengine.ids import nanoid

if TYPE_CHECKING:
    import httpx
    import numpy as np
    from numpy.typing import NDArray

DEFAULT_URL: Final = "http://127.0.0.1:8080"
URL_VARIABLE: Final = "BLUEENGINE_URL"
KEY_VARIABLE: Final = "BLUEENGINE_API_KEY"


class RunOptions(TypedDict, total=False):
    """How a session is to run. Times are seconds."""

    labels: Mapping[str, str]
    rank: int
    """Higher comes first; -65535 to 65535."""
    time_limit: float
    """The session fails when it has not ended after this time."""
    ttl: float
    """How long it is kept once it has ended."""
    max_attempts: int
    """A session whose engine died is queued again until it was tried so often."""
    placement: Mapping[str, str]
    """Which instances to take when several are free: ``{"policy": "spread" | "pack", "near": "host" |
    "zone" | "any"}``, each optional; what is left out is as the platform is set up."""
    webhooks: Sequence[Webhook]
    interactive: bool
    """More input may follow while it runs."""
    record: bool
    """Each engine keeps what it receives, for ``blueengine engine replay``."""
    wait: float
    """Have the submit itself answered at the session's end, or after this time."""
    idempotency_key: str
    """The same key and body stand for the same session, for a day; a new key when left out. Files
    that are uploaded by the submit are part of the body: upload them before to repeat it."""


class AsyncClient(Operations):
    """One platform. Use it as an async context manager, or ``aclose`` it in the end.

    Callers: any task of one event loop.
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
        """Speak to the platform at ``url``; nothing is connected yet.

        Args:
            url: Where it is; BLUEENGINE_URL or this machine when left out.
            api_key: BLUEENGINE_API_KEY when left out. It is shown nowhere.
            timeout: Seconds without a byte after which a request counts as lost.
            patience: Seconds for which one call goes on trying while nothing answers any more or
                the platform says that it is busy. A platform that never answered is not waited for.
            transport: In place of the network, for tests.

        Raises:
            ClientError: The URL or the key can be none.
        """
        self._http = Http(
            url or os.environ.get(URL_VARIABLE) or DEFAULT_URL,
            api_key=os.environ.get(KEY_VARIABLE, "") if api_key is None else api_key,
            timeout=timeout,
            patience=patience,
            transport=transport,
        )

    @property
    def url(self) -> str:
        """Where the platform is."""
        return self._http.url

    def __repr__(self) -> str:
        """Say where the platform is, and nothing of the key."""
        return f"{type(self).__name__}({self.url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.close()

    # -- run --------------------------------------------------------------------------------------

    async def submit(
        self,
        workflow: Job | Mapping[str, Any],
        inputs: Mapping[str, Any] | None = None,
        **options: Unpack[RunOptions],
    ) -> AsyncSession:
        """Check a workflow, upload what is a file, submit it, and return its session.

        Args:
            workflow: A ``Workflow``, a ``SingleEngine``, or the body of one.
            inputs: Channel (of a single engine: input) -> what is there from the start. On a
                binary channel that is a path, bytes, an image, an array or an ``Upload``;
                ``Many(…)`` is several messages. They stand in place of the workflow's own.
            **options: See ``RunOptions``.

        Raises:
            WorkflowError: It has faults; nothing was sent.
            InvalidError: The platform, which knows its engines, found faults.
            ApiError: The platform said no for another reason.
            PlatformAwayError: Nothing answers.
        """
        job = as_job(workflow)
        given = _given(job, inputs or {})
        extra = _options(options)
        pretended = {name: [stand_in(m) for m in found] for name, found in given.items()}
        job.filled(pretended, extra).check()
        sent = {
            name: [await transfer.settled(self._http, m) for m in found]
            for name, found in given.items()
        }
        data = await self._http.call(
            "POST",
            f"/api/v1/{job.route}",
            body=orjson.dumps(job.filled(sent, extra).to_dict()),
            headers={
                "Content-Type": "application/json",
                "Idempotency-Key": options.get("idempotency_key") or nanoid(os.urandom),
            },
            timeout=self._http.timeout + options.get("wait", 0.0),
        )
        first = outcome_of(data)
        return AsyncSession(self._http, first.session_id, first)

    async def submit_engine(
        self,
        engine: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        results: Sequence[str] = (),
        types: Mapping[str, str] | None = None,
        **options: Unpack[RunOptions],
    ) -> AsyncSession:
        """Submit a session of one engine; see ``submit``.

        Args:
            engine: The engine's id.
            inputs: Input -> what it gets.
            results: Outputs that are stored and returned.
            types: Input -> type, where neither the value nor the platform can tell it.
            **options: See ``RunOptions``.
        """
        given = inputs or {}
        kinds = {name: guess(value) for name, value in given.items()}
        if any(kind != "JSON" for kind in kinds.values()):  # a file may be meant as an image
            with suppress(NotFoundError):
                known = (await self.engine(engine)).inputs
                kinds |= {name: kind for name, kind in known.items() if name in kinds}
        single = SingleEngine(engine, inputs=kinds | dict(types or {}), results=results)
        return await self.submit(single, given, **options)

    async def run(
        self,
        workflow: Job | Mapping[str, Any],
        inputs: Mapping[str, Any] | None = None,
        **options: Unpack[RunOptions],
    ) -> answers.Outcome:
        """Submit a workflow, wait for its end and return its results; see ``submit``.

        When the caller gives up (is cancelled), the session is stopped.

        Raises:
            SessionFailedError: The session failed.
            SessionCanceledError: Somebody stopped it.
        """
        session = await self.submit(workflow, inputs, **options)
        try:
            return (await session.wait()).raise_for_status()
        except asyncio.CancelledError:
            with suppress(ClientError):
                await session.stop()
            raise

    async def dry_run(
        self, workflow: Job | Mapping[str, Any], **options: Unpack[RunOptions]
    ) -> answers.Placement:
        """Have a workflow checked, and return whether it would get its slots now.

        Raises:
            WorkflowError: It has faults.
            InvalidError: The platform, which knows its engines, found faults.
        """
        job = as_job(workflow)
        data = await self._http.call(
            "POST",
            f"/api/v1/{job.route}",
            params={"dryRun": "true"},
            body=orjson.dumps(job.filled({}, _options(options)).check().to_dict()),
            headers={"Content-Type": "application/json"},
        )
        return answers.as_record(answers.Placement, data)

    # -- sessions ---------------------------------------------------------------------------------

    def session(self, session_id: str) -> AsyncSession:
        """Return the session of an id; nothing is asked yet."""
        return AsyncSession(self._http, session_id)

    async def sessions(
        self,
        *,
        status: str = "",
        engine: str = "",
        labels: Mapping[str, str] | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[answers.Row, None]:
        """Yield sessions, newest first, page by page as they are taken.

        Args:
            status: Only those in this status.
            engine: Only those that use this engine.
            labels: Only those with all of these labels.
            limit: At most so many; None: all.
        """
        left = limit
        cursor = ""
        while left is None or left > 0:
            page = await self.page(
                status=status,
                engine=engine,
                labels=labels,
                limit=min(200, left or 200),
                cursor=cursor,
            )
            for row in page.sessions[:left]:
                yield row
            if left is not None:
                left -= len(page.sessions)
            cursor = page.cursor or ""
            if not cursor:
                return

    async def page(
        self,
        *,
        status: str = "",
        engine: str = "",
        labels: Mapping[str, str] | None = None,
        limit: int = 50,
        cursor: str = "",
    ) -> answers.Page:
        """Return one page of sessions; ``cursor`` is that of the page before."""
        params = {
            "status": status or None,
            "engine": engine or None,
            "label": [f"{name}:{value}" for name, value in (labels or {}).items()],
            "limit": limit,
            "cursor": cursor or None,
        }
        data = await self._http.call("GET", "/api/v1/sessions", params=params)
        return answers.as_record(answers.Page, data)

    # -- engines ----------------------------------------------------------------------------------

    async def engines(self) -> list[answers.Engine]:
        """Return every engine ever seen."""
        data = await self._http.call("GET", "/api/v1/engines")
        return answers.as_record(answers.Engines, data).engines

    async def engine(self, engine: str) -> answers.Engine:
        """Return an engine and its instances.

        Raises:
            NotFoundError: It was never seen.
        """
        data = await self._http.call("GET", f"/api/v1/engines/{quote(engine, safe='')}")
        return answers.as_record(answers.Engine, data)

    # -- files and results ------------------------------------------------------------------------

    async def upload(
        self, source: str | Path | File | bytes, *, name: str = "", media_type: str = ""
    ) -> answers.Upload:
        """Upload a file, piece by piece, or bytes; it is start data for any binary channel.

        Args:
            source: A path, or bytes.
            name: Its file name, where not that of the path.
            media_type: As ``application/pdf``, where the name does not tell it.
        """
        if isinstance(source, bytes):
            return await transfer.upload(
                self._http, Attachment(data=source, name=name, content_type=media_type)
            )
        path = source.path if isinstance(source, File) else Path(source)
        attachment = Attachment(
            path=path, name=name or path.name, content_type=media_type or content_type(path)
        )
        return await transfer.upload(self._http, attachment)

    async def download(
        self, source: answers.Blob | answers.Upload | str, target: str | Path
    ) -> Path:
        """Save a result or an uploaded file, and return where.

        The file is there whole or not at all; what breaks off is taken up where it broke. Size
        and, where it is known, SHA-256 are checked.

        Args:
            source: A result, an upload, or the URL of one.
            target: A file; or a folder, which then gets a file of the name it has.

        Raises:
            TransferError: What came is not what the platform has.
        """
        return await transfer.download(self._http, source, Path(target))

    async def read(self, source: answers.Blob | answers.Upload | str) -> bytes:
        """Return a result or an uploaded file as bytes."""
        return await transfer.read(self._http, source)

    async def load(self, blob: answers.Blob) -> Any:
        """Return a result as a value: an ``Image``, a JSON value, text, or bytes."""
        data = await self.read(blob)
        kind = blob.content_type.partition(";")[0]
        if kind.startswith("image/"):
            return Image(data, blob.meta, content_type=kind)
        if kind == "application/json":
            return orjson.loads(data)
        return data.decode() if kind == "text/plain" else data

    async def array(self, blob: answers.Blob) -> "NDArray[np.uint8]":
        """Return an image as an array of height x width x 3, RGB; see ``Image.rgb``.

        Needs ``pip install 'blueengine[image]'``.

        Raises:
            DataTypeError: The result is no image.
        """
        image = Image(await self.read(blob), content_type=blob.content_type)
        return await asyncio.to_thread(lambda: image.rgb)

    # -- anything else ----------------------------------------------------------------------------

    async def request(
        self,
        method: str,
        route: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        repeatable: bool = True,
    ) -> dict[str, Any]:
        """Return the ``data`` that any route of the platform answers.

        Args:
            method: GET, POST, DELETE …
            route: As ``/api/v1/stats``.
            params: Of the query.
            json: The body.
            repeatable: Doing it twice does no harm, so a broken connection is tried again.
        """
        return await self._http.call(
            method,
            route,
            params=dict(params or {}),
            body=None if json is None else orjson.dumps(json),
            headers=None if json is None else {"Content-Type": "application/json"},
            repeatable=repeatable,
        )


def _given(job: Job, inputs: Mapping[str, Any]) -> dict[str, list[Any]]:
    known = job.inputs if isinstance(job, SingleEngine) else job.channels
    found: dict[str, list[Any]] = {}
    faults: list[Fault] = []
    for name, value in inputs.items():
        try:
            found[name] = messages(known.get(name, "JSON"), value)
        except DataTypeError as exc:
            faults.append(Fault(f"/inputs/{name}", str(exc), "bad-payload"))
        if isinstance(job, Workflow) and name not in known:
            has = ", ".join(job.inputs) or "none"
            msg = f"there is no channel {name!r}; those that take start data: {has}"
            faults.append(Fault(f"/inputs/{name}", msg, "unknown-channel"))
    if faults:
        raise WorkflowError("the inputs do not fit the workflow", faults)
    return found


def _options(options: RunOptions) -> dict[str, Any]:
    said: dict[str, Any] = {
        "labels": options.get("labels"),
        "rank": options.get("rank"),
        "timeoutSecond": options.get("time_limit"),
        "ttlSecond": options.get("ttl"),
        "retry": {"maxAttempts": options["max_attempts"]} if "max_attempts" in options else None,
        "placement": dict(options["placement"]) if "placement" in options else None,
        "webhooks": [webhook.body() for webhook in options.get("webhooks", ())] or None,
        "interactive": options.get("interactive"),
        "record": options.get("record"),
        "waitTimeSecond": options.get("wait"),
    }
    return {name: value for name, value in said.items() if value is not None}
