"""Times as clients get them."""

from datetime import UTC, datetime


def when(us: int) -> str | None:
    """Return a time in microseconds as ISO 8601 in UTC; None for 0."""
    if not us:
        return None
    return datetime.fromtimestamp(us / 1e6, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
