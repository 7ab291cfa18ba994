"""What must be left when the work is done: finished sessions, engine specs, and nothing else."""

import re
from collections.abc import Iterable
from pathlib import Path

from blueengine.kit.redis_link import Link
from blueengine.wire import names
from tests.kit.ledger_view import LedgerView

_KEPT = re.compile(
    r"be:(sessions|status:(finished|failed|canceled)|order|expiry|engines|specs|watch|wake|lease:[^:]+|e:[^:]+)"
    r"|be:s:[^:]+(:ev|:log|:r:[^:]+)?|be:idem:.+"
    r"|be:(keys|key:.+|tenants|t:[^:]+(:keys|:sessions|:status:(finished|failed|canceled))?)"
    r"|be:hook:(totals|(s|d|by|secrets):.+)"
)
"""Keys that stay: ended sessions, what became of their webhooks, what is known of engines, tenants."""


async def leftovers(
    link: Link,
    *,
    attending: Iterable[str] = (),
    blobs: Path | None = None,
    objects: Iterable[str] = (),
) -> list[str]:
    """Return what should not be there (any more), empty when all is well.

    Args:
        link: Over which to look.
        attending: Instances that are still meant to run; they must hold nothing.
        blobs: The blob folder, where only results may be left.
        objects: What is in the bucket in its place.
    """
    found = await _in_redis(link, set(attending))
    found += [f"object {name}" for name in objects if not _is_result(Path(name))]
    return found + (_on_disk(blobs) if blobs else [])


async def _in_redis(link: Link, attending: set[str]) -> list[str]:
    view = await LedgerView.take(link)
    found = view.faults()
    found += [f"{s.sid} is {s.status}" for s in view.sessions.values() if not s.terminal]
    found += [f"{i} attends" for i in view.records.keys() - attending]
    found += [f"{i} does not attend" for i in attending - view.records.keys()]
    allowed = {key for i in attending for key in (names.instance(i), names.commands(i))}
    allowed |= {names.inbox(i) for i in attending}
    if attending:
        allowed.add(names.DEADLINES)
        allowed |= {names.free(engine) for engine in view.specs}
        allowed |= {names.free_at(engine, place) for engine, place in view.free_at}
        allowed |= {names.instances(engine) for engine in view.specs}
    found += [f"key {k}" for k in view.keys if k not in allowed and not _KEPT.fullmatch(k)]
    return found


def _on_disk(blobs: Path) -> list[str]:
    files = (path for path in blobs.rglob("*") if path.is_file())
    return [f"file {path}" for path in files if not _is_result(path)]


def _is_result(path: Path) -> bool:
    return bool({"results", "start", "files", "recorded"} & set(path.parts))
