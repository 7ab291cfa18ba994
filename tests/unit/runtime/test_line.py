"""A worker's end of the socket to its parent."""

import socket
import threading

from blueengine.runtime.line import SocketLine
from tests.kit.wait import wait_until


def test_a_line_that_ends_while_its_thread_waits_to_write_late_takes_the_thread_along() -> None:
    before = set(threading.enumerate())
    ours, theirs = socket.socketpair()
    with ours, theirs:
        line = SocketLine(theirs)
        line.write(1, "Out", b"x", b"", "", 1)
        line.see_to_it()
        assert set(threading.enumerate()) - before
        line.end()
        wait_until(lambda: not set(threading.enumerate()) - before)
