"""The temp folder of an instance, which does not outlive it for long, however it ends.

An instance holds a lock on its folder. A folder whose lock is free belongs to one that was killed;
the next instance that starts on the machine removes it.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Final

PREFIX: Final = "blueengine-scratch-"


MEMORY: Final = Path("/dev/shm")  # noqa: S108 - folders below it are made by mkdtemp


def memory() -> Path | None:
    """Return where files are memory that processes share, if there is such a place."""
    return MEMORY if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) else None


@contextlib.contextmanager
def scratch_folder(instance: str, parent: Path | None = None) -> Generator[Path]:
    """Make a folder for the time of the context, and remove those that nobody holds any more.

    It is made below ``parent``, the temp folder of the system when that is None.
    """
    # locked before it gets a name that others look for
    made = Path(tempfile.mkdtemp(prefix=f".{PREFIX}{instance}-", dir=parent))
    lock = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = made.rename(made.with_name(made.name[1:]))
        remove_abandoned(folder.parent)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def remove_abandoned(parent: Path) -> None:
    """Remove the folders of instances that are gone; those of other users stay."""
    for folder in parent.glob(f"{PREFIX}*"):
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # its instance lives
        finally:
            os.close(lock)
