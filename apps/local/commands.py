"""The commands this package adds to ``blueengine``; light to import, for they are part of its help."""

import os
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_COOLDOWN = 30.0
DEMO_SECONDS = 300.0


def up(
    *,
    port: Annotated[int, typer.Option(help="Where the REST gateway listens.")] = 8080,
    data: Annotated[
        Path | None, typer.Option(help="Folder for everything that is kept; one platform each.")
    ] = None,
    redis_url: Annotated[
        str,
        typer.Option(
            help="Use this Redis and start none: redis://host:6379/0.",
            envvar="REDIS_URL",
            show_envvar=True,
        ),
    ] = "",
    kafka_brokers: Annotated[
        str,
        typer.Option(
            help="Have data between engines go over this Kafka: host:9092, with commas between.",
            envvar="KAFKA_BROKERS",
            show_envvar=True,
        ),
    ] = "",
    blobs: Annotated[
        str,
        typer.Option(
            help="Keep large payloads in a bucket instead of the data folder: s3://bucket/prefix.",
            envvar="BLOB_URL",
            show_envvar=True,
        ),
    ] = "",
    engines: Annotated[
        str,
        typer.Option(
            help="Engines beside the built-in ones: folders or .py files, with commas between; "
            "`none` for no built-in ones."
        ),
    ] = "",
    max_instances: Annotated[
        int | None,
        typer.Option(min=1, help="Processes of each engine at most; by default one a CPU."),
    ] = None,
    cooldown: Annotated[
        float, typer.Option(min=0, help="Seconds until an engine that nobody needs is stopped.")
    ] = DEFAULT_COOLDOWN,
) -> None:
    """Run the platform here: gateway, management and engines on a Redis of its own.

    It stays in the foreground; Ctrl-C stops all of it. Engines are started when a session needs
    them and stopped when none does.

    Example: blueengine up --port 8080 --engines ./my_engine
    """
    # imported late: these cost time that `--help` does not have
    from apps.local import catalogue, data_folder  # noqa: PLC0415
    from apps.local.platform import Options  # noqa: PLC0415
    from apps.local.up import foreground  # noqa: PLC0415
    from apps.local.up import up as run_up  # noqa: PLC0415

    options = Options(
        data=data_folder.DataFolder(data or data_folder.default(os.environ)),
        port=port,
        redis_url=redis_url,
        kafka_brokers=kafka_brokers,
        blobs=blobs,
        engines=catalogue.find(engines, os.environ),
        most=max_instances or os.cpu_count() or 1,
        cooldown=cooldown,
    )
    raise typer.Exit(foreground(run_up(options, say=typer.echo), at_once=lambda: None))


def demo(
    *,
    timeout: Annotated[
        float, typer.Option(min=1, help="Give up after so many seconds.")
    ] = DEMO_SECONDS,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the data and logs.")] = False,
) -> None:
    """See it work: three engines read a PDF, and everything is stopped again.

    Starts a platform of its own on free ports, sends samples/ocr-sample.pdf through
    workflows/ocr.yml over REST, and shows the recognised text and what happened when.

    Example: blueengine demo
    """
    from apps.local.demo import Demo  # noqa: PLC0415 - as above
    from apps.local.up import foreground  # noqa: PLC0415 - as above

    show = Demo(keep=keep)
    raise typer.Exit(foreground(show.run(limit=timeout), at_once=show.remove))
