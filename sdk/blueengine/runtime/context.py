"""What the author's functions see of the platform."""

import logging
import mmap
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from blueengine.settings import secrets

FLAGS = 4096
"""Sessions one parent can flag at the same time."""
_CANCELLED = 1
_ENDED = 2


class Context:
    """Handed to every function of a step; one per session and worker process.

    Attributes:
        init_data: What ``init_func`` returned in this worker process.
        start_data: What ``start_func`` returned for this session.
        session_id: The session, or empty in ``init_func`` and ``terminate_func``.
        node: The name of this engine in the session's graph.
        labels: Labels the client gave the session.
        logger: Log here; lines carry the session's id.
    """

    def __init__(
        self,
        *,
        init_data: Any = None,
        session_id: str = "",
        node: str = "",
        labels: dict[str, str] | None = None,
        folder: str = "",
        on_folder: Callable[[], None] = lambda: None,
        is_cancelled: Callable[[], bool] = lambda: False,
        have_inputs_ended: Callable[[], bool] = lambda: False,
        say: Callable[[str, dict[str, Any]], None] | None = None,
        count: Callable[[str, float], None] = lambda _name, _amount: None,
        took: Callable[[str, float], None] = lambda _name, _seconds: None,
        logger: logging.Logger | logging.LoggerAdapter[logging.Logger] | None = None,
    ) -> None:
        """Made by the platform (and by tests)."""
        self.init_data = init_data
        self.start_data: Any = None
        self.session_id = session_id
        self.node = node
        self.labels = dict(labels or {})
        self.logger = logger or logging.getLogger("blueengine.engine")
        self._folder = folder
        self._on_folder = on_folder
        self._is_cancelled = is_cancelled
        self._have_inputs_ended = have_inputs_ended
        self._count = count
        self._took = took
        self._say = say or (lambda _kind, _fields: None)

    @property
    def client_id(self) -> str:
        """Path of the session's temp folder: made at first use, deleted at the session's end."""
        if not self._folder:
            raise RuntimeError("there is a client_id folder only within a session")
        self._on_folder()  # before there is one: whoever removes it would not look for it
        Path(self._folder).mkdir(parents=True, exist_ok=True)
        return self._folder

    @property
    def cancelled(self) -> bool:
        """Whether the session is being stopped; long work should look now and then, and return."""
        return self._is_cancelled()

    @property
    def inputs_ended(self) -> bool:
        """Whether all inputs of the engine have ended: what has not been seen yet is on its way."""
        return self._have_inputs_ended()

    def secret(self, name: str) -> str:
        """Return a secret, and keep it out of the logs of this process.

        It is the environment variable ``name``, or the content of the file ``name`` in the folder
        that ``SECRETS_DIR`` names (``/run/secrets`` when it names none).

        Raises:
            SettingsError: It is nowhere.
        """
        return secrets.find(name, os.environ)

    def progress(self, done: float, total: float = 0, message: str = "") -> None:
        """Tell how far this session is; shown live to whoever watches."""
        self._say("progress", {"done": done, "total": total, "message": message})

    def counter(self, name: str, amount: float = 1) -> None:
        """Count something; the engine's metrics have the sum under this name."""
        self._count(name, amount)

    @contextmanager
    def timer(self, name: str) -> Generator[None]:
        """Time what runs inside; the engine's metrics have count and seconds under this name."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._took(name, time.perf_counter() - began)

    def status(self, kind: str, **fields: Any) -> None:
        """Send a status message: ``finish`` and ``error`` end this engine's part, others inform."""
        self._say(kind, fields)


class Flags:
    """Bytes shared by parent and workers: what code at work must know without asking.

    One byte per session says that it is cancelled, or that its inputs have ended; one per session and
    step says that the step is held: its readers have no room, so it should write nothing more for now. One
    per session is written by workers and says that they may have made its temp folder.
    """

    def __init__(self, fd: int) -> None:
        """Map the file behind ``fd``, made by ``make`` in this process or its parent."""
        self.fd = fd
        self._bytes = mmap.mmap(fd, 0)

    @classmethod
    def make(cls, steps: int) -> "Flags":
        """Return the flags of an engine of so many steps, none of them raised."""
        fd = os.memfd_create("blueengine-flags")
        os.ftruncate(fd, FLAGS * (2 + steps))
        return cls(fd)

    def raise_(self, no: int) -> None:
        """Mark a session as cancelled."""
        self._bytes[no % FLAGS] |= _CANCELLED

    def end_inputs(self, no: int) -> None:
        """Say that nothing more comes for a session."""
        self._bytes[no % FLAGS] |= _ENDED

    def has_ended(self, no: int) -> bool:
        """Whether nothing more comes for a session."""
        return bool(self._bytes[no % FLAGS] & _ENDED)

    def clear(self, no: int) -> None:
        """Make a session's bytes ready for use."""
        at = no % FLAGS
        for position in range(at, len(self._bytes), FLAGS):
            self._bytes[position] = 0

    def is_raised(self, no: int) -> bool:
        """Whether a session is cancelled."""
        return bool(self._bytes[no % FLAGS] & _CANCELLED)

    def hold(self, no: int, step: int, held: bool) -> None:
        """Say whether a step should write nothing for now."""
        self._bytes[FLAGS * (1 + step) + no % FLAGS] = held

    def is_held(self, no: int, step: int) -> bool:
        """Whether a step should write nothing for now."""
        return self._bytes[FLAGS * (1 + step) + no % FLAGS] != 0

    def note_folder(self, no: int) -> None:
        """Say that a session may have a temp folder."""
        self._bytes[no % FLAGS - FLAGS] = 1

    def has_folder(self, no: int) -> bool:
        """Whether a session may have a temp folder."""
        return self._bytes[no % FLAGS - FLAGS] != 0

    def close(self) -> None:
        """Let go of them."""
        self._bytes.close()
        os.close(self.fd)
