"""A server that speaks S3, for tests: moto's, as a process of its own.

It keeps everything in memory, and asks for no valid credentials.
"""

import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import httpx

from blueengine.settings.blobs import BucketSettings
from tests.kit import guardian
from tests.kit.wait import wait_until

START_SECONDS: Final = 40.0
CREDENTIALS: Final = {"AWS_ACCESS_KEY_ID": "test-key", "AWS_SECRET_ACCESS_KEY": "test-secret"}


class S3Server:
    """One server process. Use as a context manager, or stop it last."""

    def __init__(self) -> None:
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Start it, on the port it had before, if any."""
        self.port = self.port or _free_port()
        command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1"]
        log = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        self.process = subprocess.Popen(
            [*command, "-p", str(self.port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        guardian.guard(self.process.pid)

        def answers() -> bool:
            if self.process and self.process.poll() is not None:
                log.seek(0)
                raise RuntimeError(f"moto's server ended: {log.read()[-2000:].decode()}")
            try:
                return httpx.get(f"{self.endpoint}/moto-api/", timeout=5).status_code < 500
            except httpx.TransportError:
                return False

        wait_until(answers, START_SECONDS, what="moto's server answers")
        log.close()
        return self

    def stop(self) -> None:
        """End it; what it held is gone."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            guardian.release(self.process.pid)
            self.process = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Freeze it for the block: connections stay open and nothing answers."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def a_bucket(self) -> str:
        """Make a bucket; its name."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        answer = httpx.put(f"{self.endpoint}/{name}", timeout=30)
        assert answer.status_code == 200, answer.text
        return name

    def settings(self, bucket: str = "", *, endpoint: str = "") -> BucketSettings:
        """Return how to reach a bucket, a new one by default, below a prefix of its own."""
        return BucketSettings(
            bucket=bucket or self.a_bucket(),
            prefix="platform/one",
            endpoint=endpoint or self.endpoint,
            region="us-east-1",
            access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )

    def environment(self, bucket: str = "", *, endpoint: str = "") -> Mapping[str, str]:
        """Return the settings of a process that keeps its blobs in a bucket, a new one by default."""
        return {
            "BLOB_URL": f"s3://{bucket or self.a_bucket()}/platform/one",
            "BLOB_ENDPOINT": endpoint or self.endpoint,
            "BLOB_REGION": "us-east-1",
            "BLOB_DIR": "",
            **CREDENTIALS,
        }


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
