"""What a client may raise. All are ``ClientError``; ``retriable`` says whether trying again helps."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from blueengine.errors import BlueEngineError
from blueengine.graph.dag import Fault

if TYPE_CHECKING:
    from blueengine.client.answers import Outcome


class ClientError(BlueEngineError):
    """Root of what a client raises."""

    code = "client"


class PlatformAwayError(ClientError):
    """Nothing answers at the URL."""

    code = "platform-away"
    retriable = True


class TransferError(ClientError):
    """What was downloaded is not what the platform has."""

    code = "transfer-failed"


class SignatureError(ClientError):
    """A webhook does not come from whom it says, or is too old."""

    code = "bad-signature"


class RefusedError(ClientError):
    """Something cannot be done as it was asked for; ``faults`` names everything that is wrong."""

    code = "refused"

    def __init__(self, message: str, faults: Sequence[Fault] = ()) -> None:
        """Say it in one line."""
        self.faults = tuple(faults)
        words = [f"{fault.loc}: {fault.msg}".removeprefix(": ") for fault in self.faults]
        # the platform's message is the first fault's, and how many there are
        first = self.faults[0].msg if self.faults else ""
        if first and (message == first or message.startswith(f"{first} (and ")):
            message = ""
        more = "; ".join(word for word in words if word and word != message)
        super().__init__(": ".join(filter(None, [message, more])))


class WorkflowError(RefusedError):
    """A workflow has faults; found before anything was sent, in the platform's own words."""

    code = "bad-workflow"


class ApiError(RefusedError):
    """The platform said no."""

    code = "api"

    def __init__(
        self,
        status: int,
        message: str,
        faults: Sequence[Fault] = (),
        *,
        retry_after: float | None = None,
    ) -> None:
        """Keep what it said.

        Args:
            status: The HTTP status.
            message: In one line.
            faults: Everything that is wrong, each with its place in the request.
            retry_after: Seconds after which it asks to be tried again.
        """
        self.status = status
        self.retry_after = retry_after
        self.repeated = False
        """An earlier try of the same request may have been done, its answer being lost."""
        super().__init__(message or f"HTTP {status}", faults)


class InvalidError(ApiError):
    """The request cannot be meant (400, 413, 415, 416, 422)."""

    code = "invalid"


class KeyRefusedError(ApiError):
    """The API key is missing, unknown, or may not do this (401, 403)."""

    code = "key-refused"


class NotFoundError(ApiError):
    """There is no such session, engine, file or result (404)."""

    code = "not-found"


class ConflictError(ApiError):
    """It contradicts what is there: the session has ended, the key was used otherwise (409)."""

    code = "conflict"


class BusyError(ApiError):
    """For now it cannot be done (429, 502, 503, 504); the client has tried again already."""

    code = "busy"
    retriable = True


class SessionEndedError(ClientError):
    """A session ended otherwise than finished."""

    code = "session-ended"

    def __init__(self, outcome: "Outcome") -> None:
        """Say why, and keep what is known of it."""
        self.outcome = outcome
        why = f": {outcome.process.error.message}" if outcome.process.error else ""
        was = "was " * (outcome.status == "canceled")
        super().__init__(f"the session {was}{outcome.status}{why} ({outcome.session_id})")


class SessionFailedError(SessionEndedError):
    """A session failed; ``outcome.process.error`` has the traceback of the engine, if any."""

    code = "session-failed"


class SessionCanceledError(SessionEndedError):
    """A session was stopped."""

    code = "session-canceled"


API_ERRORS: Final[dict[int, type[ApiError]]] = {
    400: InvalidError,
    401: KeyRefusedError,
    403: KeyRefusedError,
    404: NotFoundError,
    409: ConflictError,
    413: InvalidError,
    415: InvalidError,
    416: InvalidError,
    422: InvalidError,
    429: BusyError,
    502: BusyError,
    503: BusyError,
    504: BusyError,
}
"""HTTP status -> what is raised; any other is an ``ApiError``."""

ENDINGS: Final[dict[str, type[SessionEndedError]]] = {
    "failed": SessionFailedError,
    "canceled": SessionCanceledError,
}
