"""``blueengine keys``: make, list and revoke API keys."""

import re
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from blueengine.cli import output
from blueengine.cli.output import Json, Url, UsageError
from blueengine.errors import BlueEngineError
from blueengine.wire.access import NOBODY, OPERATOR, Scope, is_tenant

if TYPE_CHECKING:
    from blueengine.client import AsyncClient
    from blueengine.client.answers import Key, NewKey
    from blueengine.ledger.keys import KeyStore
    from blueengine.wire.access import KeyRecord

T = TypeVar("T")

app = typer.Typer(
    no_args_is_help=True,
    help="Make, list and revoke API keys.\n\n"
    "With an admin key these commands speak to the gateway. The first key is made by whoever may "
    "write to Redis: add --redis-url.\n\n"
    "Example: blueengine keys create --tenant acme --name 'web shop'",
)

TITLES: Final = ("KEY", "TENANT", "SCOPES", "STATE", "CREATED", "LAST USED", "NAME")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

RedisUrl = Annotated[
    str,
    typer.Option(
        "--redis-url",
        help="Go to this Redis, not to a gateway: redis://host:6379/0.",
        metavar="URL",
    ),
]


class KeyMissingError(BlueEngineError):
    """There is no such key."""

    code = "key-missing"


@app.command("create")
def create_key(
    *,
    tenant: Annotated[
        str, typer.Option(help="Whose key it is; your own tenant's if left out.")
    ] = "",
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What it may do; repeats. Default: submit and read.")
    ] = None,
    name: Annotated[str, typer.Option(help="For people.")] = "",
    expires: Annotated[
        str, typer.Option(help="Valid for so long: 12h, 90d; without it until it is revoked.")
    ] = "",
    rate: Annotated[float, typer.Option(min=0, help="Requests per second; 0: as the gateway.")] = 0,
    max_body: Annotated[
        int, typer.Option(min=0, help="Bytes of a request; 0: as the gateway.")
    ] = 0,
    redis_url: RedisUrl = "",
    url: Url = output.DEFAULT_URL,
    json: Json = False,
) -> None:
    """Make a key. It is printed this once; only a digest of it is kept.

    Example: blueengine keys create --tenant acme --scope submit --scope read --expires 90d

    Example: blueengine keys create --tenant operator --scope admin --redis-url redis://127.0.0.1:6379/0
    """
    scopes = scope or [Scope.SUBMIT, Scope.READ]
    lasts = _seconds(expires) if expires else 0.0
    if tenant and not is_tenant(tenant):
        raise UsageError(
            f"a tenant is 1 to 63 letters, digits, _ and -, the first no sign, and not {NOBODY!r}"
        )
    if redis_url:
        record, key = _with_redis(
            redis_url,
            lambda store: store.create(
                tenant=tenant or OPERATOR,
                scopes=scopes,
                name=name,
                expires=int((_now() + lasts) * 1e6) if lasts else 0,
                rate=rate,
                max_body=max_body,
            ),
        )
        made = _as_new_key(record, key)
    else:
        made = output.with_client(
            url,
            lambda client: client.create_key(
                tenant=tenant,
                scopes=scopes,
                name=name,
                expires_in=lasts or None,
                rate=rate,
                max_body=max_body,
            ),
        )
    if json:
        output.print_json(made)
        return
    typer.echo(made.key)
    until = f", valid until {made.expires_at}" if made.expires_at else ""
    typer.echo(
        f"Key {made.id} of {made.tenant} ({', '.join(made.scopes)}{until}). Keep it now: it "
        "cannot be shown again.\nUse it: export BLUEENGINE_API_KEY=…",
        err=True,
    )


@app.command("ls")
def list_keys(
    *,
    tenant: Annotated[str, typer.Option(help="Only this tenant's.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many.")] = 100,
    redis_url: RedisUrl = "",
    url: Url = output.DEFAULT_URL,
    json: Json = False,
) -> None:
    """List keys, newest first, revoked and expired ones too.

    Example: blueengine keys ls --tenant acme
    """
    if redis_url:
        records = _with_redis(redis_url, lambda store: store.list(tenant=tenant, limit=limit))
        found = [_as_key(record) for record in records]
    else:
        found = output.with_client(url, lambda client: _listed(client, tenant, limit))
    if json:
        output.print_json(found)
        return
    output.print_table(
        TITLES,
        [
            (
                key.id,
                key.tenant,
                ",".join(key.scopes),
                key.state,
                key.created_at,
                key.last_used_at or "-",
                key.name or "-",
            )
            for key in found
        ],
    )


@app.command("revoke")
def revoke_key(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key's id, as `keys ls` shows it.")],
    *,
    redis_url: RedisUrl = "",
    url: Url = output.DEFAULT_URL,
    json: Json = False,
) -> None:
    """End a key at once, at every gateway.

    Example: blueengine keys revoke Nw3kX0aZs1Qe
    """
    if key.startswith("be_"):
        raise UsageError("give the key's id, which is the part between the first two _")
    if redis_url:
        done = _as_key(_with_redis(redis_url, lambda store: _revoked(store, key)))
    else:
        done = output.with_client(url, lambda client: client.revoke_key(key))
    if json:
        output.print_json(done)
        return
    typer.echo(f"{done.id} of {done.tenant} is {done.state}.")


async def _listed(client: "AsyncClient", tenant: str, limit: int) -> "list[Key]":
    return [key async for key in client.api_keys(tenant=tenant, limit=limit)]


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not found or float(found[1]) == 0:
        raise UsageError(f"--expires is a number and s, m, h or d, like 90d; not {text!r}")
    return float(found[1]) * _UNITS[found[2]]


async def _revoked(store: "KeyStore", key: str) -> "KeyRecord":
    record = await store.find(key) if await store.revoke(key) else None
    if record is None:
        raise KeyMissingError(f"there is no key {key!r}; `blueengine keys ls` shows them")
    return record


def _as_key(record: "KeyRecord") -> "Key":
    from blueengine.client.answers import Key, as_record
    from blueengine.ledger.keys import view

    return as_record(Key, view(record, _now()))


def _as_new_key(record: "KeyRecord", key: str) -> "NewKey":
    from blueengine.client.answers import NewKey, as_record
    from blueengine.ledger.keys import view

    return as_record(NewKey, {"key": key, **view(record, _now())})


def _now() -> float:
    from blueengine.kit.clock import SystemClock

    return SystemClock().unix()


def _with_redis(url: str, work: "Callable[[KeyStore], Coroutine[Any, Any, T]]") -> T:
    """Run ``work`` with the keys in a Redis."""
    import asyncio
    import os

    from blueengine import ledger
    from blueengine.kit.redis_address import RedisAddress
    from blueengine.kit.redis_link import Link
    from blueengine.ledger.keys import SCRIPTS, KeyStore

    async def run() -> T:
        link = Link(RedisAddress.from_url(url), scripts=ledger.load(*SCRIPTS), patience=5.0)
        await link.open()
        try:
            return await work(KeyStore(link, os.urandom))
        finally:
            await link.close()

    return asyncio.run(run())
