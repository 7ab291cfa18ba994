"""``blueengine engines``: which engines there are and how busy they are."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from blueengine.cli import output
from blueengine.cli.output import Json, Url, Watch

if TYPE_CHECKING:
    from rich.table import Table

    from blueengine.client import AsyncClient
    from blueengine.client.answers import Engine

app = typer.Typer(
    no_args_is_help=True,
    help="Which engines there are and how busy they are.\n\nExample: blueengine engines ls",
)

TITLES: Final = ("ENGINE", "INSTANCES", "USED", "FREE", "PENDING", "CONCURRENCY")


def complete_engine(incomplete: str) -> list[str]:
    """Return engine ids for the shell."""

    async def ids(client: "AsyncClient") -> list[str]:
        return [engine.id for engine in await client.engines()]

    return output.completed(ids, incomplete)


@app.command("ls")
def list_engines(
    *, watch: Watch = False, url: Url = output.DEFAULT_URL, json: Json = False
) -> None:
    """List engines; one without instances is started when a session needs it.

    Example: blueengine engines ls

    Example: blueengine engines ls --watch
    """
    if watch:

        async def look(client: "AsyncClient") -> "Table":
            return output.table(TITLES, _rows(await client.engines()))

        output.watch(url, look)
        return
    engines = output.with_client(url, lambda client: client.engines())
    if json:
        output.print_json(engines)
    else:
        output.print_table(TITLES, _rows(engines))


def _rows(engines: "Sequence[Engine]") -> list[Sequence[str]]:
    return [
        (
            engine.id,
            str(engine.instances),
            str(engine.used_slots),
            str(engine.free_slots),
            str(engine.pending),
            str(engine.concurrency),
        )
        for engine in engines
    ]


@app.command("show")
def show_engine(
    engine: Annotated[
        str,
        typer.Argument(metavar="ENGINE", help="The engine's id.", autocompletion=complete_engine),
    ],
    *,
    url: Url = output.DEFAULT_URL,
    json: Json = False,
) -> None:
    """Show what an engine reads and writes, and its instances.

    Example: blueengine engines show ocr
    """
    found = output.with_client(url, lambda client: client.engine(engine))
    if json:
        output.print_json(found)
        return
    typer.echo(f"{found.id}: {found.name}, {found.concurrency} sessions an instance")
    for title, ports in (("reads", found.inputs), ("writes", found.outputs)):
        typer.echo(f"  {title:7}" + ", ".join(f"{name} ({kind})" for name, kind in ports.items()))
    typer.echo(
        f"  load   {found.used_slots} slots used, {found.free_slots} free, {found.pending} sessions pending"
    )
    if found.instance_list:
        typer.echo("")
        output.print_table(
            ("INSTANCE", "STATE", "USED", "SINCE"),
            [
                (each.id, each.state, f"{each.used_slots}/{each.concurrency}", each.since or "-")
                for each in found.instance_list
            ],
        )
