"""The commands this package adds to ``blueengine``; light to import, for they are part of its help."""

from typing import Annotated

import typer


def doctor(
    *,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what does not fit together.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
    redis_url: Annotated[
        str,
        typer.Option(
            help="Where Redis is: redis://host:6379/0. By default as the services' settings say.",
            envvar="REDIS_URL",
            show_envvar=True,
        ),
    ] = "",
    blob_dir: Annotated[
        str,
        typer.Option(
            help="The blob folder, to look for what is of no session.",
            envvar="BLOB_DIR",
            show_envvar=True,
        ),
    ] = "",
    blob_url: Annotated[
        str,
        typer.Option(
            help="The same, where blobs are in a bucket: s3://bucket/prefix.",
            envvar="BLOB_URL",
            show_envvar=True,
        ),
    ] = "",
) -> None:
    """Check a running platform: slots, queues, demand keys, timers, and what is of nobody.

    It looks at Redis itself, in small steps that hold nobody up. Exit code 0: all is well, or
    mended; 1: something is wrong.

    Example: blueengine doctor --redis-url redis://127.0.0.1:6379/0
    """
    # imported late: it costs time that `--help` does not have
    from apps.management.doctor import examine  # noqa: PLC0415

    raise typer.Exit(
        examine(fix=fix, as_json=json, redis_url=redis_url, blob_dir=blob_dir, blob_url=blob_url)
    )
