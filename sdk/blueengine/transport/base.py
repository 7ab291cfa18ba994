"""What a transport of data messages promises. One contract suite holds every transport to it."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Protocol

from msgspec.structs import replace

from blueengine.errors import BlueEngineError, MessageTooLargeError
from blueengine.kit.redis_link import Reply
from blueengine.wire.envelope import Header, Kind

Message = tuple[Header, bytes]
Run = tuple[Header, Sequence[bytes]]
"""Payloads that follow each other under one header; see ``Header``."""


def singly(header: Header, payloads: Sequence[bytes]) -> Iterator[Message]:
    """Yield the messages of a run, each with a header of its own."""
    last = len(payloads) - 1
    for at, payload in enumerate(payloads):
        kind = header.kind if at == last else Kind.DATA
        start = b"" if at else header.start
        yield replace(header, seq=header.seq + at, kind=kind, start=start), payload


def too_large(channel: str, size: int, limit: int, setting: str) -> MessageTooLargeError:
    """Return the error that says which message is too large, and what to do."""
    return MessageTooLargeError(
        f"channel {channel!r}: a message of {size} bytes is above the limit of {limit}"
        f" ({setting}); payloads above 64 KiB go by reference where BLOB_DIR or BLOB_URL is set"
    )


def refused(error: BlueEngineError) -> "asyncio.Future[Reply]":
    """Return what ``Transport.send`` answers for messages that it does not take."""
    future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    future.set_exception(error)
    return future


def refusal(
    limit: int, setting: str, header: Header, payload: bytes, *more: bytes
) -> "asyncio.Future[Reply] | None":
    """Return what ``Transport.send`` answers for a run with a message above the limit, if one is."""
    size = max(len(payload), *map(len, more)) if more else len(payload)
    return refused(too_large(header.channel, size, limit, setting)) if size > limit else None


class Transport(Protocol):
    """Carries data messages to the inboxes of instances, and reads this instance's own.

    Order: messages from one sender to one instance arrive in the order of ``send``. Delivery: at
    least once while the receiver lives; a repeated message has the same sequence number. A message
    to an instance that is gone is dropped (its sessions end for that reason).
    """

    separate: bool
    """Whether messages may be lost, or late, while what is reported to the ledger is not: a part
    has then ended only when all it sent is known to have arrived."""

    async def open(self) -> None:
        """Make this instance's inbox, so that others can write to it."""

    def send(
        self, instance: str, header: Header, payload: bytes, *more: bytes
    ) -> "asyncio.Future[Reply]":
        """Queue a message, or a run of them.

        The future fails with ``ChannelError`` or ``StoreAwayError`` when it cannot be delivered, or
        not in time; nothing was sent then, or it does not matter any more. It has failed already, with
        ``MessageTooLargeError``, when one of the messages is too large: nothing of the run is sent.
        """

    def announce(self, instance: str, header: Header, /) -> None:
        """Bring a header without a message to an instance, if that costs next to nothing."""

    async def receive(self) -> list[Run]:
        """Wait for messages and return them; they count as read and their space is freed.

        Raises:
            ChannelsAwayError: Nothing has been heard for longer than the patience; try again.
            InboxLostError: What was sent here cannot be read any more.
        """

    async def close(self) -> None:
        """Stop reading. The inbox goes with the attendance, or now."""
