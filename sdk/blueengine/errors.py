"""Every error the platform raises on purpose, and the words an engine author may raise.

An error says three things: what happened (its message), a stable ``code`` for programs, and
whether trying again may help (``retriable``). Foreign exceptions are mapped to these where they
enter and chained.
"""

from typing import ClassVar


class BlueEngineError(Exception):
    """Root of all errors raised by the platform."""

    code: ClassVar[str] = "error"
    retriable: ClassVar[bool] = False


class SettingsError(BlueEngineError):
    """A setting is missing or wrong; the message is one line that says which and what to do."""

    code = "bad-settings"


class DeclarationError(BlueEngineError):
    """An engine's steps or channels contradict each other or its engine.yml."""

    code = "bad-engine"


class DecodeError(BlueEngineError):
    """Bytes from the line are no message of a version this program knows."""

    code = "undecodable"


class DataTypeError(BlueEngineError):
    """A value does not fit the type of the channel it was written to."""

    code = "wrong-type"


class StoreAwayError(BlueEngineError):
    """Redis could not be reached within the configured patience."""

    code = "store-away"
    retriable = True


class StoreReplyError(BlueEngineError):
    """Redis answered a command with an error."""

    code = "store-reply"


class ReadOnlyStoreError(StoreReplyError):
    """Redis refuses writes for now: out of memory, loading, or a replica."""

    code = "store-refuses-writes"
    retriable = True


class ChannelError(BlueEngineError):
    """A message cannot be carried; the session it belongs to fails, others go on."""

    code = "channel-error"


class ChannelsAwayError(ChannelError):
    """The server of the data channels could not be reached within the configured patience."""

    code = "channels-away"
    retriable = True


class MessageTooLargeError(ChannelError):
    """A message is larger than a data channel carries; nothing of it was sent."""

    code = "message-too-large"


class InboxLostError(BlueEngineError):
    """What was sent to this instance cannot be read any more; no session can go on here."""

    code = "inbox-lost"
    retriable = True


class MessageLostError(BlueEngineError):
    """A data channel has a gap: a sequence number never arrived."""

    code = "message-lost"


class IllegalTransitionError(BlueEngineError):
    """An event that the status table does not allow; nothing was changed."""

    code = "illegal-transition"


# --- words for engine authors -------------------------------------------------------------------


class Fail(BlueEngineError):  # noqa: N818 - a word the author says, not an accident
    """Fail the session for good with just this message (no traceback is shown)."""

    code = "failed"


class Refuse(BlueEngineError):  # noqa: N818 - a word the author says, not an accident
    """Raised in ``start_func``: this instance cannot take this session, another one may."""

    code = "refused"


class RetryLater(BlueEngineError):  # noqa: N818 - a word the author says, not an accident
    """Make this call again after a while: something it needs is away for now.

    Raise it in ``process_func`` before anything was written, for what was written stays written, or
    in ``start_func``. Other sessions go on meanwhile; the messages of this one wait, in order.
    """

    code = "retries-exhausted"
    retriable = True

    def __init__(self, message: str = "", *, after: float = 1.0, attempts: int = 5) -> None:
        """Say why.

        Args:
            message: What the session fails with after the last attempt.
            after: Seconds to wait.
            attempts: Calls at most, the first one included.
        """
        super().__init__(message or "what the engine needs is away")
        self.after = after
        self.attempts = attempts
