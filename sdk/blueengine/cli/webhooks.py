"""``blueengine webhooks``: what became of deliveries, deliver dead ones again, the signing secret."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from blueengine.cli import output
from blueengine.cli.output import Json, Url, UsageError

if TYPE_CHECKING:
    from blueengine.client import AsyncClient

app = typer.Typer(
    no_args_is_help=True,
    help="Deliveries of webhooks, and the secret that signs them.\n\n"
    "Example: blueengine webhooks ls",
)

ROUTE: Final = "/api/v1/webhooks"
STATES: Final = ("retrying", "delivered", "dead")
PAGE: Final = 500

Delivery = Annotated[str, typer.Argument(metavar="DELIVERY", help="The delivery's id, evt_….")]


@app.command("ls")
def list_deliveries(
    *,
    state: Annotated[
        str, typer.Option(help="dead (given up), retrying or delivered.", metavar="STATE")
    ] = "dead",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 20,
    url: Url = output.DEFAULT_URL,
    json: Json = False,
) -> None:
    """List deliveries, the last changed first; by default those that were given up.

    Example: blueengine webhooks ls --state retrying
    """
    if state not in STATES:
        raise UsageError(f"--state {state}: write one of {', '.join(STATES)}")
    found = output.with_client(url, lambda client: _listed(client, state, limit))
    if json:
        output.print_json(found)
        return
    output.print_table(
        ("DELIVERY", "STATE", "TYPE", "TRIES", "LAST TRY", "WHY", "RECEIVER"),
        [
            (
                one["deliveryId"],
                one["state"],
                one["type"],
                str(one["tries"]),
                _last(one).get("at") or "-",
                _why(_last(one)),
                one["callbackUrl"],
            )
            for one in found
        ],
    )


@app.command("show")
def show_delivery(delivery: Delivery, *, url: Url = output.DEFAULT_URL, json: Json = False) -> None:
    """Show an event's delivery and each of its last tries, with what the receiver answered.

    Example: blueengine webhooks show evt_vv6gz93fyL96uvcOUkCxt_0_3
    """
    found: Any = output.with_client(
        url, lambda client: client.request("GET", f"{ROUTE}/{_quoted(delivery)}")
    )
    if json:
        output.print_json(found)
        return
    status = f" {found['status']}" if found["status"] else ""
    typer.echo(f"{found['deliveryId']}: {found['state']} after {found['tries']} tries")
    typer.echo(f"  {found['type']}{status} of {found['sessionId']}")
    typer.echo(f"  to {found['callbackUrl']}")
    if found["nextTryAt"]:
        typer.echo(f"  tried again at {found['nextTryAt']}")
    typer.echo("")
    output.print_table(
        ("AT", "TOOK", "CODE", "ANSWER"),
        [
            (
                one["at"] or "-",
                output.milliseconds(one["latencyMs"]),
                str(one["code"] or "-"),
                " ".join((one["error"] or one["response"]).split()),
            )
            for one in found["log"]
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

    async def work(client: "AsyncClient") -> list[Any]:
        # those given up first are sent first
        listed = [] if deliveries else (await _listed(client, "dead", 10_000))[::-1]
        ids = deliveries or [one["deliveryId"] for one in listed]
        return [
            await client.request("POST", f"{ROUTE}/{_quoted(one)}/redeliver", repeatable=False)
            for one in ids
        ]

    found = output.with_client(url, work)
    if json:
        output.print_json(found)
        return
    for one in found:
        typer.echo(f"{one['deliveryId']}: {one['state']}")
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

    async def work(client: "AsyncClient") -> Any:
        if not rotate:
            return await client.request("GET", f"{ROUTE}/secret")
        params = {"keepOldSecond": keep_old}
        return await client.request(
            "POST", f"{ROUTE}/secret/rotate", params=params, repeatable=False
        )

    found = output.with_client(url, work)["secrets"]
    if json:
        output.print_json(found)
        return
    output.print_table(
        ("SECRET", "SINCE", "SIGNS UNTIL"),
        [(one["secret"], one["createdAt"], one["signsUntil"] or "it is replaced") for one in found],
    )


async def _listed(client: "AsyncClient", state: str, limit: int) -> list[Any]:
    found: list[Any] = []
    cursor = ""
    while len(found) < limit:
        params: dict[str, str | int] = {"state": state, "limit": min(PAGE, limit - len(found))}
        page: Any = await client.request("GET", ROUTE, params=params | {"cursor": cursor})
        found += page["deliveries"]
        cursor = page["cursor"]
        if not cursor:
            break
    return found


def _quoted(delivery: str) -> str:
    from urllib.parse import quote

    return quote(delivery, safe="")


def _last(delivery: Mapping[str, Any]) -> Mapping[str, Any]:
    return delivery["log"][-1] if delivery["log"] else {}


def _why(tried: Mapping[str, Any]) -> str:
    if tried.get("error"):
        return str(tried["error"])
    return str(tried.get("code") or "-")
