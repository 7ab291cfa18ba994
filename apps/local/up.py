"""``blueengine up``: the platform in the foreground."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Coroutine
from typing import Any

from apps.local.platform import Options, running
from blueengine.kit import aio, logs

Say = Callable[[str], None]


async def up(options: Options, *, say: Say) -> None:
    """Start the platform, say where it is, and run until cancelled."""
    started = asyncio.get_running_loop().time()
    is_up = False
    try:
        async with running(options, notice=lambda text: say(f"{time.strftime('%H:%M:%S')} {text}")):
            is_up = True
            seconds = asyncio.get_running_loop().time() - started
            for line in _greeting(options, seconds):
                say(line)
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                say("Stopping; Ctrl-C again ends it at once.")
    finally:
        if is_up:
            say("Stopped.")


def foreground(work: Coroutine[Any, Any, int | None], *, at_once: Callable[[], None]) -> int:
    """Run ``work`` until it ends or a signal cancels it; the exit code.

    A second signal calls ``at_once`` and ends this process without further ado; the kernel then ends
    its children.
    """
    logs.configure("blueengine", os.environ.get("LOG_LEVEL", "WARNING"))
    return asyncio.run(_until_signal(work, at_once))


async def _until_signal(work: Coroutine[Any, Any, int | None], at_once: Callable[[], None]) -> int:
    async with aio.stop_signals(signal.SIGHUP) as stop:
        main = asyncio.create_task(work, name="main")
        await _either(main, stop)
        if not main.done():
            stop.clear()
            main.cancel()
            await _either(main, stop)
            if not main.done():
                at_once()
                os._exit(1)
        with contextlib.suppress(asyncio.CancelledError):
            return main.result() or 0
    return 0


async def _either(main: "asyncio.Task[int | None]", stop: asyncio.Event) -> None:
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait((main, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


def _greeting(options: Options, seconds: float) -> list[str]:
    engines = ", ".join(sorted(options.engines)) or "none"
    lines = [
        f"BlueEngine is up after {seconds:.1f} s.",
        f"  REST     {options.url}  (try {options.url}/docs)",
        f"  engines  {engines}  (started when a session needs them, up to {options.most} each)",
        *([f"  channels over Kafka at {options.kafka_brokers}"] if options.kafka_brokers else []),
        f"  data     {options.data.root}  (logs in {options.data.logs.name}/)",
    ]
    flag = "" if options.port == 8080 else f" --url {options.url}"
    if "hello" in options.engines:
        lines += [
            "In another terminal:",
            f'  blueengine run workflows/hello.yml --input \'Input={{"name": "Ada"}}\'{flag}',
        ]
    if "ocr" in options.engines:
        lines.append(
            f"  blueengine run workflows/ocr.yml --input Document=@samples/ocr-sample.pdf{flag}"
        )
    return [*lines, "Ctrl-C stops all of it."]
