"""Run the gateway: ``python -m apps.restful.main``."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Final

import uvicorn
import uvloop

from apps.restful.api.app import served
from apps.restful.api.patience import PatientProtocol
from apps.restful.bootstrap import open_parts
from apps.restful.service.parts import Parts
from apps.restful.settings import RestfulSettings
from blueengine.errors import BlueEngineError, SettingsError
from blueengine.kit.collector import YOUNG, spare_what_is_loaded

log = logging.getLogger("blueengine.restful")

STOP_WITHIN: Final = 10
"""Seconds that open requests have to end once the process is asked to stop."""


class _Server(uvicorn.Server):
    """A server that answers whoever waits before it closes their connections."""

    def __init__(self, config: uvicorn.Config, parts: Parts) -> None:
        super().__init__(config)
        self._parts = parts

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End in order at SIGINT and SIGTERM; uvicorn's own way would raise them again after."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM)
        for number in signals:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._parts.pokes.close()
        await super().shutdown(sockets)


def listen(settings: RestfulSettings) -> socket.socket:
    """Return a socket that listens where the settings say.

    Raises:
        SettingsError: The address is taken, or cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server(
            (settings.host, settings.port), family=family, backlog=2048, reuse_port=False
        )
    except OSError as exc:
        raise SettingsError(
            f"cannot listen on {settings.host}:{settings.port}: {exc.strerror}; "
            "set RESTFUL_PORT to another port"
        ) from exc


def server(parts: Parts) -> uvicorn.Server:
    """Return a server over these parts; its sockets are given to its ``serve``."""
    config = uvicorn.Config(
        served(parts),
        http=PatientProtocol,
        ws="websockets-sansio",
        ws_max_size=parts.settings.max_body,
        # A client whose input waits for room is not read, its answers to pings neither.
        ws_ping_timeout=None,
        # Frames are short, or pictures: it would cost memory for every client, and gain little.
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=STOP_WITHIN,
    )
    return _Server(config, parts)


async def serve(settings: RestfulSettings) -> None:
    """Serve until the process is asked to stop.

    Raises:
        SettingsError: The port is taken, or a setting cannot work.
        StoreAwayError: Redis cannot be reached.
    """
    sock = listen(settings)
    try:
        async with open_parts(settings) as parts:
            spare_what_is_loaded(young=YOUNG)
            host, port = sock.getsockname()[:2]
            log.info("listening on http://%s:%s", f"[{host}]" if ":" in host else host, port)
            await server(parts).serve(sockets=[sock])
    finally:
        sock.close()


def run(settings: RestfulSettings) -> None:
    """Serve on an event loop of its own until the process is asked to stop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings))


def main() -> int:
    """Run with the settings of the environment; the exit code."""
    try:
        settings = RestfulSettings.load(os.environ)
        logging.basicConfig(
            level=settings.system.log_level.upper(),
            format="%(asctime)s %(levelname)s %(name)s %(message)s",
        )
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it tells the client
        run(settings)
    except (BlueEngineError, ValueError) as exc:
        sys.stderr.write(f"restful: {exc}\n")
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
