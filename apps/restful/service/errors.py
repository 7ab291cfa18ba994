"""What a use case may refuse; the HTTP edge gives each its status code."""

from collections.abc import Sequence
from typing import Self

from blueengine.errors import BlueEngineError
from blueengine.graph.dag import Fault


class RefusedError(BlueEngineError):
    """A request that cannot be done, with everything that is wrong with it."""

    code = "refused"

    def __init__(self, faults: Sequence[Fault]) -> None:
        """Keep the faults; the first one is the message when it is alone."""
        self.faults = faults
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        super().__init__(faults[0].msg + more)

    @classmethod
    def because(cls, msg: str, *, loc: str = "", kind: str = "") -> Self:
        """Return the error of a single fault."""
        return cls([Fault(loc, msg, kind or cls.code)])


class InvalidError(RefusedError):
    """The request is well formed and cannot be meant."""

    code = "invalid"


class UnknownError(RefusedError):
    """There is no such session, engine, file or result."""

    code = "not-found"


class ConflictError(RefusedError):
    """The request contradicts what is there already."""

    code = "conflict"


class MalformedError(RefusedError):
    """The body is not what its content type says."""

    code = "malformed"


class TooLargeError(RefusedError):
    """The body is larger than accepted."""

    code = "too-large"


class MediaTypeError(RefusedError):
    """The body is of a type this route does not read."""

    code = "unsupported-media-type"


class RangeError(RefusedError):
    """The asked range is not in the file."""

    code = "range-not-satisfiable"


class UnauthorizedError(RefusedError):
    """The request has no key, or none that is valid."""

    code = "unauthorized"


class ForbiddenError(RefusedError):
    """The key is valid and may not do this."""

    code = "forbidden"


class TooManyError(RefusedError):
    """For now there is more than is taken; the same request will do later."""

    code = "too-many"
    retriable = True

    retry_after: float = 1.0
    """After how many seconds it is worth to come back."""

    @classmethod
    def because(cls, msg: str, *, loc: str = "", kind: str = "", retry_after: float = 1.0) -> Self:
        """Return the error of a single fault."""
        error = super().because(msg, loc=loc, kind=kind)
        error.retry_after = retry_after
        return error


class BusyError(RefusedError):
    """For now it cannot be done; trying again helps."""

    code = "busy"
    retriable = True


class NoRoomError(RefusedError):
    """What the request brings cannot be kept until something before it is consumed."""

    code = "no-room"
    retriable = True


class StorageFullError(RefusedError):
    """The blob folder takes no more."""

    code = "storage-full"
