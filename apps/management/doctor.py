"""``blueengine doctor``: what it looks at, and how it says what it found."""

import asyncio
import os
import sys
from collections.abc import Mapping
from typing import Final

import msgspec
import orjson

from apps.management.loops.orphans import Orphans
from apps.management.loops.uploads import Uploads
from apps.management.settings import ManagementSettings
from apps.sessions import checkup, store
from apps.sessions.checkup import Checkup, Finding
from blueengine import ledger
from blueengine.kit.clock import SystemClock
from blueengine.kit.redis_link import Link
from blueengine.transport.blob_stores import store_of
from blueengine.transport.blobs import session_prefix

PATIENCE_SECONDS: Final = 5.0
SHOWN: Final = 50
"""Findings named in a text answer."""


class Health(msgspec.Struct):
    """What an examination has shown."""

    findings: list[Finding]
    advice: list[str]
    """What nobody should run with, though nothing is wrong yet."""
    mended: bool


def examine(*, fix: bool, as_json: bool, redis_url: str, blob_dir: str, blob_url: str) -> int:
    """Examine the platform that the environment describes and print what was found; the exit code.

    Raises:
        BlueEngineError: A setting is wrong, or Redis or the blob store is not there.
    """
    given = {"REDIS_URL": redis_url, "BLOB_DIR": blob_dir, "BLOB_URL": blob_url}
    environment = {**os.environ, **{name: value for name, value in given.items() if value}}
    health = asyncio.run(_examine(ManagementSettings.load(environment), environment, fix=fix))
    if as_json:
        _print(orjson.dumps(msgspec.to_builtins(health)).decode())
    else:
        _tell(health)
    return 0 if health.mended or not health.findings else 1


async def _examine(
    settings: ManagementSettings, environment: Mapping[str, str], *, fix: bool
) -> Health:
    system = settings.system
    scripts = ledger.load(*checkup.SCRIPTS, *store.SCRIPTS)
    link = Link(system.redis, scripts=scripts, patience=PATIENCE_SECONDS)
    await link.open()
    try:
        look = Checkup(link, fix=fix, heartbeat_timeout=system.heartbeat_timeout)
        findings = [finding async for finding in look.run()]
        if blobs := store_of(system, environment, patience=PATIENCE_SECONDS):
            orphans = Orphans(
                store.SessionStore(link), blobs, SystemClock(), older=settings.orphan_age_seconds
            )
            found = await orphans.found()
            findings += [
                Finding("orphan", session_prefix(session), "blobs of a session that is not there")
                for session in found
            ]
            uploads = Uploads(blobs, SystemClock(), older=settings.upload_age_seconds)
            findings += [
                Finding("upload", f"files/{file_id}", "an upload that was not gone on with")
                for file_id in await uploads.found()
            ]
            if fix:
                await orphans.remove()
                await uploads.remove()
        return Health(findings, await _advice(link), mended=fix)
    finally:
        await link.close()


async def _advice(link: Link) -> list[str]:
    """Return what to change in Redis' configuration."""
    raw = (await link.send("INFO")).decode()
    info = dict(line.split(":", 1) for line in raw.splitlines() if ":" in line)
    advice = []
    if info.get("aof_enabled") == "0":
        advice.append(
            "Redis keeps no append-only file: a restart loses sessions; set appendonly yes"
        )
    elif info.get("aof_last_write_status", "ok") != "ok":
        advice.append("Redis cannot write its append-only file; is the disk full?")
    policy, limit = info.get("maxmemory_policy", ""), int(info.get("maxmemory", 0))
    if policy not in {"", "noeviction"}:
        advice.append(f"Redis may throw sessions away ({policy}); set maxmemory-policy noeviction")
    if limit and int(info.get("used_memory", 0)) > 0.9 * limit:
        advice.append(
            "Redis uses more than 90 % of its maxmemory; at 100 % it takes no new session"
        )
    return advice


def _tell(health: Health) -> None:
    for finding in health.findings[:SHOWN]:
        _print(f"{finding.code}: {finding.subject}: {finding.message}")
    if len(health.findings) > SHOWN:
        _print(f"… and {len(health.findings) - SHOWN} more; see --json")
    for line in health.advice:
        _print(f"advice: {line}")
    count = "1 fault" if len(health.findings) == 1 else f"{len(health.findings)} faults"
    if not health.findings:
        _print("all is well")
    elif health.mended:
        _print(f"mended {count}")
    else:
        _print(f"found {count}; to mend: blueengine doctor --fix")


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
