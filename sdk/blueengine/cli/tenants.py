"""``blueengine tenants``: how much each tenant has, and may have."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from blueengine.cli import output
from blueengine.cli.output import Json, Url

if TYPE_CHECKING:
    from blueengine.client.answers import Tenant

app = typer.Typer(
    no_args_is_help=True,
    help="How much each tenant has, and may have; for the operator.\n\n"
    "Example: blueengine tenants ls",
)

TITLES: Final = ("TENANT", "RUNNING", "MAX RUNNING", "PENDING", "MAX PENDING")


@app.command("ls")
def list_tenants(*, url: Url = output.DEFAULT_URL, json: Json = False) -> None:
    """List tenants, what they have and what they may have.

    Example: blueengine tenants ls
    """
    found = output.with_client(url, lambda client: client.tenants())
    if json:
        output.print_json(found)
        return
    _print(found)


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
    found = output.with_client(
        url,
        lambda client: client.limit_tenant(
            tenant, max_running=max_running, max_pending=max_pending
        ),
    )
    if json:
        output.print_json(found)
        return
    _print([found])


def _print(tenants: "Sequence[Tenant]") -> None:
    output.print_table(
        TITLES,
        [
            (
                tenant.tenant,
                str(tenant.running),
                str(tenant.max_running or "-"),
                str(tenant.pending),
                str(tenant.max_pending or "-"),
            )
            for tenant in tenants
        ],
    )
