"""What a user of the client gets told by a type checker. Read by pyright, never run.

``# pyright: ignore`` marks lines that must be wrong: one that is right is an error itself
(reportUnnecessaryTypeIgnoreComment).
"""

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any, assert_type

from blueengine import BlueEngine, Context, File, Image
from blueengine.client import (
    AsyncClient,
    AsyncSession,
    Blob,
    Client,
    Delivery,
    Event,
    Key,
    Many,
    NewKey,
    Node,
    Outcome,
    Secret,
    Session,
    SessionWebhook,
    Tenant,
    Upload,
    Webhook,
    WebhookEvent,
    Workflow,
    verify_webhook,
)
from blueengine.client.answers import Detail, Engine, Row


def building() -> Workflow:
    wf = Workflow()
    ocr = wf.engine("ocr", inputs={"Image": "Image"})
    assert_type(ocr, Node)
    assert_type(ocr.link("Text", wf.engine("save"), "In", type="JSON"), Node)
    ocr.link("Text")  # pyright: ignore[reportCallIssue]
    ocr.link("Text", "save")  # pyright: ignore[reportArgumentType]
    wf.engine(3)  # pyright: ignore[reportArgumentType]
    assert_type(wf.check(), Workflow)
    assert_type(wf.to_mermaid(), str)
    return wf


async def asynchronous(client: AsyncClient) -> None:
    session = await client.submit(building(), {"In": Path("a")}, labels={"a": "b"}, rank=3)
    assert_type(session, AsyncSession)
    assert_type(await session.wait(timeout=3), Outcome)
    assert_type(session.results("Text"), AsyncGenerator[Any, None])
    assert_type(session.events(), AsyncGenerator[Event, None])
    assert_type(await client.engines(), list[Engine])
    assert_type(await client.upload("a.pdf"), Upload)
    assert_type([row async for row in client.sessions(status="failed")], list[Row])
    await client.submit(building(), rank="high")  # pyright: ignore[reportArgumentType]
    await client.submit(building(), colour="red")  # pyright: ignore[reportCallIssue]
    await client.sessions()  # pyright: ignore[reportGeneralTypeIssues]


def blocking(client: Client, blob: Blob) -> None:
    session = client.submit(building(), {"In": Many([1, 2])}, time_limit=3.0)
    assert_type(session, Session)
    assert_type(session.id, str)
    assert_type(session.wait(timeout=3), Outcome)
    assert_type(session.detail(), Detail)
    assert_type(session.results("Text", follow=False), Iterator[Any])
    assert_type(client.run(building(), webhooks=[Webhook(url="https://a")]), Outcome)
    assert_type(client.download(blob, "a"), Path)
    assert_type(client.read(blob), bytes)
    assert_type(next(client.sessions(limit=1)), Row)
    assert_type(client.array(blob).shape, tuple[Any, ...])
    assert_type(session.webhooks(), list[SessionWebhook])
    session.wait(3)  # pyright: ignore[reportCallIssue]
    client.submit()  # pyright: ignore[reportCallIssue]
    client.run(building(), rank="high")  # pyright: ignore[reportArgumentType]


async def operating(client: AsyncClient) -> None:
    assert_type(client.deliveries(state="retrying"), AsyncGenerator[Delivery, None])
    assert_type(await client.redeliver("evt_a"), Delivery)
    assert_type(await client.webhook_secrets(), list[Secret])
    assert_type(await client.create_key(tenant="a", scopes=["read"]), NewKey)
    assert_type([key async for key in client.api_keys()], list[Key])
    client.deliveries(state="lost")  # pyright: ignore[reportArgumentType]
    await client.create_key(scopes=["fly"])  # pyright: ignore[reportArgumentType]


def operating_blocking(client: Client) -> None:
    assert_type(next(client.deliveries()), Delivery)
    assert_type(client.rotate_webhook_secret(keep_old=0), list[Secret])
    assert_type(client.revoke_key("a"), Key)
    assert_type(client.tenants(), list[Tenant])
    assert_type(client.limit_tenant("a", max_running=3), Tenant)
    client.limit_tenant("a", 3)  # pyright: ignore[reportCallIssue]


def webhook(body: bytes, headers: dict[str, str]) -> None:
    assert_type(verify_webhook(body, headers, ["whsec_a", "whsec_b"]), WebhookEvent)
    verify_webhook(body, headers)  # pyright: ignore[reportCallIssue]


def root(context: Context, image: Image, file: File) -> None:
    assert_type(BlueEngine(), BlueEngine)
    assert_type(context.session_id, str)
    assert_type(image.content_type, str)
    assert_type(file.size, int)
