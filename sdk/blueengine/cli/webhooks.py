"""``blueengine webhooks``: what became of deliveries, deliver dead ones again, the signing secret."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from blueengine.cli import output
from blueengine.cli.output import Json, Url, UsageError

if TYPE_CHECKING:
    from blueengine.client import AsyncClient
    from blueengine.client.answers import Delivery as Delivered
    from blueengine.client.answers import Secret, Try

app = typer.Typer(
    no_args_is_help=True,
    help="Deliveries of webhooks, and the secret that signs them.\n\n"
    "Example: blueengine webhooks ls",
)


MOST: Final = 10_000


class State(StrEnum):
    """What may have become of a delivery."""

    DEAD = "dead"
    RETRYING = "retrying"
    DELIVERED = "delivered"


Delivery = Annotated[str, typer.Argument(metavar="DELIVERY", help="The delivery's id, evt_….")]


@app.command("ls")
def list_deliveries(
    *,
    state: Annotated[State, typer.Option(help="Only these; dead: given up.")] = State.DEAD,
    session: Annotated[
        str, typer.Option(help="The last ones of this session, whatever became of them.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="At most so many.")] = 20,
    url: Url = output.DEFAULT_URL,
    json: Json = False,
) -> None:
    """List deliveries, the last changed first; by default those that were given up.

    Example: blueengine webhooks ls --state retrying

    Example: blueengine webhooks ls --session session-process-workflow-0-1636105719.5759473-vv6gz93f
    """
    found = output.with_client(url, lambda client: _listed(client, state, session, limit))
    if json:
        output.print_json(found)
        return
    output.print_table(
        ("DELIVERY", "STATE", "TYPE", "TRIES", "LAST TRY", "WHY", "RECEIVER"),
        [
            (
                one.delivery_id,
                one.state,
                one.type,
                str(one.tries),
                one.log[-1].at if one.log else "-",
                _why(one.log[-1]) if one.log else "-",
                one.callback_url,
            )
            for one in found
        ],
    )


@app.command("show")
def show_delivery(delivery: Delivery, *, url: Url = output.DEFAULT_URL, json: Json = False) -> None:
    """Show an event's delivery and each of its last tries, with what the receiver answered.

    Example: blueengine webhooks show evt_vv6gz93fyL96uvcOUkCxt_0_3
    """
    found = output.with_client(url, lambda client: client.delivery(delivery))
    if json:
        output.print_json(found)
        return
    status = f" {found.status}" if found.status else ""
    typer.echo(f"{found.delivery_id}: {found.state} after {found.tries} tries")
    typer.echo(f"  {found.type}{status} of {found.session_id}")
    typer.echo(f"  to {found.callback_url}")
    if found.next_try_at:
        typer.echo(f"  tried again at {found.next_try_at}")
    typer.echo("")
    output.print_table(
        ("AT", "TOOK", "CODE", "ANSWER"),
        [
            (
                one.at or "-",
                output.milliseconds(one.latency_ms),
                str(one.code or "-"),
                " ".join((one.error or one.response).split()),
            )
            for one in found.log
        ],
    )


@app.command("redeliver")
def redeliver(
    deliveries: Annotated[
        list[str] | None, typer.Argument(metavar="DELIVERY...", help="Ids of dead deliveries.")
    ] = None,
    *,
    dead: Annotated[bool, typer.Option("--all-dead", help="All that were given up.")] = False,
    url: Url = output.DEFAULT_URL,
    json: Json = False,
) -> None:
    """Send events that were given up again, retried for a day like new ones.

    Example: blueengine webhooks redeliver evt_vv6gz93fyL96uvcOUkCxt_0_3

    Example: blueengine webhooks redeliver --all-dead
    """
    if dead == bool(deliveries):
        raise UsageError("name deliveries, or write --all-dead")

    async def work(client: "AsyncClient") -> "list[Delivered]":
        # those given up first are sent first
        listed = [] if deliveries else (await _listed(client, State.DEAD, "", MOST))[::-1]
        ids = deliveries or [one.delivery_id for one in listed]
        return [await client.redeliver(one) for one in ids]

    found = output.with_client(url, work)
    if json:
        output.print_json(found)
        return
    for one in found:
        typer.echo(f"{one.delivery_id}: {one.state}")
    if not found:
        typer.echo("nothing is dead", err=True)


@app.command("secret")
def show_secret(
    *,
    rotate: Annotated[bool, typer.Option("--rotate", help="Make a new one first.")] = False,
    keep_old: Annotated[
        float,
        typer.Option(
            "--keep-old",
            min=0,
            metavar="SECONDS",
            help="With --rotate: how long the old one signs, too; 0 revokes it at once.",
        ),
    ] = 86_400,
    url: Url = output.DEFAULT_URL,
    json: Json = False,
) -> None:
    """Show the secret that receivers verify signatures with, or replace it.

    Example: blueengine webhooks secret

    Example: blueengine webhooks secret --rotate --keep-old 3600
    """

    async def work(client: "AsyncClient") -> "list[Secret]":
        if rotate:
            return await client.rotate_webhook_secret(keep_old=keep_old)
        return await client.webhook_secrets()

    found = output.with_client(url, work)
    if json:
        output.print_json(found)
        return
    output.print_table(
        ("SECRET", "SINCE", "SIGNS UNTIL"),
        [(one.secret, one.created_at, one.signs_until or "it is replaced") for one in found],
    )


async def _listed(
    client: "AsyncClient", state: State, session: str, limit: int
) -> "list[Delivered]":
    if session:
        hooks = await client.session(session).webhooks()
        return [one for hook in hooks for one in hook.deliveries][:limit]
    return [one async for one in client.deliveries(state=state.value, limit=limit)]


def _why(tried: "Try") -> str:
    return tried.error or str(tried.code or "-")
