"""The folder a local platform keeps everything in, and the lock that makes it the only one there."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from blueengine.errors import BlueEngineError


class DataFolderError(BlueEngineError):
    """The data folder cannot be used."""

    code = "bad-data-folder"


def default(environment: Mapping[str, str]) -> Path:
    """Return the data folder of this user."""
    home = environment.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "blueengine"


class DataFolder:
    """Where things are in a data folder."""

    def __init__(self, root: Path) -> None:
        """Describe ``root``; nothing is made yet."""
        self.root = root.expanduser().resolve()
        self.redis = self.root / "redis"
        self.blobs = self.root / "blobs"
        self.logs = self.root / "logs"
        self.scratch = self.root / "tmp"

    @contextlib.contextmanager
    def clean_scratch(self) -> Iterator[Path]:
        """Have an empty folder for temporary files, which goes with what was left in it.

        Engines that were killed, and libraries, leave files in theirs.
        """
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(mode=0o700)
        try:
            yield self.scratch
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)

    @contextlib.contextmanager
    def locked(self, *, url: str) -> Iterator[None]:
        """Own the folder; the lock goes with this process, however it ends.

        Raises:
            DataFolderError: Another process owns it, or it cannot be written to.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self.root / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as exc:
            raise DataFolderError(
                f"the data folder {self.root} cannot be used ({exc.strerror}); choose another one "
                "with --data"
            ) from exc
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = os.pread(lock, 200, 0).decode(errors="replace").strip()
                raise DataFolderError(
                    f"the data folder {self.root} is in use by {owner or 'another platform'}; stop that "
                    "one, or choose another folder with --data"
                ) from None
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"process {os.getpid()} at {url}\n".encode(), 0)
            try:
                yield
            finally:
                os.ftruncate(lock, 0)
        finally:
            os.close(lock)
