"""``blueengine tenants``: how much each tenant has, and may have."""

from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from blueengine.cli import output
from blueengine.cli.output import Json, Url

app = typer.Typer(
    no_args_is_help=True,
    help="How much each tenant has, and may have; for the operator.\n\n"
    "Example: blueengine tenants ls",
)

TITLES: Final = ("TENANT", "RUNNING", "MAX RUNNING", "PENDING", "MAX PENDING")
_ROUTE: Final = "/api/v1/tenants"


@app.command("ls")
def list_tenants(*, url: Url = output.DEFAULT_URL, json: Json = False) -> None:
    """List tenants, what they have and what they may have.

    Example: blueengine tenants ls
    """
    answer = output.with_client(url, lambda client: client.request("GET", _ROUTE))
    if json:
        output.print_json(answer["tenants"])
        return
    _print(answer["tenants"])


@app.command("limit")
def limit_tenant(
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's name.")],
    *,
    max_running: Annotated[
        int, typer.Option(min=0, help="Sessions that run at a time; more wait. 0: no limit.")
    ] = 0,
    max_pending: Annotated[
        int, typer.Option(min=0, help="Sessions that wait; more are refused. 0: no limit.")
    ] = 0,
    url: Url = output.DEFAULT_URL,
    json: Json = False,
) -> None:
    """Say how many sessions of a tenant may run and wait at the same time.

    Example: blueengine tenants limit acme --max-running 20 --max-pending 1000
    """
    asked = {"maxRunning": max_running, "maxPending": max_pending}
    route = f"{_ROUTE}/{quote(tenant, safe='')}"
    found = output.with_client(url, lambda client: client.request("PUT", route, json=asked))
    if json:
        output.print_json(found)
        return
    _print([found])


def _print(tenants: list[dict[str, Any]]) -> None:
    output.print_table(
        TITLES,
        [
            (
                tenant["tenant"],
                str(tenant["running"]),
                str(tenant["maxRunning"] or "-"),
                str(tenant["pending"]),
                str(tenant["maxPending"] or "-"),
            )
            for tenant in tenants
        ],
    )
